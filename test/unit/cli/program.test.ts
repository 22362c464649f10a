/** The command line itself: help, and what it refuses before anything is done. */
import { type Command, CommanderError } from 'commander';
import { describe, expect, test } from 'vitest';
import { makeProgram } from '../../../cli/program.ts';
import { SpecError } from '../../../spec/problems.ts';

/** The program with everything that it and its commands print. */
function quietProgram(): { program: Command; printed: () => string } {
  let text = '';
  const program = makeProgram('1.2.3');
  const write = (chunk: string): void => {
    text += chunk;
  };
  for (const each of [program, ...program.commands])
    each.configureOutput({ writeOut: write, writeErr: write });
  return { program, printed: () => text };
}

async function refusal(args: readonly string[]): Promise<{ error: unknown; printed: string }> {
  const { program, printed } = quietProgram();
  const error = await program.parseAsync(args, { from: 'user' }).then(
    () => undefined,
    (reason: unknown) => reason,
  );
  return { error, printed: printed() };
}

describe('help', () => {
  test.each(makeProgram('1.2.3').commands.map((command) => command.name()))('of %s has examples', (name) => {
    const { program, printed } = quietProgram();
    program.commands.find((command) => command.name() === name)?.outputHelp();
    expect(printed()).toContain(`Usage: godwit ${name} `);
    expect(printed()).toMatch(new RegExp(`\nExamples:\n  godwit ${name}`));
  });
});

test.each([
  { what: 'a memory without unit', args: ['up', '--memory', '12'], says: /a size in .* such as 256MiB/ },
  { what: 'no trials', args: ['run', 'x.yaml', '--trials', '0'], says: /whole number from 1 to 1000/ },
  { what: 'a seed that is none', args: ['run', 'x.yaml', '--seed', '1.5'], says: /whole number from 0/ },
  { what: 'no hosts', args: ['up', '--hosts', '0'], says: /whole number from 1 to 64/ },
  { what: 'an address without port', args: ['hosts', '--coordinator', 'here'], says: /host:port/ },
  { what: 'a port that is none', args: ['up', '--listen', '127.0.0.1:99999'], says: /host:port/ },
  { what: 'a name that is none', args: ['create', 'Web!'], says: /"Web!" is not a name/ },
  { what: 'a missing argument', args: ['migrate'], says: /missing required argument 'guest'/ },
  { what: 'one argument too many', args: ['hosts', 'all'], says: /too many arguments/ },
  { what: 'an unknown option', args: ['guests', '--jason'], says: /unknown option '--jason'.*--json/s },
])('$what is refused with what is allowed', async ({ args, says }) => {
  const { error, printed } = await refusal(args);
  expect(error).toBeInstanceOf(CommanderError);
  expect(printed).toMatch(says);
});

test('what a spec file says and what flags say is not mixed', async () => {
  const { error } = await refusal(['create', 'web', '--spec', 'x.yaml', '--memory', '4MiB']);
  expect(String(error)).toMatch(/--memory and --spec cannot both/);
});

test('a spec that is not there is told before the testbed is asked', async () => {
  const { error } = await refusal(['create', 'web', '--spec', 'not-there.yaml']);
  expect(error).toBeInstanceOf(SpecError);
});
