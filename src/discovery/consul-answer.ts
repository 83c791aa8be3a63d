import { z } from 'zod';
import type { RegistryEndpoint, RegistryStatus } from './registry.ts';

/** `catch` makes a field that is missing, null or of a wrong type the fallback: one odd field must not cost an endpoint. */
const text = z.string().catch('');
const locality = z.object({ Zone: text }).nullish().catch(null);

/** What of one record of `GET /v1/health/service/NAME` is used; the names are Consul's. */
const record = z.object({
  Node: z.object({ Node: text, Address: text, Locality: locality }),
  Service: z.object({
    ID: text,
    Address: text,
    Port: z.number(),
    Tags: z.array(z.string()).catch([]),
    // null where a service has none
    Meta: z.record(z.string(), z.string()).catch({}),
    Weights: z.object({ Passing: z.number(), Warning: z.number() }).catch({ Passing: 1, Warning: 1 }),
    Locality: locality,
    CreateIndex: z.number().catch(0),
  }),
  Checks: z.array(z.object({ CheckID: text, Status: text })).catch([]),
});

type ConsulRecord = z.infer<typeof record>;

/** The records of one answer; `unreadable` counts those that are no service records at all. Throws when the body is no list. */
export function readConsulAnswer(body: unknown): { endpoints: RegistryEndpoint[]; unreadable: number } {
  if (!Array.isArray(body)) throw new TypeError('the body is not a list of services');
  const endpoints: RegistryEndpoint[] = [];
  let unreadable = 0;
  for (const entry of body) {
    const parsed = record.safeParse(entry);
    if (parsed.success) endpoints.push(toEndpoint(parsed.data));
    else unreadable++;
  }
  return { endpoints, unreadable };
}

function toEndpoint({ Node: node, Service: service, Checks: checks }: ConsulRecord): RegistryEndpoint {
  const status = statusOf(checks);
  return {
    host: service.Address || node.Address,
    port: service.Port,
    weight: weightOf(service, status),
    zone: service.Meta.zone || zoneTag(service.Tags) || service.Locality?.Zone || node.Locality?.Zone || '',
    version: service.Meta.version ?? '',
    backup: service.Meta.backup === 'true',
    status,
    tags: service.Tags,
    metadata: service.Meta,
    generation: `${node.Node}/${service.ID}/${service.CreateIndex}`,
  };
}

/** The worst check decides; maintenance, of a service or its node, is an operator's word and comes first. */
function statusOf(checks: ConsulRecord['Checks']): RegistryStatus {
  let worst: RegistryStatus = 'up';
  for (const check of checks) {
    if (check.CheckID.startsWith('_service_maintenance:') || check.CheckID === '_node_maintenance') return 'draining';
    if (check.Status === 'warning') {
      if (worst === 'up') worst = 'warning';
    } else if (check.Status !== 'passing') worst = 'down';
  }
  return worst;
}

/** Meta comes first: clients exist that silently drop `Weights` (npm's consul), so Meta is the only way their users have. */
function weightOf(service: ConsulRecord['Service'], status: RegistryStatus): number {
  const { Passing: passing, Warning: warning } = service.Weights;
  const told =
    service.Meta.weight === undefined || service.Meta.weight === '' ? Number.NaN : Number(service.Meta.weight);
  const weight = Number.isFinite(told) && told >= 0 ? told : passing;
  return status === 'warning' ? Math.min(weight, warning) : weight;
}

function zoneTag(tags: readonly string[]): string {
  return tags.find((tag) => tag.startsWith('zone='))?.slice('zone='.length) ?? '';
}
