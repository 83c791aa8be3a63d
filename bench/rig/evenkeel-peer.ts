import { spawnSync } from 'node:child_process';
import { existsSync, globSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { coreFor } from './machine.ts';
import type { Peer, Setting } from './peer.ts';
import { Running } from './running.ts';

const checkout = join(import.meta.dirname, '../..');

/** How one evenkeel differs from the default. */
interface Variant {
  /** The checkout it is started from. */
  readonly root?: string;
  /** Go to Node before the program. */
  readonly nodeOptions?: readonly string[];
  /** `off`: by the documented API of Node only. Left out, so that older revisions understand the document. */
  readonly fastPath?: 'off';
  /** More keys of the listener. */
  readonly listener?: object;
  /** More keys of the pool. */
  readonly pool?: object;
}

/** evenkeel itself, from a checkout: its defaults, the admin API on. */
export function evenkeel(name = 'evenkeel', variant: Variant = {}): Peer {
  const { root = checkout, nodeOptions = [] } = variant;
  const command = [process.execPath, ...nodeOptions, entryOf(root)];
  return {
    name,
    warmsUp: true,
    version: () => JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')).version,
    missing: (setting) => (setting.tls === null ? null : refusal(command, setting, variant)),
    start: async (setting) => {
      const process = Running.start(coreFor(setting.workers), [
        ...command,
        'run',
        '-c',
        writeDocument(setting, variant),
      ]);
      const match = await process.printed(/bench on 127\.0\.0\.1:(\d+)/);
      return { process, port: Number(match[1]) };
    },
  };
}

/** dist when it is newer than every file of src, else src: what is measured is what is in the work tree. */
function entryOf(root: string): string {
  const built = join(root, 'dist/cli/main.js');
  if (!existsSync(built)) return join(root, 'src/cli/main.ts');
  const builtMs = statSync(built).mtimeMs;
  const isFresh = globSync('src/**/*.ts', { cwd: root }).every((file) => statSync(join(root, file)).mtimeMs < builtMs);
  return isFresh ? built : join(root, 'src/cli/main.ts');
}

/** What `check` says against a document with TLS, or null. */
function refusal([program, ...rest]: readonly string[], setting: Setting, variant: Variant): string | null {
  const { status, stderr } = spawnSync(program, [...rest, 'check', '-c', writeDocument(setting, variant)], {
    encoding: 'utf8',
  });
  return status === 0
    ? null
    : `evenkeel check refuses it: ${stderr
        .trim()
        .split('\n')
        .at(-1)
        ?.replace(/^\S+\s+/, '')}`;
}

function writeDocument(
  { directory, origins, accessLog, tls, workers }: Setting,
  { fastPath, listener, pool }: Variant,
): string {
  const file = join(directory, 'evenkeel.json');
  const document = {
    runtime: { workers, state: join(directory, 'state'), ...(fastPath === undefined ? {} : { fastPath }) },
    admin: { bind: '127.0.0.1:0' },
    log: { level: 'warn', access: accessLog ? join(directory, 'access.log') : 'off' },
    listeners: [
      {
        name: 'bench',
        bind: '127.0.0.1:0',
        pool: 'bench',
        ...listener,
        ...(tls === null ? {} : { tls: { certificates: [{ cert: tls.cert, key: tls.key }] } }),
      },
    ],
    pools: { bench: { endpoints: origins.map((port) => ({ address: `127.0.0.1:${port}` })), ...pool } },
  };
  writeFileSync(file, JSON.stringify(document));
  return file;
}
