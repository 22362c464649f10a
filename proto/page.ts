/** The page: the unit of guest memory, of dirty tracking and of the wire. 4 KiB, as on x86 and in QEMU. */

export const PAGE_BYTES = 4096;
export const PAGE_WORDS = PAGE_BYTES / 4;
