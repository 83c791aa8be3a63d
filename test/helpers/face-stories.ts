import { describe, expect, it } from 'vitest';
import { startOrigins } from './balanced-origins.ts';
import { type EmbeddedRegistry, startRegistry } from './embedded-registry.ts';
import { eventually } from './eventually.ts';

/** A running pool `orders` behind one face: whatever a client or a program can use it by. */
export interface StartedFace extends AsyncDisposable {
  /** One exchange; the name that the endpoint answered with. Rejects when there was no answer. */
  ask(): Promise<string>;
  /** Puts another pool in force. */
  reload(pool: object): Promise<void>;
  setEndpoint(id: string, change: { state?: 'ready' | 'drain'; weight?: number }): Promise<void>;
}

/** Endpoints named a, b, c…, that answer with their names. */
export interface FaceOrigins extends AsyncDisposable {
  readonly [index: number]: { readonly address: string; readonly port: number; close(): Promise<void> };
  /** As a pool's `endpoints`. */
  readonly settings: readonly { readonly address: string }[];
}

export interface Face {
  readonly name: string;
  /** Starts the endpoints that it asks; HTTP ones where it is left out. */
  readonly origins?: (count: number) => Promise<FaceOrigins>;
  start(pool: object, registries: object): Promise<StartedFace>;
}

/** What every face must do with the same pool: register, weight, kill, drain, reload. */
export function faceStories(face: Face): void {
  describe(`over ${face.name}`, () => {
    const begin: (count: number) => Promise<FaceOrigins> = face.origins ?? startOrigins;
    const pool = (origins: FaceOrigins, more: object = {}) => {
      return { endpoints: origins.settings, scheduler: 'weighted-round-robin', ...more };
    };
    const ask = async (started: StartedFace, times: number) => {
      const counts: Record<string, number> = {};
      for (let i = 0; i < times; i++) {
        const name = await started.ask();
        counts[name] = (counts[name] ?? 0) + 1;
      }
      return counts;
    };

    it('register: what registers is used, what leaves is not', async () => {
      await using origins = await begin(2);
      await using registry: EmbeddedRegistry = await startRegistry();
      const register = (i: number) =>
        registry.ask('PUT', '/v1/agent/service/register', {
          ID: `orders-${i}`,
          Name: 'orders',
          Address: '127.0.0.1',
          Port: origins[i].port,
        });
      await register(0);
      const discovered = { discover: { registry: 'own', service: 'orders' }, scheduler: 'weighted-round-robin' };
      await using started = await face.start(discovered, { own: { kind: 'consul', address: registry.address } });
      expect(await ask(started, 3)).toEqual({ a: 3 });
      await register(1);
      await eventually(async () => (await ask(started, 2)).b === 1);
      await registry.ask('PUT', '/v1/agent/service/deregister/orders-0');
      await eventually(async () => (await ask(started, 4)).b === 4);
    });

    it('weight: shares follow it', async () => {
      await using origins = await begin(2);
      await using started = await face.start(pool(origins), {});
      await started.setEndpoint(origins[0].address, { weight: 3 });
      expect(await ask(started, 40)).toEqual({ a: 30, b: 10 });
    });

    it('kill: nobody notices that an endpoint is gone', async () => {
      await using origins = await begin(2);
      await using started = await face.start(pool(origins), {});
      await ask(started, 4);
      await origins[0].close();
      expect(await ask(started, 20)).toEqual({ b: 20 });
    });

    it('drain: an endpoint that drains gets nothing new', async () => {
      await using origins = await begin(2);
      await using started = await face.start(pool(origins), {});
      await started.setEndpoint(origins[0].address, { state: 'drain' });
      expect(await ask(started, 10)).toEqual({ b: 10 });
      await started.setEndpoint(origins[0].address, { state: 'ready' });
      expect(await ask(started, 10)).toEqual({ a: 5, b: 5 });
    });

    it('reload: other endpoints from the next exchange on, and none is lost meanwhile', async () => {
      await using origins = await begin(2);
      await using started = await face.start(pool(origins, { endpoints: [origins.settings[0]] }), {});
      let isOver = false;
      const asking = (async () => {
        for (; !isOver; ) await started.ask();
      })();
      await ask(started, 3);
      await started.reload(pool(origins, { endpoints: [origins.settings[1]] }));
      expect(await ask(started, 10)).toEqual({ b: 10 });
      isOver = true;
      await asking;
    });
  });
}
