import { formatHostPort } from '../base/literals.ts';
import type { Registration, RegistryEndpoint } from './registry.ts';

/** Whether a node's name is one of Dubbo's: a whole URL, percent-encoded. */
export function isDubboName(name: string): boolean {
  return /^[a-z][a-z0-9+.-]*%3a%2f%2f/i.test(name);
}

/**
 * Reads a provider as Dubbo 2 and 3 write them, `dubbo://10.0.0.1:20880/org.shop.Orders?version=1.0&weight=200&timestamp=…`; null when it is none (`empty://` stands
 * for nobody). Dubbo's weight is 100 where nobody says otherwise, so a hundredth of it is ours.
 */
export function readDubboName(name: string): RegistryEndpoint | null {
  const url = URL.parse(decoded(name));
  if (url === null || url.protocol === 'empty:' || url.hostname === '') return null;
  const metadata = Object.fromEntries(url.searchParams);
  metadata.protocol = url.protocol.slice(0, -1);
  const weight = Number(metadata.weight || 100);
  const isOff = metadata.disabled === 'true' || metadata.enabled === 'false';
  return {
    host: url.hostname.replace(/^\[|\]$/g, ''),
    port: Number(url.port),
    weight: Number.isFinite(weight) && weight >= 0 ? weight / 100 : 1,
    zone: metadata.zone ?? '',
    version: metadata.version ?? '',
    backup: metadata.backup === 'true',
    status: isOff ? 'draining' : 'up',
    tags: [metadata['dubbo.tag'], metadata.tag, ...(metadata.tags ?? '').split(',')].filter((tag) => tag) as string[],
    metadata,
    // When the process started.
    generation: metadata.timestamp ?? '',
  };
}

/** The name of the node by which a registration is known to Dubbo's consumers. */
export function writeDubboName(self: Registration, nowMs: number): string {
  const { protocol = 'dubbo', ...rest } = self.metadata;
  const query = new URLSearchParams({ application: self.id, interface: self.service, ...rest });
  query.set('weight', String(Math.round(self.weight * 100)));
  query.set('timestamp', String(Math.round(nowMs)));
  if (self.tags.length > 0) query.set('tags', self.tags.join(','));
  const path = encodeURIComponent(self.service);
  return encodeURIComponent(`${protocol}://${formatHostPort(self.host, self.port)}/${path}?${query}`);
}

function decoded(name: string): string {
  try {
    return decodeURIComponent(name);
  } catch {
    return '';
  }
}
