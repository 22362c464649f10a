/** The programs that the engine needs; on Debian, those that are missing are installed. */
import { accessSync, chmodSync, constants, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { mustRun } from './commands.ts';

const INSTALL_DEADLINE_MS = 20 * 60_000;

/** Each program with the Debian package that brings it. */
const PACKAGES: Readonly<Record<string, string>> = {
  dockerd: 'docker.io',
  docker: 'docker.io',
  containerd: 'containerd',
  'docker-init': 'docker.io',
  'docker-compose': 'docker-compose',
  debootstrap: 'debootstrap',
  iptables: 'iptables',
  ip: 'iproute2',
  unshare: 'util-linux',
  setpriv: 'util-linux',
  tar: 'tar',
};

const SYSTEM_FOLDERS = ['/usr/local/sbin', '/usr/local/bin', '/usr/sbin', '/usr/bin', '/sbin', '/bin'];

/** PATH with the folders of root's programs, which not every shell has. */
export const PROGRAM_PATH = [
  ...new Set([...(process.env.PATH ?? '').split(delimiter), ...SYSTEM_FOLDERS]),
].join(delimiter);

function exists(program: string): boolean {
  return PROGRAM_PATH.split(delimiter).some((folder) => {
    try {
      accessSync(join(folder, program), constants.X_OK);
      return true;
    } catch {
      return false;
    }
  });
}

/** @throws CommandError when something is missing and apt-get cannot install it. */
export async function installMissingPrograms(): Promise<void> {
  const missing = Object.keys(PACKAGES).filter((program) => !exists(program));
  if (missing.length === 0) return;
  const packages = [...new Set(missing.map((program) => PACKAGES[program] ?? program))];
  const folder = mkdtempSync(join(tmpdir(), 'godwit-apt-'));
  try {
    // Packages start their services by these two; in their place, nothing starts an engine that nobody asked
    // for.
    for (const starter of ['invoke-rc.d', 'deb-systemd-invoke']) {
      writeFileSync(join(folder, starter), '#!/bin/sh\nexit 0\n');
      chmodSync(join(folder, starter), 0o755);
    }
    const env = { ...process.env, PATH: PROGRAM_PATH, DEBIAN_FRONTEND: 'noninteractive', LC_ALL: 'C' };
    const options = { env, deadlineMs: INSTALL_DEADLINE_MS };
    await mustRun('apt-get', ['update'], options);
    await mustRun(
      'apt-get',
      [
        ...['install', '--yes', '--no-install-recommends'],
        ...['-o', `DPkg::Path=${[folder, ...SYSTEM_FOLDERS].join(':')}`],
        ...packages,
      ],
      options,
    );
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}
