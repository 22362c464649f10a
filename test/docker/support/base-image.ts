/**
 * An image to build on, made without a registry: Debian by debootstrap, and the Node that godwit brings
 * along. Made once and kept in the system's temporary folder, because it takes minutes on a slow machine.
 */
import { createHash } from 'node:crypto';
import {
  chmodSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  renameSync,
  rmSync,
  statSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { mustRun } from './commands.ts';
import { PROGRAM_PATH } from './programs.ts';

const DEADLINE_MS = 30 * 60_000;
const SUITE = 'bookworm';
/** What Node and the Dockerfile need beyond the smallest Debian. */
const PACKAGES = ['libstdc++6', 'iproute2', 'libcap2-bin'];
/** Raised when this file makes something else of the same ingredients. */
const REVISION = 1;

/** The path of a tar archive with the image's files. @throws CommandError when it cannot be made. */
export async function baseArchive(): Promise<string> {
  const ingredients = [REVISION, SUITE, process.arch, process.version, ...PACKAGES].join(' ');
  const key = createHash('sha256').update(ingredients).digest('hex').slice(0, 16);
  const archive = join(tmpdir(), `godwit-base-${key}.tar`);
  // Everybody may write to the temporary folder: one that somebody else has put there is not used.
  if (existsSync(archive) && statSync(archive).uid === process.getuid?.()) return archive;
  const scratch = mkdtempSync(join(tmpdir(), 'godwit-base-'));
  try {
    await makeArchive(scratch, join(scratch, 'base.tar'));
    renameSync(join(scratch, 'base.tar'), archive);
  } finally {
    rmSync(scratch, { recursive: true, force: true });
  }
  return archive;
}

async function makeArchive(scratch: string, archive: string): Promise<void> {
  const files = join(scratch, 'files');
  const options = { deadlineMs: DEADLINE_MS, env: { ...process.env, PATH: PROGRAM_PATH, LC_ALL: 'C' } };
  const what = ['--variant=minbase', `--include=${PACKAGES.join(',')}`, SUITE, files];
  // In mounts of its own: what it mounts is gone when it ends, however it ends.
  await mustRun('unshare', ['--mount', 'debootstrap', ...what], options);
  for (const folder of ['var/cache/apt/archives', 'var/lib/apt/lists']) {
    rmSync(join(files, folder), { recursive: true, force: true });
    mkdirSync(join(files, folder));
  }
  const node = join(files, 'usr', 'local', 'bin', 'node');
  mkdirSync(join(files, 'usr', 'local', 'bin'), { recursive: true });
  copyFileSync(process.execPath, node);
  chmodSync(node, 0o755);
  await mustRun('tar', ['-C', files, '--numeric-owner', '-cf', archive, '.'], options);
}
