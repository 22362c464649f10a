/**
 * Every technique by its name. A new one is a file beside this one, a name in proto/names.ts, and a line
 * here.
 */

import type { Technique } from '../../../proto/names.ts';
import type { SourceSide } from '../source-side.ts';
import { hybrid } from './hybrid.ts';
import { postCopy } from './post-copy.ts';
import { preCopy } from './pre-copy.ts';
import { stopAndCopy } from './stop-and-copy.ts';

export const TECHNIQUES: Readonly<Record<Technique, (source: SourceSide) => Promise<void>>> = {
  'stop-and-copy': stopAndCopy,
  'pre-copy': preCopy,
  'post-copy': postCopy,
  hybrid,
};
