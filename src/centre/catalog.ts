import { OperationError } from '../base/errors.ts';
import { consulStore } from './consul-store.ts';
import { directoryStore } from './directory-store.ts';
import { etcdStore } from './etcd-store.ts';
import { nacosStore } from './nacos-store.ts';
import type { Store, StoreContext, StoreKind } from './store.ts';
import { zookeeperStore } from './zookeeper-store.ts';

/** Every kind of store a config centre may live in. */
export const stores: readonly StoreKind[] = [directoryStore, consulStore, zookeeperStore, etcdStore, nacosStore];

/** Scheme and user; servers; path and query. */
const AUTHORITY = /^([a-z0-9+]+:\/\/(?:[^/?@]*@)?)([^/?]*)(.*)$/;

/** Whether `-c` names a config centre and not a file. */
export function isStoreAddress(text: string): boolean {
  return /^[a-z][a-z0-9+]*:\/\//.test(text);
}

/** Throws an OperationError that names the kinds when the address is not right. Opens no connection. */
export function openStore(text: string, context: StoreContext): Store {
  const scheme = text.slice(0, text.indexOf(':'));
  const kind = stores.find((one) => one.scheme === scheme);
  const examples = stores.map(({ example }) => example).join(', ');
  if (kind === undefined)
    throw new OperationError('bad-store', `${scheme}:// is no config centre; there are ${examples}`);
  // Several servers are no host of a URL: it keeps the first.
  const [, start, servers, rest] = AUTHORITY.exec(text) ?? [];
  const hosts = servers?.split(',').map((host) => host.trim()) ?? [];
  const single = `${start}${hosts[0]}${rest}`;
  if (hosts.length === 0 || !URL.canParse(single))
    throw new OperationError('bad-store', `this is no address of a config centre; it should look like ${kind.example}`);
  return kind.open(new URL(single), context, hosts);
}
