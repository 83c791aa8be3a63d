import { OperationError } from '../base/errors.ts';
import { cleanSet, fingerprint } from './clean-set.ts';
import { readNacosService } from './nacos-answer.ts';
import type { RegistryContext, RegistryEndpoint, RegistrySink, ServiceRef, Suspicion } from './registry.ts';

/** One service of Nacos and the pools that share it: what was told of it last, whichever way it came. Made by NacosRegistry, fed by its link. */
export class NacosWatch {
  readonly name: string;
  readonly group: string;
  readonly sinks = new Set<RegistrySink>();
  readonly #service: ServiceRef;
  readonly #clusters: readonly string[];
  readonly #context: RegistryContext;
  #current: readonly RegistryEndpoint[] | null = null;
  #suspicion: Suspicion | null = null;
  #fingerprint = '';
  #failure: OperationError | null = null;

  /** A name like `GROUP@@name` carries its group; a datacenter is a cluster of Nacos. `clusters` empty: all. */
  constructor(service: ServiceRef, group: string, clusters: readonly string[], context: RegistryContext) {
    const [own, bare] = service.name.includes('@@') ? service.name.split('@@', 2) : [group, service.name];
    this.name = bare;
    this.group = own;
    this.#service = service;
    this.#clusters = service.datacenter === undefined ? clusters : [service.datacenter];
    this.#context = context;
  }

  /** A further pool: it is told at once what is known. */
  add(sink: RegistrySink): void {
    this.sinks.add(sink);
    if (this.#current !== null) sink.replace({ endpoints: this.#current, suspicion: this.#suspicion });
    if (this.#failure !== null) sink.unavailable(this.#failure);
  }

  /** What Nacos says of this service. Keeps the very list where nothing changed. */
  take(body: unknown, suspicion: Suspicion | null): void {
    const before = this.#current?.length ?? 0;
    if (!this.#read(body)) return;
    this.#failure = null;
    // Servers are known to push a service as empty that is not.
    const isEmptied = before > 0 && this.#current!.length === 0;
    this.#suspicion = suspicion ?? (isEmptied ? 'emptied' : null);
    const set = { endpoints: this.#current!, suspicion: this.#suspicion };
    for (const sink of [...this.sinks]) sink.replace(set);
  }

  /** Nacos cannot be asked: what is known stays. */
  fail(error: OperationError): void {
    const isNews = this.#failure?.code !== error.code || this.#failure.message !== error.message;
    this.#failure = error;
    if (isNews) for (const sink of [...this.sinks]) sink.unavailable(error);
  }

  #read(body: unknown): boolean {
    const { context, name } = { context: this.#context, name: this.#service.name };
    let told: ReturnType<typeof readNacosService>;
    try {
      told = readNacosService(body);
    } catch (cause) {
      const text = `Nacos's answer for ${name} cannot be read: ${cause}`;
      this.fail(new OperationError('registry-error', text, { retryable: true, cause }));
      return false;
    }
    const { tags } = this.#service;
    const wanted = told.endpoints.filter(
      (one) =>
        (this.#clusters.length === 0 || this.#clusters.includes(one.cluster)) &&
        tags.every((tag) => one.tags.includes(tag)),
    );
    const { endpoints, dropped, firstFault } = cleanSet(wanted.map(({ cluster: _, ...endpoint }) => endpoint));
    const leftOut = dropped + told.unreadable;
    if (leftOut > 0)
      context.log('warn', 'records of the registry left out', {
        registry: context.name,
        service: name,
        leftOut,
        firstFault: firstFault ?? 'a record is no endpoint',
      });
    const print = fingerprint(endpoints);
    if (this.#current !== null && print === this.#fingerprint) return true;
    this.#fingerprint = print;
    this.#current = endpoints;
    return true;
  }
}
