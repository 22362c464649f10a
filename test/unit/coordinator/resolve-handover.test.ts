/** The decision table of docs/ownership.md, every pair of standings, written out as the document has it. */
import { expect, test } from 'vitest';
import {
  type Decision,
  resolveHandover,
  STANDINGS,
  type Standing,
} from '../../../coordinator/resolve-handover.ts';

/** Columns: the destination is kept, committed, ready, resumed, abandoned, moving, dead, unreachable. */
const DECISIONS: Readonly<Record<Standing, string>> = {
  kept: 'S S S D S S S S',
  committed: '- - D D S - S -',
  ready: '- - - D - - - -',
  resumed: 'D D D D D D D D',
  abandoned: '- - D D L - L -',
  moving: '- - - D - - - -',
  dead: '- - D D L - L -',
  unreachable: '- - - D - - - -',
};
const LETTERS: Readonly<Record<string, Decision>> = { S: 'source', D: 'destination', L: 'lost', '-': 'wait' };

test.each(STANDINGS)('a source that is %s', (source) => {
  const expected = DECISIONS[source].split(' ').map((letter) => LETTERS[letter]);
  expect(STANDINGS.map((destination) => resolveHandover(source, destination))).toEqual(expected);
});
