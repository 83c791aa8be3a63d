import type { OperationError } from '../base/errors.ts';
import type { RegistryContext, RegistryEndpoint, RegistrySink, ServiceRef, Suspicion } from './registry.ts';
import type { ServiceWatch } from './service-watches.ts';
import { ToldService } from './told-service.ts';

/** What every watch of one registry shares: the poll that asks for all services together. */
export interface EurekaShared {
  readonly context: RegistryContext;
  /** Whether there was a good answer. */
  readonly isFilled: () => boolean;
  readonly failure: () => OperationError | null;
  readonly endpointsOf: (service: string) => readonly RegistryEndpoint[];
  readonly refresh: () => void;
}

/** One service of Eureka, of which the registry's poll tells. Made and ended by EurekaRegistry. */
export class EurekaWatch implements ServiceWatch {
  readonly service: string;
  readonly #shared: EurekaShared;
  readonly #told: ToldService;
  #isTold = false;

  constructor(service: ServiceRef, shared: EurekaShared) {
    this.service = service.name;
    this.#shared = shared;
    this.#told = new ToldService(service, shared.context);
  }

  /** Tells what the last answer held. While the registry is away only what is known to be there: the rest may be there by now. */
  start(): void {
    const { failure, isFilled, endpointsOf } = this.#shared;
    const error = failure();
    if (isFilled() && (error === null || endpointsOf(this.service).length > 0)) this.tell(null);
    if (error !== null) this.#told.fail(error);
  }

  add(sink: RegistrySink): void {
    this.#told.add(sink);
  }

  remove(sink: RegistrySink): boolean {
    return this.#told.remove(sink);
  }

  refresh(): void {
    this.#shared.refresh();
  }

  tell(suspicion: Suspicion | null): void {
    this.#isTold = true;
    this.#told.tell(this.#shared.endpointsOf(this.service), 0, suspicion);
  }

  /** A good answer that changed nothing of this service. */
  confirm(): void {
    if (this.#isTold) this.#told.confirm();
    else this.tell(null);
  }

  fail(error: OperationError): void {
    this.#told.fail(error);
  }

  close(): void {
    this.#told.close();
  }
}
