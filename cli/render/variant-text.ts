/** What people read of a trial's variant: the same words in progress, tables and notes. */
import type { TrialRecord } from '../../records/result-record.ts';

/** A technique, and what tells the variant from others of it. */
export function variantText({ technique, variant }: Pick<TrialRecord, 'technique' | 'variant'>): string {
  return variant === null ? technique : `${technique} ${variant}`;
}
