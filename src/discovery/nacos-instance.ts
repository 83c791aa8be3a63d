import type { Registration } from './registry.ts';

/** Group and bare name of the service a registration is for. */
export function serviceOf(self: Registration, group: string): { readonly group: string; readonly name: string } {
  const [own, name] = self.service.includes('@@') ? self.service.split('@@', 2) : [group, self.service];
  return { group: own, name };
}

/** A registration as an ephemeral instance of Nacos: an `Instance` of InstanceRequest. Its zone stays metadata: clusters are the server's to know. */
export function instanceOf(self: Registration): Readonly<Record<string, unknown>> {
  return {
    ip: self.host,
    port: self.port,
    weight: self.weight,
    healthy: true,
    enabled: true,
    ephemeral: true,
    clusterName: 'DEFAULT',
    metadata: metadataOf(self),
  };
}

/** Tags have no place of their own. Over HTTP, where heartbeats keep an instance, the TTL says when it is unhealthy and when it goes. */
export function metadataOf(self: Registration): Readonly<Record<string, string>> {
  const ttlMs = Math.ceil(self.ttlMs);
  return {
    ...self.metadata,
    ...(self.tags.length === 0 ? {} : { tags: self.tags.join(',') }),
    'preserved.heart.beat.interval': String(Math.ceil(ttlMs / 3)),
    'preserved.heart.beat.timeout': String(ttlMs),
    'preserved.ip.delete.timeout': String(ttlMs * 2),
  };
}
