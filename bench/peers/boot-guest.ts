/**
 * The guest that QEMU runs when it is measured: a ROM of 64 KiB that takes the place of the machine's
 * firmware, so that nothing but these few instructions ever runs. It fills memory with content that is never
 * zero and differs from page to page, says so on the debug port, and from then on writes pages of a working
 * set at random and at a rate, as godwit's workload `uniform` does: a burst for each period that has passed,
 * halted in between. One timer wakes it, another tells the time, so that a wake-up that the machine had no
 * time for is made up for.
 *
 * It keeps two counts in memory, so that a monitor can see that it runs, and how fast: `COUNTERS_ADDRESS`.
 */

import { PAGE_BYTES } from '../../proto/page.ts';
import { assemble, doubleWord, type Piece, word } from './machine-code.ts';

export interface BootGuestSettings {
  /** The machine's memory; everything from 1 MiB on is filled. */
  readonly memoryBytes: number;
  /** What is written to, from 1 MiB on; 0: nothing. */
  readonly workingSetBytes: number;
  /** Page writes per second; a multiple of `PERIODS_PER_S`. */
  readonly pagesPerS: number;
}

/** Periods per second; as often as Linux's timer ticks by default. */
export const PERIODS_PER_S = 250;
/** Two 32-bit counts: periods since it was ready, and page writes. Both wrap. */
export const COUNTERS_ADDRESS = 0x1000;
/** What it prints on the debug port, with a line's end, when memory is filled. */
export const READY_LINE = 'godwit boot guest: ready';

const PERIODS = COUNTERS_ADDRESS;
const WRITES = COUNTERS_ADDRESS + 4;
const STACK = 0x7000;
const FILLED_FROM = 0x100000;
/** Below the hole for devices that a PC has under 4 GiB. */
const MEMORY_BYTES_MAX = 3 * 1024 ** 3;

/** The ROM ends where the address space does; there the processor begins, 16 bytes before the end. */
const ROM_BYTES = 64 * 1024;
const ROM = 2 ** 32 - ROM_BYTES;
const CODE = 0x0100;
const HANDLER = 0x0800;
const GDT = 0x0900;
const GDT_POINTER = 0x0920;
const IDT_POINTER = 0x0930;
const TEXT = 0x0940;
const IDT = 0x1000;
const RESET = ROM_BYTES - 16;

const CODE_SEGMENT = 0x08;
const DATA_SEGMENT = 0x10;
/** Where the timer's interrupt is led to, the first of the first controller's eight. */
const TIMER_VECTOR = 0x20;
const CONTROLLER_LINES = 8;
/** What the timer of a PC counts. */
const TIMER_HZ = 1_193_182;
/** The high precision event timer: its switch, its count, and how much of it makes a period; QEMU's has 100 MHz. */
const CLOCK_SWITCH = 0xfed00010;
const CLOCK = 0xfed000f0;
const CLOCK_PERIOD = 100_000_000 / PERIODS_PER_S;
/** Knuth's multiplicative hash, and the linear congruence of Numerical Recipes. */
const HASH = 0x9e3779b1;
const [RANDOM_FACTOR, RANDOM_STEP] = [1_664_525, 1_013_904_223];

/** @throws Error when the settings ask for what the guest cannot do */
export function bootGuestRom(settings: BootGuestSettings): Buffer {
  check(settings);
  const rom = Buffer.alloc(ROM_BYTES);
  const put = (offset: number, bytes: readonly number[]): void => rom.set(bytes, offset);
  put(0, enterProtectedMode());
  put(CODE, assemble([...START, ...fill(settings.memoryBytes), ...TIMER, ...SAY_READY, ...work(settings)]));
  put(HANDLER, TIMER_HANDLER);
  // A code and a data segment over all 4 GiB. Marked as accessed, since a ROM cannot be marked later.
  put(GDT + CODE_SEGMENT, [0xff, 0xff, 0, 0, 0, 0x9b, 0xcf, 0]);
  put(GDT + DATA_SEGMENT, [0xff, 0xff, 0, 0, 0, 0x93, 0xcf, 0]);
  put(GDT_POINTER, [...word(3 * 8 - 1), ...doubleWord(ROM + GDT)]);
  const vectors = TIMER_VECTOR + CONTROLLER_LINES;
  put(IDT_POINTER, [...word(vectors * 8 - 1), ...doubleWord(ROM + IDT)]);
  const [low, high] = [word(ROM + HANDLER), word((ROM + HANDLER) >>> 16)];
  for (let vector = TIMER_VECTOR; vector < vectors; vector++) {
    put(IDT + vector * 8, [...low, ...word(CODE_SEGMENT), 0, 0x8e, ...high]);
  }
  rom.write(`${READY_LINE}\n\0`, TEXT, 'latin1');
  put(RESET, [0xe9, ...word(-(RESET + 3))]); // jmp to the ROM's first byte
  return rom;
}

function check({ memoryBytes, workingSetBytes, pagesPerS }: BootGuestSettings): void {
  const problems: string[] = [];
  if (!(memoryBytes > FILLED_FROM && memoryBytes <= MEMORY_BYTES_MAX))
    problems.push(`memory of ${memoryBytes} bytes; allowed is ${FILLED_FROM} to ${MEMORY_BYTES_MAX}`);
  if (!(workingSetBytes >= 0 && workingSetBytes <= memoryBytes - FILLED_FROM))
    problems.push(
      `a working set of ${workingSetBytes} bytes; memory has ${memoryBytes - FILLED_FROM} for it`,
    );
  if (memoryBytes % PAGE_BYTES !== 0 || workingSetBytes % PAGE_BYTES !== 0)
    problems.push(`memory or working set are not whole pages of ${PAGE_BYTES} bytes`);
  if (!Number.isInteger(pagesPerS / PERIODS_PER_S) || pagesPerS < 0)
    problems.push(`${pagesPerS} pages/s; it writes a whole number of pages ${PERIODS_PER_S} times a second`);
  if (problems.length > 0) throw new Error(`the boot guest cannot have ${problems.join('; ')}`);
}

/** 16-bit code: the segments' base is the ROM until the far jump. */
function enterProtectedMode(): number[] {
  return [
    ...[0xfa], // cli
    ...[0x66, 0x2e, 0x0f, 0x01, 0x16, ...word(GDT_POINTER)], // lgdt cs:[GDT_POINTER]
    ...[0x0f, 0x20, 0xc0], // mov eax, cr0
    ...[0x0c, 0x01], // or al, 1
    ...[0x0f, 0x22, 0xc0], // mov cr0, eax
    ...[0x66, 0xea, ...doubleWord(ROM + CODE), ...word(CODE_SEGMENT)], // jmp CODE_SEGMENT:CODE
  ];
}

const START: readonly Piece[] = [
  [0x66, 0xb8, ...word(DATA_SEGMENT)], // mov ax, DATA_SEGMENT
  [0x8e, 0xd8, 0x8e, 0xc0, 0x8e, 0xd0], // mov ds, ax; mov es, ax; mov ss, ax
  [0xbc, ...doubleWord(STACK)], // mov esp, STACK
  [0xfc], // cld
];

/**
 * Each 32 bytes are filled with a hash of their address: an odd factor times what is neither zero nor a multiple
 * of 2^32 is not zero. Eight stores to a loop, because it is by the loop that an emulated processor is slow.
 */
function fill(memoryBytes: number): Piece[] {
  const stores = [0, 4, 8, 12, 16, 20, 24, 28].map((offset) => [0x89, 0x47, offset]); // mov [edi + offset], eax
  return [
    [0xbf, ...doubleWord(FILLED_FROM)], // mov edi, FILLED_FROM
    { label: 'fill' },
    [0x69, 0xc7, ...doubleWord(HASH)], // imul eax, edi, HASH
    ...stores,
    [0x83, 0xc7, 32], // add edi, 32
    [0x81, 0xff, ...doubleWord(memoryBytes)], // cmp edi, memoryBytes
    { opcode: 0x72, to: 'fill' }, // jb fill
  ];
}

/** mov al, value; out port, al */
function out(port: number, value: number): number[] {
  return [0xb0, value, 0xe6, port];
}

/** The interrupt controllers lead the timer to its vector and nothing else; the timer gets its rate. */
const TIMER: readonly Piece[] = [
  [0x0f, 0x01, 0x1d, ...doubleWord(ROM + IDT_POINTER)], // lidt [IDT_POINTER]
  [...out(0x20, 0x11), ...out(0x21, TIMER_VECTOR), ...out(0x21, 0x04), ...out(0x21, 0x01)],
  [...out(0xa0, 0x11), ...out(0xa1, TIMER_VECTOR + CONTROLLER_LINES), ...out(0xa1, 0x02), ...out(0xa1, 0x01)],
  [...out(0x21, 0xfe), ...out(0xa1, 0xff)],
  [...out(0x43, 0x34), ...word(TIMER_HZ / PERIODS_PER_S).flatMap((part) => out(0x40, part))],
  // The local interrupt controller is switched on and passes the others' interrupts through.
  [0xc7, 0x05, ...doubleWord(0xfee000f0), ...doubleWord(0x1ff)], // mov [spurious interrupts], 0x1ff
  [0xc7, 0x05, ...doubleWord(0xfee00350), ...doubleWord(0x700)], // mov [local interrupt 0], 0x700
];

const SAY_READY: readonly Piece[] = [
  [0xbe, ...doubleWord(ROM + TEXT)], // mov esi, TEXT
  { label: 'say' },
  [0xac], // lodsb
  [0x84, 0xc0], // test al, al
  { opcode: 0x74, to: 'said' }, // jz said
  [0xe6, 0xe9], // out 0xe9, al
  { opcode: 0xeb, to: 'say' }, // jmp say
  { label: 'said' },
];

/** A burst for each period that has passed; halted while there is none to be made. */
function work({ workingSetBytes, pagesPerS }: BootGuestSettings): Piece[] {
  const burstPages = workingSetBytes === 0 ? 0 : pagesPerS / PERIODS_PER_S;
  return [
    [0xc7, 0x05, ...doubleWord(CLOCK_SWITCH), ...doubleWord(1)], // mov [CLOCK_SWITCH], 1
    [0x8b, 0x2d, ...doubleWord(CLOCK)], // mov ebp, [CLOCK]: until when bursts have been made
    [0xbb, ...doubleWord(1)], // mov ebx, 1: the state of the random numbers
    { label: 'wait' },
    [0xfa], // cli
    [0xa1, ...doubleWord(CLOCK)], // mov eax, [CLOCK]
    [0x29, 0xe8], // sub eax, ebp
    [0x3d, ...doubleWord(CLOCK_PERIOD)], // cmp eax, CLOCK_PERIOD
    { opcode: 0x73, to: 'burst' }, // jae burst
    [0xfb, 0xf4], // sti; hlt: an interrupt is taken only in the hlt
    { opcode: 0xeb, to: 'wait' }, // jmp wait
    { label: 'burst' },
    [0xfb], // sti
    [0x81, 0xc5, ...doubleWord(CLOCK_PERIOD)], // add ebp, CLOCK_PERIOD
    [0xff, 0x05, ...doubleWord(PERIODS)], // inc [PERIODS]
    [0xb9, ...doubleWord(burstPages)], // mov ecx, burstPages
    { opcode: 0xe3, to: 'wait' }, // jecxz wait
    { label: 'write' },
    [0x69, 0xdb, ...doubleWord(RANDOM_FACTOR)], // imul ebx, ebx, RANDOM_FACTOR
    [0x81, 0xc3, ...doubleWord(RANDOM_STEP)], // add ebx, RANDOM_STEP
    [0x89, 0xd8], // mov eax, ebx
    [0xba, ...doubleWord(workingSetBytes / PAGE_BYTES)], // mov edx, the working set's pages
    [0xf7, 0xe2], // mul edx: edx is a random page of the working set
    [0xc1, 0xe2, 12], // shl edx, 12
    [0x89, 0xd8], // mov eax, ebx
    [0x83, 0xc8, 0x01], // or eax, 1: never zero
    [0x89, 0x82, ...doubleWord(FILLED_FROM)], // mov [edx + FILLED_FROM], eax
    { opcode: 0xe2, to: 'write' }, // loop write
    [0x81, 0x05, ...doubleWord(WRITES), ...doubleWord(burstPages)], // add [WRITES], burstPages
    { opcode: 0xeb, to: 'wait' }, // jmp wait
  ];
}

/** push eax; mov al, 0x20; out 0x20, al: the interrupt is dealt with; pop eax; iret */
const TIMER_HANDLER = [0x50, ...out(0x20, 0x20), 0x58, 0xcf];
