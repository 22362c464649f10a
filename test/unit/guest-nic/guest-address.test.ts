/** A guest's own address with an ip command of the test's own: what is left behind when ip does not answer. */

import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { GuestAddress } from '../../../hosts/guest-nic/guest-address.ts';

// Nobody is to wait here for as long as a host does.
vi.mock(import('../../../proto/deadlines.ts'), async (original) => {
  const { DEADLINES_MS, ...rest } = await original();
  return { ...rest, DEADLINES_MS: { ...DEADLINES_MS, query: 100, processStop: 100 } };
});

let folder = '';
const said = (): string =>
  existsSync(join(folder, 'said')) ? readFileSync(join(folder, 'said'), 'utf8') : '';

/** Writes down what it is told, but in a batch only when the file `go` is there. */
const IP = `#!/bin/sh
folder=$(dirname "$0")
case "$*" in
*-batch*) while [ ! -e "$folder/go" ] && [ -d "$folder" ]; do sleep 0.01; done; cat >> "$folder/said" ;;
*) echo "shell: $*" >> "$folder/said" ;;
esac
`;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'godwit-ip-'));
  writeFileSync(join(folder, 'ip'), IP, { mode: 0o755 });
  vi.stubEnv('PATH', `${folder}:${process.env.PATH}`);
});

afterEach(() => {
  vi.unstubAllEnvs();
  // Ends an ip that still waits.
  rmSync(folder, { recursive: true });
});

test('an address is taken away also when ip is so slow that nobody waits for it', async () => {
  await expect(GuestAddress.start('192.0.2.1', 'none')).rejects.toThrow('no answer after 100 ms');
  expect(said()).toBe('');
  writeFileSync(join(folder, 'go'), '');
  const away = 'address delete 192.0.2.1/32 dev none\n';
  await vi.waitFor(() => expect(said()).toContain(`shell: ${away}`), { timeout: 120_000, interval: 5 });
  expect(said()).toBe(`${away}link show dev lo\n${away}shell: ${away}`);
});

test("a host's own address is refused, and ip is not told of it", async () => {
  writeFileSync(join(folder, 'go'), '');
  await expect(GuestAddress.start('127.0.0.1', 'lo')).rejects.toThrow("127.0.0.1 is this host's own, on lo");
  expect(said()).toBe('');
});
