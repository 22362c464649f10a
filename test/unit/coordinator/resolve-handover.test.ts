/** The decision table of docs/ownership.md, every pair of standings, written out as the document has it. */
import { expect, test } from 'vitest';
import {
  type Decision,
  resolveHandover,
  STANDINGS,
  type Standing,
} from '../../../coordinator/resolve-handover.ts';

/**
 * Columns: the destination is kept, committed, ready, ready and lacking pages, resumed, abandoned, moving, dead,
 * unreachable.
 */
const DECISIONS: Readonly<Record<Standing, string>> = {
  kept: 'S S S S D S S S S',
  committed: '- - D D D S - S -',
  ready: '- - - - D - - - -',
  'ready-lacking': '- - - - D - - - -',
  resumed: 'D D D D D D D D D',
  abandoned: '- - D L D L - L -',
  moving: '- - - - D - - - -',
  dead: '- - D L D L - L -',
  unreachable: '- - - - D - - - -',
};
const LETTERS: Readonly<Record<string, Decision>> = { S: 'source', D: 'destination', L: 'lost', '-': 'wait' };

test.each(STANDINGS)('a source that is %s', (source) => {
  const expected = DECISIONS[source].split(' ').map((letter) => LETTERS[letter]);
  expect(STANDINGS.map((destination) => resolveHandover(source, destination))).toEqual(expected);
});
