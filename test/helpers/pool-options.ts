import { catalogs } from '../../src/app/catalogs.ts';
import { readDocument } from '../../src/app/document.ts';
import type { PoolOptions } from '../../src/pool/options.ts';

/** Options of a pool as a document gives them, defaults filled in. */
export function poolOptionsOf(options: object = {}): PoolOptions {
  const web = { endpoints: [{ address: '127.0.0.1:9001' }], ...options };
  const listeners = [{ name: 'web', bind: '127.0.0.1:8080', pool: 'web' }];
  return readDocument(JSON.stringify({ listeners, pools: { web } }), 'pool.yaml', {}, catalogs).document.pools.web;
}
