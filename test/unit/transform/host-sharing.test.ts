/** Who may look into whose memory on a host, for how long, and which guests leave it together. */

import { afterEach, describe, expect, test } from 'vitest';
import { Gangs } from '../../../hosts/gangs.ts';
import { Guest } from '../../../hosts/guest/guest.ts';
import { HostContents } from '../../../hosts/host-contents.ts';
import type { ToDestinationMover } from '../../../hosts/migration/messages.ts';
import { SentContents } from '../../../hosts/transform/sent-contents.ts';
import { guestSpec } from '../guest/specs.ts';

const CAPACITY = 64 * 1024 * 1024;
const guests: Guest[] = [];

afterEach(async () => {
  await Promise.all(guests.splice(0).map((guest) => guest.destroy()));
});

async function incoming(): Promise<Guest> {
  const guest = await Guest.incoming(guestSpec());
  guests.push(guest);
  return guest;
}

describe('what a host lends', () => {
  test('is every guest that was entered, and the mover hears who comes and who is no more', async () => {
    const contents = new HostContents(CAPACITY);
    const [first, second, third] = [await incoming(), await incoming(), await incoming()];
    const heard: ToDestinationMover[] = [];
    contents.enter(first);
    const loan = contents.lend(second, (message) => heard.push(message));
    expect(loan.lent.self.memory).toBe(second.shared.memory);
    expect(loan.lent.others.map(({ memory }) => memory)).toEqual([first.shared.memory]);
    const other = contents.lend(third, () => {});
    expect(other.lent.contents).toBe(loan.lent.contents);
    expect(heard.splice(0)).toEqual([{ type: 'guest-came', guest: other.lent.self }]);
    await first.destroy();
    expect(heard.splice(0)).toEqual([{ type: 'guest-gone', id: 1 }]);
    loan.giveBack();
    await third.destroy();
    expect(heard).toEqual([]);
    // Nothing of those that are gone is lent any more, and no number comes twice.
    const fourth = await incoming();
    const later = contents.lend(fourth, () => {});
    expect(later.lent.others.map(({ id }) => id)).toEqual([loan.lent.self.id]);
    expect(later.lent.self.id).toBe(4);
  });
});

describe('a gang', () => {
  test('is those on the way to one destination, until the last of them has left', () => {
    const gangs = new Gangs(CAPACITY);
    const [first, second, elsewhere] = [gangs.join('host-2'), gangs.join('host-2'), gangs.join('host-3')];
    expect(second.sent).toBe(first.sent);
    expect(elsewhere.sent).not.toBe(first.sent);
    new SentContents(first.sent).add({ low: 1, high: 2 });
    first.leave();
    first.leave();
    expect(gangs.join('host-2').sent).toBe(second.sent);
    const again = new Gangs(CAPACITY);
    again.join('host-2').leave();
    expect(new SentContents(again.join('host-2').sent).has({ low: 1, high: 2 })).toBe(false);
  });
});
