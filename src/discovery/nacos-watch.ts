import { OperationError } from '../base/errors.ts';
import { readNacosService } from './nacos-answer.ts';
import type { RegistryContext, RegistrySink, ServiceRef, Suspicion } from './registry.ts';
import type { ServiceWatch } from './service-watches.ts';
import { ToldService } from './told-service.ts';

/** What every watch of one registry shares. */
export interface NacosShared {
  readonly context: RegistryContext;
  /** Of services whose name carries none. */
  readonly group: string;
  /** Empty: all. */
  readonly clusters: readonly string[];
  readonly failure: () => OperationError | null;
  /** Asks for a watch by the link there is. */
  readonly ask: (watch: NacosWatch) => void;
  readonly leave: (watch: NacosWatch) => void;
}

/** One service of Nacos: what was told of it last, whichever way it came. Made and ended by NacosRegistry, fed by its link. */
export class NacosWatch implements ServiceWatch {
  readonly name: string;
  readonly group: string;
  readonly #service: ServiceRef;
  readonly #clusters: readonly string[];
  readonly #shared: NacosShared;
  readonly #told: ToldService;
  #isClosed = false;

  /** A name like `GROUP@@name` carries its group; a datacenter is a cluster of Nacos. */
  constructor(service: ServiceRef, shared: NacosShared) {
    const { group, clusters, context } = shared;
    const [own, bare] = service.name.includes('@@') ? service.name.split('@@', 2) : [group, service.name];
    this.name = bare;
    this.group = own;
    this.#service = service;
    this.#clusters = service.datacenter === undefined ? clusters : [service.datacenter];
    this.#shared = shared;
    this.#told = new ToldService(service, context);
  }

  /** What comes for it is told to nobody any more. */
  get isClosed(): boolean {
    return this.#isClosed;
  }

  start(): void {
    const failure = this.#shared.failure();
    if (failure !== null) this.#told.fail(failure);
    this.#shared.ask(this);
  }

  add(sink: RegistrySink): void {
    this.#told.add(sink);
  }

  remove(sink: RegistrySink): boolean {
    return this.#told.remove(sink);
  }

  refresh(): void {
    this.#shared.ask(this);
  }

  /** What Nacos says of this service. */
  take(body: unknown, suspicion: Suspicion | null): void {
    let told: ReturnType<typeof readNacosService>;
    try {
      told = readNacosService(body);
    } catch (cause) {
      const text = `Nacos's answer for ${this.#service.name} cannot be read: ${cause}`;
      return this.fail(new OperationError('registry-error', text, { retryable: true, cause }));
    }
    const wanted = told.endpoints.filter(
      ({ cluster }) => this.#clusters.length === 0 || this.#clusters.includes(cluster),
    );
    const endpoints = wanted.map(({ cluster: _, ...endpoint }) => endpoint);
    // Servers are known to push a service as empty that is not.
    this.#told.tell(endpoints, told.unreadable, suspicion, 'emptied');
  }

  /** Nacos cannot be asked: what is known stays. */
  fail(error: OperationError): void {
    this.#told.fail(error);
  }

  close(): void {
    this.#isClosed = true;
    this.#told.close();
    this.#shared.leave(this);
  }
}
