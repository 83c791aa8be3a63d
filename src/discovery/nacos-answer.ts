import { z } from 'zod';
import type { RegistryEndpoint, RegistryStatus } from './registry.ts';

/** `catch` makes a field that is missing or of a wrong type the fallback: one odd field must not cost an endpoint. */
const text = z.string().catch('');

/** What of a host in `instance/list`, SubscribeServiceResponse and NotifySubscriberRequest is used; the names are Nacos's. */
const host = z.object({
  ip: text,
  port: z.coerce.number(),
  weight: z.number().catch(1),
  healthy: z.boolean().catch(true),
  enabled: z.boolean().catch(true),
  clusterName: text,
  metadata: z.record(z.string(), z.unknown()).catch({}),
});

const serviceInfo = z.object({
  name: text,
  groupName: text,
  hosts: z.array(z.unknown()).nullish(),
  reachProtectionThreshold: z.boolean().catch(false),
});

/** A service as Nacos tells it, whichever way. */
export interface NacosService {
  readonly name: string;
  readonly group: string;
  /** With the Nacos cluster of each. */
  readonly endpoints: readonly (RegistryEndpoint & { readonly cluster: string })[];
  /** Records that are no endpoints. */
  readonly unreadable: number;
}

/** Throws when it is no service. The group stands before the name, beside it, or in both places. */
export function readNacosService(body: unknown): NacosService {
  const { name, groupName, hosts, reachProtectionThreshold } = serviceInfo.parse(body);
  const [group, bare] = name.includes('@@') ? name.split('@@', 2) : [groupName, name];
  const endpoints: (RegistryEndpoint & { cluster: string })[] = [];
  let unreadable = 0;
  for (const entry of hosts ?? []) {
    const parsed = host.safeParse(entry);
    if (parsed.success) endpoints.push(toEndpoint(parsed.data, reachProtectionThreshold));
    else unreadable++;
  }
  return { name: bare, group, endpoints, unreadable };
}

function toEndpoint(told: z.infer<typeof host>, isProtected: boolean): RegistryEndpoint & { cluster: string } {
  const metadata: Record<string, string> = {};
  for (const [name, value] of Object.entries(told.metadata))
    if (typeof value === 'string' || typeof value === 'number') metadata[name] = String(value);
  return {
    host: told.ip,
    port: told.port,
    weight: told.weight,
    // DEFAULT is the cluster of those that name none.
    zone: metadata.zone || (told.clusterName === 'DEFAULT' ? '' : told.clusterName),
    version: metadata.version ?? '',
    backup: metadata.backup === 'true',
    status: statusOf(told, isProtected),
    tags: (metadata.tags ?? '').split(',').flatMap((tag) => tag.trim() || []),
    metadata,
    generation: '',
    cluster: told.clusterName || 'DEFAULT',
  };
}

/** Past its protect threshold a service is told whole, and `healthy` is true for each: then nobody knows. */
function statusOf({ enabled, healthy }: z.infer<typeof host>, isProtected: boolean): RegistryStatus {
  if (!enabled) return 'draining';
  if (isProtected) return 'unknown';
  return healthy ? 'up' : 'down';
}
