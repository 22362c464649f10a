/**
 * How the tests run. The deadlines are generous, because a shared CI machine can be many times slower than
 * a desk. Tests that start processes run one file at a time, after all the others: side by side they would
 * only slow each other down.
 */
import { fileURLToPath } from 'node:url';
import { defineConfig } from 'vitest/config';

/** The one of the testbed itself (fabric/child-process.ts). */
const compileCache = fileURLToPath(new URL('./node_modules/.cache/godwit', import.meta.url));
const deadlineMs = 300_000;

export default defineConfig({
  test: {
    pool: 'forks',
    maxWorkers: 2,
    testTimeout: deadlineMs,
    hookTimeout: deadlineMs,
    teardownTimeout: 60_000,
    // Multiplies every deadline of proto/deadlines.ts, in the processes that the tests start as well.
    // And where threads and processes find what earlier ones have compiled: they then start in half the time.
    env: {
      GODWIT_PATIENCE: process.env.GODWIT_PATIENCE ?? '6',
      NODE_COMPILE_CACHE: process.env.NODE_COMPILE_CACHE ?? compileCache,
    },
    projects: [
      {
        extends: true,
        test: {
          name: 'in-process',
          include: ['test/*.test.ts', 'test/{unit,property,stress}/**/*.test.ts'],
          sequence: { groupOrder: 0 },
        },
      },
      {
        extends: true,
        test: {
          name: 'processes',
          include: ['test/{integration,fault}/**/*.test.ts'],
          fileParallelism: false,
          maxWorkers: 1,
          sequence: { groupOrder: 1 },
        },
      },
      {
        extends: true,
        test: {
          name: 'networks',
          include: ['test/networks/**/*.test.ts'],
          fileParallelism: false,
          maxWorkers: 1,
          sequence: { groupOrder: 2 },
        },
      },
      {
        extends: true,
        test: {
          name: 'browser',
          include: ['test/browser/**/*.test.ts'],
          fileParallelism: false,
          maxWorkers: 1,
          sequence: { groupOrder: 4 },
        },
      },
      {
        extends: true,
        test: {
          name: 'docker',
          include: ['test/docker/**/*.test.ts'],
          fileParallelism: false,
          maxWorkers: 1,
          // The first run on a slow machine makes a Debian, and builds an image on it.
          testTimeout: 40 * 60_000,
          hookTimeout: 40 * 60_000,
          sequence: { groupOrder: 3 },
        },
      },
    ],
  },
});
