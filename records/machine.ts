/** The machine that an experiment ran on, as far as it explains the figures; not its name. */

import { availableParallelism, cpus, release, totalmem, type } from 'node:os';
import type { MachineRecord } from './result-record.ts';

export function machineRecord(): MachineRecord {
  return {
    cpus: availableParallelism(),
    cpu_model: cpus()[0]?.model.trim() ?? 'unknown',
    memory_bytes: totalmem(),
    kernel: `${type()} ${release()}`,
    node: process.version,
  };
}
