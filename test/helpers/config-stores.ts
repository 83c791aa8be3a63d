import { mkdir, rename, symlink, writeFile } from 'node:fs/promises';
import { seededRandom } from '../../src/base/random.ts';
import { openStore } from '../../src/centre/catalog.ts';
import { ConfigCentre } from '../../src/centre/config-centre.ts';
import type { Store } from '../../src/centre/store.ts';
import { startRegistry } from './embedded-registry.ts';
import { NacosPeer } from './nacos-peer.ts';
import { temporaryDirectory } from './temporary-directory.ts';

/** A store of a test's own, which can be taken away and brought back. */
export interface StoreWorld {
  /** For `-c`. Each world's is empty. */
  readonly address: string;
  /** The store stops answering; what it holds is kept. */
  kill(): Promise<void>;
  /** It answers again at the same address. */
  revive(): Promise<void>;
  /** It answers again and has lost everything. */
  reviveEmpty?(): Promise<void>;
  close(): Promise<void>;
}

export interface StoreKindUnderTest {
  readonly name: string;
  readonly skip: boolean;
  start(): Promise<StoreWorld>;
  /** After the last test. */
  end?(): Promise<void>;
}

/** A directory behind a link. Killing it is pointing the link, in one step, at what is no directory. */
export const directoryWorld: StoreKindUnderTest = {
  name: 'file',
  skip: false,
  async start() {
    const place = await temporaryDirectory('centre');
    const pointTo = async (target: string) => {
      await symlink(target, `${place.path}/next`);
      await rename(`${place.path}/next`, `${place.path}/store`);
    };
    await mkdir(`${place.path}/there`);
    await writeFile(`${place.path}/file`, 'not a directory');
    await pointTo('there');
    return {
      address: `file://${place.path}/store`,
      kill: () => pointTo('file'),
      revive: () => pointTo('there'),
      close: () => place.close(),
    };
  },
};

/** The embedded registry's KV. */
export const embeddedWorld: StoreKindUnderTest = {
  name: 'embedded registry',
  skip: false,
  async start() {
    const data = await temporaryDirectory('centre-data');
    let registry = await startRegistry({ data: `${data.path}/first` });
    const { host } = new URL(registry.address);
    return {
      address: `consul://${host}/evenkeel/test`,
      kill: () => registry.close(),
      revive: async () => {
        registry = await startRegistry({ data: `${data.path}/first`, bind: host });
      },
      reviveEmpty: async () => {
        registry = await startRegistry({ data: `${data.path}/second`, bind: host });
      },
      close: async () => {
        await registry.close();
        await data.close();
      },
    };
  },
};

/** A double of Nacos 2, or of r-nacos, which writes whatever it is told to expect. What a real one answers is seen where there is one. */
export function nacosDoubleWorld(of: 'Nacos' | 'r-nacos'): StoreKindUnderTest {
  return {
    name: `a double of ${of}`,
    skip: false,
    async start() {
      const peer = await NacosPeer.start(
        of === 'Nacos' ? { compares: true, lagMs: 20 } : { compares: false, lagMs: 0 },
      );
      return {
        address: `nacos://127.0.0.1:1/evenkeel/test?grpcPort=${peer.port}`,
        kill: () => peer.goAway(),
        revive: () => peer.comeBack(),
        reviveEmpty: async () => {
          peer.configs.clear();
          await peer.comeBack();
        },
        close: () => peer.goAway(),
      };
    },
  };
}

/** Opens a store as a proxy or a command does. Whoever opens it closes it. */
export function openTestStore(address: string, seed = 1): Store {
  return openStore(address, { random: seededRandom(seed), environment: {} });
}

export function openTestCentre(address: string, seed = 1): ConfigCentre {
  return new ConfigCentre(openTestStore(address, seed), { wallClock: Date.now, random: seededRandom(seed) });
}
