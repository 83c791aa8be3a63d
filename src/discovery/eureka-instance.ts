import { z } from 'zod';
import type { RegistryEndpoint, RegistryStatus } from './registry.ts';

/** Past the end of its lease by so much, an instance is only still told of because the server preserves itself: answers come out of a cache of 30 s. */
const LEASE_SLACK_MS = 60_000;

/** `catch` makes a field that is missing or of a wrong type the fallback: one odd field must not cost an endpoint. */
const text = z.string().catch('');
const count = z.coerce.number().catch(0);
/** Java servers write `{"$":8080,"@enabled":"true"}`, clients a boolean, some a bare number. */
const port = z
  .union([
    z.object({ $: z.coerce.number(), '@enabled': z.union([z.boolean(), z.string()]).catch(true) }),
    z.coerce.number().transform(($) => ({ $, '@enabled': true as boolean | string })),
  ])
  .catch({ $: 0, '@enabled': false });

/** What of an instance of `GET /apps` is used; the names are Eureka's. */
const record = z.object({
  instanceId: text,
  hostName: text,
  app: text,
  ipAddr: text,
  status: text,
  port,
  securePort: port,
  vipAddress: text,
  secureVipAddress: text,
  // '@class' stands in it where there is none of our own
  metadata: z.record(z.string(), z.unknown()).catch({}),
  dataCenterInfo: z.object({ metadata: z.record(z.string(), z.unknown()).catch({}) }).catch({ metadata: {} }),
  leaseInfo: z
    .object({ durationInSecs: count, registrationTimestamp: count, lastRenewalTimestamp: count })
    .catch({ durationInSecs: 0, registrationTimestamp: 0, lastRenewalTimestamp: 0 }),
  actionType: text,
});

/** One instance as Eureka tells it. */
export interface EurekaInstance {
  readonly app: string;
  readonly id: string;
  readonly ip: string;
  readonly hostName: string;
  /** 0 when it is switched off. */
  readonly port: number;
  readonly securePort: number;
  /** Eureka's word. */
  readonly status: string;
  readonly vips: readonly string[];
  readonly secureVips: readonly string[];
  readonly zone: string;
  readonly metadata: Readonly<Record<string, string>>;
  readonly registeredAt: number;
  /** The server's clock, in ms since 1970, past which it would drop the instance if it did not preserve itself; 0 when it does not say. */
  readonly leaseEnd: number;
  /** Of a delta: the instance is gone. */
  readonly isDeleted: boolean;
}

/** Which of an instance's addresses and ports a pool is to use. */
export interface EurekaChoice {
  readonly prefer: 'ip' | 'name';
  /** `auto`: the plain port, or the secure one where that alone is switched on. */
  readonly port: 'auto' | 'plain' | 'secure';
}

export interface EurekaAnswer {
  readonly instances: readonly EurekaInstance[];
  /** What the statuses of everything the server knows add up to. */
  readonly hash: string;
  /** Records that are no instances. */
  readonly unreadable: number;
}

/** The body of `GET /apps` or `/apps/delta`. Throws when it is neither. A single element may stand where a list belongs. */
export function readEurekaAnswer(body: unknown): EurekaAnswer {
  const applications = (body as { applications?: Record<string, unknown> } | null)?.applications;
  if (typeof applications !== 'object' || applications === null) throw new TypeError('the body holds no applications');
  const instances: EurekaInstance[] = [];
  let unreadable = 0;
  for (const application of listOf(applications.application)) {
    const { name, instance } = application as { name?: unknown; instance?: unknown };
    for (const entry of listOf(instance)) {
      const parsed = record.safeParse(entry);
      const app = (parsed.data?.app || String(name ?? '')).toUpperCase();
      if (parsed.success && app !== '') instances.push(toInstance(app, parsed.data));
      else unreadable++;
    }
  }
  return { instances, hash: String(applications.apps__hashcode ?? ''), unreadable };
}

/** `DOWN_2_UP_40_`: how many instances there are of each status, as the server adds them up. */
export function hashOf(instances: Iterable<EurekaInstance>): string {
  const counts = new Map<string, number>();
  for (const { status } of instances) counts.set(status, (counts.get(status) ?? 0) + 1);
  return [...counts]
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([status, number]) => `${status}_${number}_`)
    .join('');
}

/** `nowMs` is the server's clock when it answered. */
export function toEndpoint(instance: EurekaInstance, choice: EurekaChoice, nowMs: number): RegistryEndpoint {
  const { ip, hostName, metadata } = instance;
  const weight = metadata.weight === undefined || metadata.weight === '' ? Number.NaN : Number(metadata.weight);
  return {
    host: choice.prefer === 'ip' ? ip || hostName : hostName || ip,
    port: portOf(instance, choice),
    weight: Number.isFinite(weight) && weight >= 0 ? weight : 1,
    zone: instance.zone,
    version: metadata.version ?? '',
    backup: metadata.backup === 'true',
    status: statusOf(instance, nowMs),
    tags: (metadata.tags ?? '').split(',').flatMap((tag) => tag.trim() || []),
    metadata,
    generation: `${instance.id}/${instance.registeredAt}`,
  };
}

const STATUSES: Readonly<Record<string, RegistryStatus>> = {
  UP: 'up',
  DOWN: 'down',
  STARTING: 'down',
  OUT_OF_SERVICE: 'draining',
};

/** An instance whose lease is long over is neither up nor down: a server that preserves itself has stopped to look. */
function statusOf({ status, leaseEnd }: EurekaInstance, nowMs: number): RegistryStatus {
  const told = STATUSES[status] ?? 'unknown';
  return told === 'up' && leaseEnd > 0 && nowMs > leaseEnd + LEASE_SLACK_MS ? 'unknown' : told;
}

function portOf({ port, securePort }: EurekaInstance, choice: EurekaChoice): number {
  if (choice.port === 'plain') return port;
  if (choice.port === 'secure') return securePort;
  return port || securePort;
}

function toInstance(app: string, told: z.infer<typeof record>): EurekaInstance {
  const { leaseInfo, dataCenterInfo } = told;
  const metadata: Record<string, string> = {};
  for (const [name, value] of Object.entries(told.metadata))
    if (name !== '@class' && (typeof value === 'string' || typeof value === 'number')) metadata[name] = String(value);
  const { 'availability-zone': place = '', 'instance-id': machine = '' } = dataCenterInfo.metadata;
  return {
    app,
    id: told.instanceId || String(machine) || told.hostName,
    ip: told.ipAddr,
    hostName: told.hostName,
    port: isOn(told.port) ? told.port.$ : 0,
    securePort: isOn(told.securePort) ? told.securePort.$ : 0,
    status: told.status || 'UNKNOWN',
    vips: told.vipAddress.split(','),
    secureVips: told.secureVipAddress.split(','),
    zone: metadata.zone || String(place),
    metadata,
    registeredAt: leaseInfo.registrationTimestamp,
    // The server adds the duration to the time of the renewal once when it renews and once more when it looks.
    leaseEnd:
      leaseInfo.lastRenewalTimestamp === 0 ? 0 : leaseInfo.lastRenewalTimestamp + leaseInfo.durationInSecs * 1000,
    isDeleted: told.actionType === 'DELETED',
  };
}

function isOn(port: { readonly '@enabled': boolean | string }): boolean {
  return String(port['@enabled']) === 'true';
}

function listOf(value: unknown): unknown[] {
  if (value === undefined || value === null) return [];
  return Array.isArray(value) ? value : [value];
}
