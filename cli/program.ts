/** The `godwit` command line: all subcommands. What each does is in commands/, one file each. */
import { Command } from 'commander';
import { addAudit } from './commands/audit.ts';
import { addBench } from './commands/bench.ts';
import { addCancel } from './commands/cancel.ts';
import { addClean } from './commands/clean.ts';
import { addCompare } from './commands/compare.ts';
import { addCreate } from './commands/create.ts';
import { addDestroy } from './commands/destroy.ts';
import { addDirtyRate } from './commands/dirty-rate.ts';
import { addDoctor } from './commands/doctor.ts';
import { addDrain } from './commands/drain.ts';
import { addForward } from './commands/forward.ts';
import { addGuests } from './commands/guests.ts';
import { addHosts } from './commands/hosts.ts';
import { addLink } from './commands/link.ts';
import { addLoad } from './commands/load.ts';
import { addMigrate } from './commands/migrate.ts';
import { addPredict } from './commands/predict.ts';
import { addProbe } from './commands/probe.ts';
import { addRecover } from './commands/recover.ts';
import { addReport } from './commands/report.ts';
import { addRun } from './commands/run.ts';
import { addSwitch } from './commands/switch.ts';
import { addUp } from './commands/up.ts';
import { addWatch } from './commands/watch.ts';

/** The command line; what is wrong with it is thrown as a CommanderError, after it has been printed. */
export function makeProgram(version: string): Command {
  const godwit = new Command('godwit')
    .description('Moves running guests between hosts, and measures and proves what happens.')
    .version(version)
    .exitOverride()
    .showHelpAfterError('(add --help for what is allowed)')
    .addHelpText(
      'after',
      `
Examples:
  godwit run experiments/quickstart.yaml     an experiment, from one command
  godwit up                                  a testbed that stays, to be used by hand
  godwit COMMAND --help                      more about one command, with examples

Exit code: 0 everything done and every audit clean, 1 something failed, 2 bad usage or spec,
130 interrupted.`,
    );
  addRun(godwit, version);
  addReport(godwit, version);
  addCompare(godwit, version);
  addUp(godwit);
  for (const add of [addHosts, addGuests, addCreate, addDestroy]) add(godwit);
  for (const add of [addPredict, addMigrate, addCancel, addSwitch, addRecover]) add(godwit);
  for (const add of [addDrain, addLink, addProbe, addForward, addLoad]) add(godwit);
  addDirtyRate(godwit);
  for (const add of [addAudit, addWatch, addDoctor, addBench, addClean]) add(godwit);
  return godwit;
}
