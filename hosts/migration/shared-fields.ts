/**
 * Named numbers in shared memory, which one thread writes and others read. Plain doubles: each is whole, and
 * their order does not matter.
 */

export type SharedFields<Field extends string> = Record<Field, number> & {
  readonly shared: SharedArrayBuffer;
};

/** @param shared of another thread, for a view of the same numbers; otherwise new ones, all 0 */
export function sharedFields<Field extends string>(
  fields: readonly Field[],
  shared = new SharedArrayBuffer(fields.length * Float64Array.BYTES_PER_ELEMENT),
): SharedFields<Field> {
  const values = new Float64Array(shared);
  const object = { shared };
  for (const [index, field] of fields.entries()) {
    Object.defineProperty(object, field, {
      get: () => values[index],
      set: (value: number) => {
        values[index] = value;
      },
    });
  }
  return object as SharedFields<Field>;
}
