/**
 * A web server: a request reads the pages from which its response is made, writes a line of the log, and, when it
 * changes something, the page of its session. What it does of its own accord is the same, for clients that are not
 * there. The working set is divided: a quarter is sessions, a sixteenth the log, the rest content.
 */

import { type GuestRequest, RequestOperation } from '../proto/guest-request.ts';
import type { GuestMemory } from './guest-memory.ts';
import { mix32 } from './hash.ts';
import { Random } from './random.ts';
import { savedNumber, savedParts } from './saved-state.ts';
import { workingSetPages } from './working-set.ts';
import type { Answer, Workload, WorkloadContext } from './workload.ts';
import { createZipfian } from './zipfian.ts';

/** A line of a log has some 128 bytes. */
const LOG_LINES_PER_PAGE = 32;
/** Keeps the count of log lines a whole number however long the guest runs. */
const LOG_LINES_MAX = 2 ** 48;

export function createWeb(context: WorkloadContext): Workload {
  const { theta, read, pagesPerRequest, responseBytes } = context.spec;
  const pages = workingSetPages(context.spec.workingSetBytes, context.pageCount);
  const sessionPages = Math.max(1, pages >> 2);
  const logPages = Math.max(1, pages >> 4);
  const contentPages = Math.max(1, pages - sessionPages - logPages);
  const random = new Random(context.seed, context.vcpu);
  const choose = createZipfian(sessionPages, theta, context.seed, random);
  let logLines = 0;

  /** Reads the content that belongs to a key; answers what stood there. */
  const render = (memory: GuestMemory, key: number): number => {
    let found = mix32(key);
    for (let step = 0; step < pagesPerRequest; step++) {
      const page = (mix32(key + step) >>> 0) % contentPages;
      found = mix32(found ^ memory.read((sessionPages + logPages + page) % pages));
    }
    return found;
  };
  /** Writes the log and, for a SET, the session; answers how many page writes these were. */
  const write = (memory: GuestMemory, session: number, isSet: boolean): number => {
    const line = Math.floor(logLines / LOG_LINES_PER_PAGE) % logPages;
    memory.write((sessionPages + line) % pages);
    logLines = (logLines + 1) % LOG_LINES_MAX;
    if (!isSet) return 1;
    memory.write(session);
    return 2;
  };

  return {
    operate(memory) {
      const isSet = random.fraction() >= read;
      const session = choose();
      render(memory, session);
      return write(memory, session, isSet);
    },
    answer(memory: GuestMemory, { operation, key }: GuestRequest, body: Buffer): Answer {
      const session = key % sessionPages;
      let word = render(memory, key);
      const pageWrites = write(memory, session, operation === RequestOperation.SET);
      for (let offset = 0; offset < responseBytes; offset++) {
        if ((offset & 3) === 0) word = mix32(word + offset);
        body[offset] = word >>> ((offset & 3) * 8);
      }
      return { version: memory.read(session), bodyBytes: responseBytes, pageWrites };
    },
    save: () => [random.save(), logLines],
    load(state) {
      const [randomState, lines] = savedParts(state, 2, 'web');
      random.load(randomState);
      logLines = savedNumber(lines, LOG_LINES_MAX - 1, 'web');
    },
  };
}
