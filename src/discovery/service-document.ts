import { z } from 'zod';
import { ConfigError, OperationError } from '../base/errors.ts';
import { parseSource, plainData } from '../config/load.ts';
import { validate } from '../config/validate.ts';
import type { RegistryEndpoint } from './registry.ts';
import { staticEndpointFields, toStaticEndpoint } from './static-endpoint.ts';

/** One endpoint of a document of services: as in a pool, and how fit whoever wrote it says that it is. */
const endpoint = staticEndpointFields.extend({
  status: z
    .enum(['up', 'warning', 'down', 'draining', 'unknown'])
    .describe('only up, warning and unknown take new work; draining finishes what it has')
    .prefault('up'),
});
const list = z.array(endpoint);
const services = z.record(z.string(), list);
const strict = z.union([z.strictObject({ services }), list]);

/** What a document says: endpoints by service, or one list of a service that the document's own name tells. */
export interface ServiceDocument {
  readonly services: ReadonlyMap<string, readonly RegistryEndpoint[]>;
  readonly list: readonly RegistryEndpoint[] | null;
  /** Records left out because they could not be read; always 0 for what is read strictly. */
  readonly unreadable: number;
  readonly firstFault: string | null;
}

/**
 * Reads YAML or JSON written by hand: one fault and the whole text is refused, with the place of every fault. `name` names it in messages.
 * Throws an OperationError.
 */
export function readServiceFile(text: string, name: string): ServiceDocument {
  const json = asJson(text);
  if (json !== undefined) {
    const parsed = strict.safeParse(json);
    if (parsed.success) return toDocument(parsed.data);
  }
  try {
    const tree = parseSource(text, name);
    const { value, problems } = validate(strict, plainData(tree), tree);
    if (value === null) throw new ConfigError(problems);
    return toDocument(value);
  } catch (error) {
    throw unreadable(error as Error);
  }
}

/** Reads YAML or JSON that a program wrote: records that cannot be read are left out alone, unknown fields are not looked at. Throws an OperationError. */
export function readServiceAnswer(text: string, name: string): ServiceDocument {
  let data = asJson(text);
  try {
    data ??= plainData(parseSource(text, name));
  } catch (error) {
    throw unreadable(error as Error);
  }
  const outer = z.union([z.object({ services: z.record(z.string(), z.array(z.unknown())) }), z.array(z.unknown())]);
  const parsed = outer.safeParse(data);
  if (!parsed.success)
    throw unreadable(
      new Error(`${name} holds neither services, as { services: { NAME: [ { address } ] } }, nor a list of endpoints`),
    );
  const lenient = z.object(endpoint.shape);
  let left = 0;
  let firstFault: string | null = null;
  const readable = (records: readonly unknown[]) =>
    records.flatMap((record) => {
      const { success, data, error } = lenient.safeParse(record);
      if (success) return data;
      left++;
      firstFault ??= `${error.issues[0].path.join('.')} ${error.issues[0].message}`;
      return [];
    });
  const { data: told } = parsed;
  const kept = Array.isArray(told)
    ? readable(told)
    : {
        services: Object.fromEntries(
          Object.entries(told.services).map(([service, records]) => [service, readable(records)]),
        ),
      };
  return { ...toDocument(kept), unreadable: left, firstFault };
}

type Told = z.infer<typeof endpoint>;

function toDocument(
  told: { readonly services: Readonly<Record<string, readonly Told[]>> } | readonly Told[],
): ServiceDocument {
  const rest = { unreadable: 0, firstFault: null };
  if ('services' in told) {
    const entries = Object.entries(told.services).map(([service, list]) => [service, list.map(toEndpoint)] as const);
    return { services: new Map(entries), list: null, ...rest };
  }
  return { services: new Map(), list: told.map(toEndpoint), ...rest };
}

function toEndpoint({ status, ...told }: Told): RegistryEndpoint {
  return { ...toStaticEndpoint(told), status, generation: '' };
}

/** Undefined when it is none. YAML of 10 000 endpoints takes the parser half a second, JSON a few ms. */
function asJson(text: string): unknown {
  if (!/^\s*[{[]/.test(text)) return undefined;
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

function unreadable(error: Error): OperationError {
  return new OperationError('registry-unreadable', error.message, { retryable: true, cause: error });
}
