import type { OperationError } from '../base/errors.ts';
import { cleanSet, fingerprint } from './clean-set.ts';
import type { RegistryContext, RegistryEndpoint, RegistrySink, ServiceRef, Suspicion } from './registry.ts';

/**
 * What is known of one service of a registry, and who is told of it: the sinks of all pools that use the service. A registry's watch hands in what it
 * reads, as it reads it; records are cleaned and filtered by tags here, the very same list is told again where nothing changed, an error only when it is news.
 */
export class ToldService {
  readonly service: ServiceRef;
  readonly #context: RegistryContext;
  readonly #sinks = new Set<RegistrySink>();
  #current: readonly RegistryEndpoint[] | null = null;
  #suspicion: Suspicion | null = null;
  #fingerprint = '';
  #failure: OperationError | null = null;

  constructor(service: ServiceRef, context: RegistryContext) {
    this.service = service;
    this.#context = context;
  }

  /** A further sink: it is told at once what is known. */
  add(sink: RegistrySink): void {
    this.#sinks.add(sink);
    if (this.#current !== null) sink.replace({ endpoints: this.#current, suspicion: this.#suspicion });
    if (this.#failure !== null) sink.unavailable(this.#failure);
  }

  /** Whether nobody is left. */
  remove(sink: RegistrySink): boolean {
    this.#sinks.delete(sink);
    return this.#sinks.size === 0;
  }

  /** The whole truth as the registry tells it. `unreadable`: records that were no endpoints at all. `ifEmptied`: of a set without endpoints after one with some. */
  tell(
    records: readonly RegistryEndpoint[],
    unreadable: number,
    suspicion: Suspicion | null,
    ifEmptied: Suspicion | null = null,
  ): void {
    this.#failure = null;
    const { endpoints, dropped, firstFault } = cleanSet(records.filter(this.#hasTags));
    const isEmptied = endpoints.length === 0 && this.#current !== null && this.#current.length > 0;
    this.#suspicion = suspicion ?? (isEmptied ? ifEmptied : null);
    const print = fingerprint(endpoints);
    if (this.#current === null || print !== this.#fingerprint) {
      this.#fingerprint = print;
      this.#current = endpoints;
      this.#report(dropped + unreadable, firstFault);
    }
    this.#tellAll();
  }

  /** What was told last still holds. Nothing happens before the first `tell`, and while the registry fails. */
  confirm(): void {
    if (this.#current === null || this.#failure !== null) return;
    this.#suspicion = null;
    this.#tellAll();
  }

  /** The registry cannot be asked: what was told stays. */
  fail(error: OperationError): void {
    const isNews = this.#failure?.code !== error.code || this.#failure.message !== error.message;
    this.#failure = error;
    if (isNews) for (const sink of [...this.#sinks]) sink.unavailable(error);
  }

  /** Nobody is told of anything any more. */
  close(): void {
    this.#sinks.clear();
  }

  #tellAll(): void {
    const set = { endpoints: this.#current!, suspicion: this.#suspicion };
    for (const sink of [...this.#sinks]) sink.replace(set);
  }

  readonly #hasTags = ({ tags }: RegistryEndpoint): boolean => this.service.tags.every((tag) => tags.includes(tag));

  #report(leftOut: number, firstFault: string | null): void {
    if (leftOut === 0) return;
    this.#context.log('warn', 'records of the registry left out', {
      registry: this.#context.name,
      service: this.service.name,
      leftOut,
      firstFault: firstFault ?? 'a record is no service',
    });
  }
}
