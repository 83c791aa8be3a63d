import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { KindSettings } from '../../src/base/catalog.ts';
import { Core } from '../rig/machine.ts';
import { Running } from '../rig/running.ts';
import type { PoolSetting } from './scenario.ts';
import type { RunningSubject, Subject } from './subject.ts';

const checkout = join(import.meta.dirname, '../..');
const main = join(checkout, 'src/cli/main.ts');

/** Its defaults, but for the timeouts that all share. `keys` are further keys of the pool; who does not know them takes no part. */
export function evenkeelSubject(
  name: string,
  scheduler: KindSettings,
  judged: Subject['judged'],
  keys: Readonly<Record<string, unknown>> = {},
): Subject {
  return {
    name: `evenkeel ${name}`,
    proxy: 'evenkeel',
    judged,
    version: () => JSON.parse(readFileSync(join(checkout, 'package.json'), 'utf8')).version,
    missing: () => unknownKey(keys),
    start: (directory, setting) => start(directory, setting, { scheduler, ...keys }),
  };
}

let poolKeys: readonly string[] | null = null;

/** The first of the keys that a pool of this version does not have. */
function unknownKey(keys: Readonly<Record<string, unknown>>): string | null {
  if (Object.keys(keys).length === 0) return null;
  poolKeys ??= readPoolKeys();
  const unknown = Object.keys(keys).find((key) => !poolKeys?.includes(key));
  return unknown === undefined ? null : `pools have no key ${unknown}`;
}

function readPoolKeys(): string[] {
  const { stdout } = spawnSync(process.execPath, [main, 'schema'], { encoding: 'utf8', maxBuffer: 64 * 1024 * 1024 });
  const schema = JSON.parse(stdout);
  return Object.keys(schema.properties.pools.additionalProperties.properties);
}

async function start(
  directory: string,
  setting: PoolSetting,
  keys: Readonly<Record<string, unknown>>,
): Promise<RunningSubject> {
  const file = join(directory, 'evenkeel.json');
  const write = (addresses: readonly string[]) =>
    writeFile(file, JSON.stringify(documentOf(directory, setting, addresses, keys)));
  await write(setting.addresses);
  const running = Running.start(Core.PROXY, [process.execPath, main, 'run', '-c', file]);
  const match = await running.printed(/bench on 127\.0\.0\.1:(\d+)/);
  return {
    process: running,
    port: Number(match[1]),
    join: async () => {
      await write([...setting.addresses, ...setting.joining]);
      process.kill(running.pid, 'SIGHUP');
    },
  };
}

function documentOf(
  directory: string,
  { limit, slowStartSeconds }: PoolSetting,
  addresses: readonly string[],
  keys: Readonly<Record<string, unknown>>,
): object {
  const limits =
    limit === null ? {} : { active: limit.active, pending: limit.queue, pendingTimeout: `${limit.queueMs}ms` };
  return {
    runtime: { workers: 1, state: join(directory, 'state') },
    admin: { bind: '127.0.0.1:0' },
    log: { level: 'warn', access: 'off' },
    listeners: [{ name: 'bench', bind: '127.0.0.1:0', pool: 'bench' }],
    pools: {
      bench: {
        endpoints: addresses.map((address) => ({ address })),
        retry: { attempts: 2, perTryTimeout: '2s' },
        timeouts: { connect: '1s', response: '6s' },
        limits,
        ...(slowStartSeconds === 0 ? {} : { slowStart: `${slowStartSeconds}s` }),
        ...keys,
      },
    },
  };
}
