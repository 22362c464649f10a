/** Durations on the command lines of the coordinator and the hosts, which may not import the spec's units. */

/** A duration such as 250ms or 1.5s, in ms; undefined when it is none. */
export function durationMs(text: string): number | undefined {
  const match = /^(\d+(?:\.\d+)?)(ms|s)$/.exec(text);
  if (match === null) return undefined;
  return Number(match[1]) * (match[2] === 's' ? 1000 : 1);
}
