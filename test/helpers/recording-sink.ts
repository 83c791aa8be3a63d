import type { OperationError } from '../../src/base/errors.ts';
import type { RegistryEndpoint, RegistrySet, RegistrySink } from '../../src/discovery/registry.ts';

/** A sink that keeps what it is told. */
export class RecordingSink implements RegistrySink {
  readonly sets: RegistrySet[] = [];
  readonly errors: OperationError[] = [];

  replace(set: RegistrySet): void {
    this.sets.push(set);
  }

  unavailable(error: OperationError): void {
    this.errors.push(error);
  }

  get last(): RegistrySet | undefined {
    return this.sets.at(-1);
  }

  /** `port status weight` of every endpoint told last. */
  get told(): string[] {
    return (this.last?.endpoints ?? []).map(({ port, status, weight }) => `${port} ${status} ${weight}`);
  }

  endpoint(port: number): RegistryEndpoint | undefined {
    return this.last?.endpoints.find((endpoint) => endpoint.port === port);
  }
}
