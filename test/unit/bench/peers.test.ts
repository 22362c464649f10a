/**
 * Goal: what the peers say is understood. Method: lines that QEMU 7.2.22 and iperf3 3.12 wrote, and the ROM of
 * the guest that QEMU is given.
 */
import { describe, expect, test } from 'vitest';
import { bootGuestRom } from '../../../bench/peers/boot-guest.ts';
import { receivedBytesPerS } from '../../../bench/peers/iperf3.ts';
import { assemble } from '../../../bench/peers/machine-code.ts';
import { listeningPort, migrationFigures } from '../../../bench/peers/qemu.ts';
import { qmpMessage } from '../../../bench/peers/qmp.ts';

describe('QMP', () => {
  test("QEMU's greeting is told from its answers", () => {
    const line =
      '{"QMP": {"version": {"qemu": {"micro": 22, "minor": 2, "major": 7}, ' +
      '"package": "Debian 1:7.2+dfsg-7+deb12u18+b3"}, "capabilities": ["oob"]}}';
    expect(qmpMessage(line)).toEqual({ kind: 'greeting' });
  });

  test('an event, with data and without, is not taken for an answer', () => {
    const migration =
      '{"timestamp": {"seconds": 1795379435, "microseconds": 521680}, "event": "MIGRATION", ' +
      '"data": {"status": "active"}}';
    expect(qmpMessage(migration)).toEqual({ kind: 'event', name: 'MIGRATION', data: { status: 'active' } });
    const stop = '{"timestamp": {"seconds": 1795379435, "microseconds": 528940}, "event": "STOP"}';
    expect(qmpMessage(stop)).toEqual({ kind: 'event', name: 'STOP', data: {} });
  });

  test('a refusal has its words, an answer its value', () => {
    const reason = 'Enable postcopy with migrate_set_capability before the start of migration';
    const refusal = `{"error": {"class": "GenericError", "desc": "${reason}"}}`;
    expect(qmpMessage(refusal)).toEqual({ kind: 'failure', reason });
    expect(qmpMessage('{"return": {}}')).toEqual({ kind: 'answer', value: {} });
  });

  test('what is no QMP is refused', () => {
    expect(() => qmpMessage('{"hello": 1}')).toThrow('no QMP');
  });
});

describe("QEMU's migration", () => {
  const completed = {
    status: 'completed',
    'setup-time': 1,
    downtime: 1,
    'total-time': 10,
    ram: { total: 17113088, 'multifd-bytes': 15826048, remaining: 0, transferred: 15829069, duplicate: 330 },
  };

  test('that is completed has its times, and its bytes over the total time', () => {
    expect(migrationFigures(completed)).toEqual({ totalMs: 10, downtimeMs: 1, bytesPerS: 1582906900 });
  });

  test('that is completed and does not say yet how long it took has no figures', () => {
    expect(migrationFigures({ ...completed, 'total-time': 0 })).toBeUndefined();
  });

  test('that is not completed is refused', () => {
    expect(() => migrationFigures({ ...completed, status: 'failed' })).toThrow();
  });

  test('goes to the port that the destination names', () => {
    const answer = { 'socket-address': [{ port: '41471', ipv4: true, host: '127.0.0.1', type: 'inet' }] };
    expect(listeningPort(answer)).toBe('41471');
  });
});

describe('iperf3', () => {
  test('its result is what the receiver counted', () => {
    const sent = '"sum_sent":{"seconds":1.00243,"bytes":612106240,"bits_per_second":4884979420.0093775}';
    const received =
      '"sum_received":{"seconds":1.009927,"bytes":610795520,"bits_per_second":4838334018.2013159}';
    expect(receivedBytesPerS(`{"start":{},"end":{${sent},${received}}}`)).toBe(4838334018.2013159 / 8);
  });

  test('its own words are the error when it could not connect', () => {
    const json = '{"start":{},"end":{},"error":"unable to connect to server: Connection refused"}';
    expect(() => receivedBytesPerS(json)).toThrow('Connection refused');
  });
});

describe('the boot guest', () => {
  const settings = { memoryBytes: 16 * 1024 ** 2, workingSetBytes: 4 * 1024 ** 2, pagesPerS: 1000 };

  test('begins where the processor does, with a jump to the beginning of the ROM', () => {
    const rom = bootGuestRom(settings);
    expect(rom.byteLength).toBe(65_536);
    const reset = rom.byteLength - 16;
    expect(rom.readUInt8(reset)).toBe(0xe9);
    expect((reset + 3 + rom.readInt16LE(reset + 1)) & 0xffff).toBe(0);
  });

  test('refuses what it could not do', () => {
    const refused = (change: Partial<typeof settings>) => () => bootGuestRom({ ...settings, ...change });
    expect(refused({ memoryBytes: 4 * 1024 ** 3 })).toThrow('memory of 4294967296 bytes');
    expect(refused({ workingSetBytes: 16 * 1024 ** 2 })).toThrow('a working set of 16777216 bytes');
    expect(refused({ workingSetBytes: 5000 })).toThrow('not whole pages');
    expect(refused({ pagesPerS: 999 })).toThrow('999 pages/s');
  });
});

describe('assembling', () => {
  test('jumps lead to their labels, forwards and backwards', () => {
    const pieces = [
      { label: 'top' },
      [0x90],
      { opcode: 0x74, to: 'end' },
      { opcode: 0xeb, to: 'top' },
    ] as const;
    expect(assemble([...pieces, { label: 'end' }])).toEqual([0x90, 0x74, 0x02, 0xeb, 0xfb]);
  });

  test('a jump without its label, and one that is too far, are refused', () => {
    expect(() => assemble([{ opcode: 0xeb, to: 'nowhere' }])).toThrow('no label "nowhere"');
    const far = new Array<number>(200).fill(0x90);
    expect(() => assemble([{ label: 'top' }, far, { opcode: 0xeb, to: 'top' }])).toThrow('202 bytes away');
  });
});
