/**
 * A migration's events at the source as an async stream for StartMigration. The migration does not depend on the
 * stream: when the coordinator goes away it runs on to its end (docs/ownership.md).
 */

import type {
  HostServiceStartMigrationRequest,
  HostServiceStartMigrationResponse,
} from '../proto/generated/godwit/v1/host.ts';
import type { OutgoingMoves } from './outgoing-moves.ts';

type Event = NonNullable<HostServiceStartMigrationResponse['event']>;

export async function* outgoingEvents(
  moves: OutgoingMoves,
  request: HostServiceStartMigrationRequest,
): AsyncGenerator<HostServiceStartMigrationResponse> {
  let waiting: Event[] = [];
  let wake = (): void => {};
  const tell = (event: Event): void => {
    // Progress is a picture of now: a slow reader gets the latest, never a backlog.
    if (event.$case === 'progress') waiting = waiting.filter(({ $case }) => $case !== 'progress');
    waiting.push(event);
    wake();
  };
  let ended = false;
  const run = moves
    .run(request, {
      listening: (value) => tell({ $case: 'listening', value }),
      progress: (value) => tell({ $case: 'progress', value }),
    })
    .then((value) => tell({ $case: 'outcome', value }))
    .finally(() => {
      ended = true;
      wake();
    });
  // Awaited at the end; a rejection in between must not count as unhandled.
  run.catch(() => {});
  for (;;) {
    const events = waiting;
    waiting = [];
    for (const event of events) yield { event };
    if (waiting.length > 0) continue;
    if (ended) break;
    await new Promise<void>((resolve) => {
      wake = resolve;
    });
  }
  await run;
}
