import { spawnSync } from 'node:child_process';
import { copyFileSync, globSync, mkdirSync, rmSync } from 'node:fs';
import { dirname, join } from 'node:path';

/**
 * `npm run build`: dist/ anew from src/, as JavaScript with declarations, one file for one file, and whatever in src is no TypeScript
 * (the dashboard's page, style and script) copied beside it.
 */
const checkout = join(import.meta.dirname, '..');
const src = join(checkout, 'src');
const dist = join(checkout, 'dist');

rmSync(dist, { recursive: true, force: true });

const compiler = join(checkout, 'node_modules/typescript/bin/tsc');
const compiled = spawnSync(process.execPath, [compiler, '-p', join(checkout, 'tsconfig.build.json')], {
  stdio: 'inherit',
});
if (compiled.status !== 0) process.exit(compiled.status ?? 1);

for (const path of globSync('**/*.*', { cwd: src })) {
  if (path.endsWith('.ts')) continue;
  mkdirSync(dirname(join(dist, path)), { recursive: true });
  copyFileSync(join(src, path), join(dist, path));
}
