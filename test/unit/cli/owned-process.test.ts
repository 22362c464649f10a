/** A child process from its start to its end, with small scripts as children. */
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, expect, test } from 'vitest';
import { OwnedProcess } from '../../../fabric/child-process.ts';
import { waitFor } from '../../support/processes.ts';

const folder = mkdtempSync(join(tmpdir(), 'godwit-owned-'));
const children: OwnedProcess[] = [];
const ready = `process.stdout.write(JSON.stringify({ ready: { address: '127.0.0.1:1' } }) + '\\n');`;
const stay = `setInterval(() => {}, 1000);`;
let scriptCount = 0;

afterEach(async () => {
  for (const child of children.splice(0)) {
    child.kill();
    await child.exited;
  }
});

afterAll(() => rmSync(folder, { recursive: true }));

async function start(text: string, signal?: AbortSignal): Promise<OwnedProcess> {
  const script = join(folder, `child-${++scriptCount}.mjs`);
  writeFileSync(script, text);
  const child = await OwnedProcess.start({ name: 'host-1', script, args: ['--one', '1'], signal });
  children.push(child);
  return child;
}

/** Whether a process with this pid is there. */
function exists(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}

test('a child is started when it says where it answers, and told that it is owned', async () => {
  const child = await start(`process.argv.slice(2).join() === '--one,1,--owned' && ${ready} ${stay}`);
  expect(child).toMatchObject({ address: '127.0.0.1:1', running: true });
});

test('a child that ends at its start is told with its exit code and its last words', async () => {
  const script = `for (let i = 0; i < 50; i++) console.error('line ' + i); process.exitCode = 3;`;
  await expect(start(script)).rejects.toThrow(
    /^host-1 ended at its start \(exit code 3\)\n {2}host-1: line 30\n/,
  );
  await expect(start(script)).rejects.toThrow(/line 49$/);
});

test('a child that says something else is refused and ended', async () => {
  const refused = start(`process.stdout.write('pid ' + process.pid + '\\n'); ${stay}`);
  await expect(refused).rejects.toThrow(/did not say where it answers, but "pid \d+"/);
  const pid = /pid (\d+)/.exec(String(await refused.catch((error: unknown) => error)))?.[1];
  expect(exists(Number(pid))).toBe(false);
});

test('a start that is given up leaves no child', async () => {
  const controller = new AbortController();
  const marker = join(folder, 'pid');
  const write = `writeFileSync(${JSON.stringify(marker)}, String(process.pid));`;
  const given = start(`import { writeFileSync } from 'node:fs'; ${write} ${stay}`, controller.signal);
  given.catch(() => {});
  await waitFor(() => existsSync(marker) && readFileSync(marker, 'utf8') !== '', 'the start of the child');
  controller.abort(new Error('given up'));
  await expect(given).rejects.toThrow('given up');
  expect(exists(Number(readFileSync(marker, 'utf8')))).toBe(false);
});

test('a child that is stopped ends as expected; one that is killed from outside does not', async () => {
  const stopped = await start(`${ready} ${stay}`);
  await stopped.stop();
  expect(await stopped.exited).toEqual({ code: null, signal: 'SIGTERM', expected: true });
  expect(stopped.running).toBe(false);
  await stopped.stop();
  const killed = await start(`${ready} ${stay}`);
  process.kill(killed.pid, 'SIGKILL');
  expect(await killed.exited).toEqual({ code: null, signal: 'SIGKILL', expected: false });
});

test('what a child prints after its start never makes it wait, and its stdin stays open', async () => {
  const child = await start(`
    ${ready}
    process.stdin.on('end', () => process.exit(9)).resume();
    process.stdout.write('x'.repeat(10_000_000), () => process.exit(7));
  `);
  expect(await child.exited).toMatchObject({ code: 7 });
});

test('a child answers what it is asked, and one that ends instead is told', async () => {
  const child = await start(`
    import { createInterface } from 'node:readline';
    createInterface({ input: process.stdin }).on('line', (line) => {
      if (line === 'end') process.exit(4);
      process.stdout.write('so: ' + line + '\\n');
    });
    process.stdout.write(JSON.stringify({ ready: { address: 'here', more: [1] } }) + '\\n');
  `);
  expect(child.ready).toEqual({ address: 'here', more: [1] });
  expect(await child.ask('one', 240_000)).toBe('so: one');
  expect(await child.ask('two', 240_000)).toBe('so: two');
  await expect(child.ask('end', 240_000)).rejects.toThrow('host-1 ended (exit code 4)');
});
