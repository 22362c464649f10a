/**
 * The least of an x86 assembler: bytes with labels between them and jumps to the labels. Whoever writes
 * instructions gives their bytes, and says beside them what they are.
 */

/** Bytes of instructions, a place to jump to, or a jump of one byte's reach behind its opcode. */
export type Piece =
  | readonly number[]
  | { readonly label: string }
  | { readonly opcode: number; readonly to: string };

/** A 16-bit value as an instruction holds it. */
export function word(value: number): number[] {
  return [value & 0xff, (value >>> 8) & 0xff];
}

/** A 32-bit value as an instruction holds it. */
export function doubleWord(value: number): number[] {
  return [...word(value), ...word(value >>> 16)];
}

/**
 * The bytes of a piece of code, wherever it stands: jumps are relative.
 *
 * @throws Error when a label is not there, or too far away for a jump of one byte
 */
export function assemble(pieces: readonly Piece[]): number[] {
  const labels = new Map<string, number>();
  let length = 0;
  for (const piece of pieces) {
    if ('label' in piece) labels.set(piece.label, length);
    else length += 'to' in piece ? 2 : piece.length;
  }
  const bytes: number[] = [];
  for (const piece of pieces) {
    if ('to' in piece) bytes.push(piece.opcode, distance(piece.to, labels.get(piece.to), bytes.length + 2));
    else if (!('label' in piece)) bytes.push(...piece);
  }
  return bytes;
}

function distance(label: string, target: number | undefined, from: number): number {
  if (target === undefined) throw new Error(`assembling: there is no label "${label}"`);
  const bytes = target - from;
  if (bytes < -128 || bytes > 127) {
    throw new Error(`assembling: "${label}" is ${bytes} bytes away; a short jump reaches -128 to 127`);
  }
  return bytes & 0xff;
}
