/**
 * For a builder that cannot reach an npm registry: copies the installed packages that godwit runs with to
 * docker/packages, from where the Dockerfile takes them instead of installing them. They fit the system on
 * which they were installed. `npx node docker/collect-packages.ts [FOLDER]`, after which `docker compose
 * build` as ever.
 */
import { cpSync, existsSync, readFileSync, rmSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

interface LockedPackage {
  readonly dev?: boolean;
  readonly devOptional?: boolean;
}

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const target = process.argv[2] ?? join(root, 'docker', 'packages');
const lock = JSON.parse(readFileSync(join(root, 'package-lock.json'), 'utf8')) as {
  readonly packages: Readonly<Record<string, LockedPackage>>;
};

/** The image's base has Node: the binary that npm installed beside these packages stays behind. */
const ownNode = join(root, 'node_modules', 'node', 'bin');

rmSync(target, { recursive: true, force: true });
for (const [path, { dev, devOptional }] of Object.entries(lock.packages)) {
  const from = join(root, path);
  // Optional packages for other systems are in the lock, but not installed.
  if (path === '' || dev || devOptional || !existsSync(from)) continue;
  cpSync(from, join(target, path), { recursive: true, filter: (source) => source !== ownNode });
}
