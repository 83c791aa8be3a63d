import { z } from 'zod';
import type { Kind } from '../base/catalog.ts';
import { OperationError } from '../base/errors.ts';
import { type KubernetesAccess, kubernetesAccess } from './kubernetes-access.ts';
import { KubernetesApi } from './kubernetes-api.ts';
import { type KubernetesName, KubernetesSlices, parseKubernetesName } from './kubernetes-slices.ts';
import { KubernetesWatch } from './kubernetes-watch.ts';
import type {
  Registry,
  RegistryContext,
  RegistryEndpoint,
  RegistrySink,
  ServiceRef,
  Subscription,
} from './registry.ts';
import { ServiceBoard } from './service-board.ts';

const options = z.object({
  kubeconfig: z
    .string()
    .describe('file with the server and the credentials; by default those of the pod this runs in')
    .prefault(''),
  context: z.string().describe('of the kubeconfig; empty for its current-context').prefault(''),
  server: z
    .string()
    .refine((text) => text === '' || /^https?:$/.test(URL.parse(text)?.protocol ?? ''), {
      error: 'write it as https://kubernetes.internal:6443',
    })
    .describe('address of an API server or of `kubectl proxy`, where there is no kubeconfig')
    .prefault(''),
  token: z.string().describe('for `server`').prefault(''),
  namespace: z
    .string()
    .describe("of services named without one; empty for the kubeconfig's or the pod's own")
    .prefault(''),
  serviceAccount: z
    .string()
    .describe('directory with the token, ca.crt and namespace of a pod')
    .prefault('/var/run/secrets/kubernetes.io/serviceaccount'),
});

export type KubernetesOptions = z.infer<typeof options>;

/** One namespace: its slices and what keeps them up to date. */
interface Namespace {
  readonly slices: KubernetesSlices;
  readonly watch: KubernetesWatch;
  /** A list has come in. */
  isKnown: boolean;
  /** Why it cannot be asked; null when it can. */
  failure: OperationError | null;
}

/**
 * Reads the EndpointSlices of Kubernetes: one list and one watch for each namespace that a pool asks of, over one connection each. A service is
 * `namespace/service:port`.
 */
export class KubernetesRegistry implements Registry {
  readonly #options: KubernetesOptions;
  readonly #context: RegistryContext;
  readonly #environment: Readonly<Record<string, string | undefined>>;
  readonly #board: ServiceBoard;
  readonly #namespaces = new Map<string, Namespace>();
  #access: KubernetesAccess | null = null;
  #api: KubernetesApi | null = null;
  #closed = false;

  constructor(options: KubernetesOptions, context: RegistryContext, environment = process.env) {
    this.#options = options;
    this.#context = context;
    this.#environment = environment;
    this.#board = new ServiceBoard((service) => this.#look(service), context);
  }

  /** Rejects when there are no credentials, or none that are supported. */
  async start(): Promise<void> {
    const access = await kubernetesAccess({
      ...this.#options,
      environment: this.#environment,
      clock: this.#context.clock,
    });
    if (this.#closed) return;
    this.#access = access;
    this.#api = new KubernetesApi(access);
    for (const service of this.#board.services) this.#want(service);
  }

  subscribe(service: ServiceRef, sink: RegistrySink): Subscription {
    const refresh = () => this.#namespaces.get(this.#nameOf(service)?.namespace ?? '')?.watch.refresh();
    const subscription = this.#board.subscribe(service, sink, refresh, () => this.#drop());
    if (this.#api !== null) this.#want(service);
    return subscription;
  }

  async close(): Promise<void> {
    this.#closed = true;
    this.#board.close();
    for (const { watch } of this.#namespaces.values()) watch.close();
    this.#namespaces.clear();
    await this.#api?.close();
  }

  #nameOf({ name }: ServiceRef): KubernetesName | null {
    const parsed = parseKubernetesName(name);
    return parsed === null ? null : { ...parsed, namespace: parsed.namespace || (this.#access?.namespace ?? '') };
  }

  #want(service: ServiceRef): void {
    if (this.#closed) return;
    const name = this.#nameOf(service);
    if (name === null) {
      const message = `"${service.name}" is no service of Kubernetes; write it as namespace/service:port`;
      return this.#board.fail(new OperationError('registry-service', message), (other) => other.name === service.name);
    }
    const known = this.#namespaces.get(name.namespace);
    const isThis = (other: ServiceRef) => other === service;
    if (known === undefined) this.#watch(name.namespace);
    else if (known.failure !== null) this.#board.fail(known.failure, isThis);
    else if (known.isKnown) this.#board.tell(isThis);
  }

  #watch(namespace: string): void {
    const slices = new KubernetesSlices();
    const { clock, random, log, name } = this.#context;
    const isOurs = (service: ServiceRef) => this.#nameOf(service)?.namespace === namespace;
    const watch = new KubernetesWatch({
      namespace,
      api: this.#api!,
      slices,
      clock,
      random,
      onTold: (services) => {
        one.isKnown = true;
        one.failure = null;
        this.#board.tell(isOurs, (service) => services === null || services.has(this.#nameOf(service)!.service));
      },
      onFailed: (error) => {
        one.failure = error;
        this.#board.fail(error, isOurs);
      },
      onUnreadable: (leftOut) =>
        log('warn', 'records of the registry left out', { registry: name, namespace, leftOut }),
    });
    const one: Namespace = { slices, watch, isKnown: false, failure: null };
    this.#namespaces.set(namespace, one);
    watch.start();
  }

  /** Namespaces nobody asks of any more. */
  #drop(): void {
    const wanted = new Set(this.#board.services.map((service) => this.#nameOf(service)?.namespace));
    for (const [namespace, { watch }] of this.#namespaces) {
      if (wanted.has(namespace)) continue;
      watch.close();
      this.#namespaces.delete(namespace);
    }
  }

  #look(service: ServiceRef): RegistryEndpoint[] {
    const name = this.#nameOf(service)!;
    return this.#namespaces.get(name.namespace)!.slices.endpointsOf(name);
  }
}

export const kubernetesRegistry: Kind<Registry, RegistryContext> = {
  kind: 'kubernetes',
  summary: 'services in Kubernetes, by a watch of their EndpointSlices',
  options,
  create: (settings: KubernetesOptions, context) => new KubernetesRegistry(settings, context),
};
