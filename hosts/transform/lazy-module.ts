/**
 * Libraries that few migrations use are loaded when they are first called: each takes 5 to 12 MiB, and every host keeps
 * a mover ready.
 */

import { createRequire } from 'node:module';

const require = createRequire(import.meta.url);

/** Answers the module, loaded at the first call on this thread. */
export function lazily<Module>(name: string): () => Module {
  let loaded: Module | undefined;
  return () => {
    loaded ??= require(name) as Module;
    return loaded;
  };
}
