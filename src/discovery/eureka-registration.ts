import { Backoff } from '../base/backoff.ts';
import { OperationError } from '../base/errors.ts';
import type { Answered, HttpAsker } from '../stores/http-asker.ts';
import type { Registered, Registration, RegistryContext } from './registry.ts';

/**
 * Keeps one service of ours registered with Eureka: heartbeats three times a TTL, and registers anew when the server does not know it any more.
 * Made by EurekaRegistry.register. A service that never says goodbye is dropped after two TTLs, if the server does not preserve itself.
 */
export class EurekaRegistration implements Registered {
  readonly #self: Registration;
  readonly #asker: HttpAsker;
  readonly #context: RegistryContext;
  readonly #backoff: Backoff;
  readonly #app: string;
  readonly #path: string;
  #timer: NodeJS.Timeout | null = null;
  #closed = false;
  #isRegistered = false;
  #failure = '';

  constructor(self: Registration, asker: HttpAsker, context: RegistryContext) {
    this.#self = self;
    this.#asker = asker;
    this.#context = context;
    this.#backoff = new Backoff(250, Math.max(1000, self.ttlMs / 3), context.random);
    this.#app = self.service.toUpperCase();
    this.#path = `/apps/${encodeURIComponent(this.#app)}`;
  }

  /** Registers. Rejects when the registry refuses; when it cannot be reached, goes on trying and resolves. */
  async start(): Promise<void> {
    try {
      await this.#register();
      this.#schedule(this.#self.ttlMs / 3);
    } catch (error) {
      const failure = error as OperationError;
      if (!failure.retryable) throw failure;
      this.#complain(failure);
      this.#schedule(this.#backoff.next());
    }
  }

  async deregister(): Promise<void> {
    this.stop();
    const answered = await this.#send('DELETE', this.#instancePath);
    if (answered.status >= 300 && answered.status !== 404) throw this.#refusal(answered, 'deregister');
  }

  /** No further heartbeat; the service stays registered until its lease is over. */
  stop(): void {
    this.#closed = true;
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = null;
  }

  #schedule(ms: number): void {
    if (!this.#closed) this.#timer = setTimeout(this.#beat, ms);
  }

  readonly #beat = async (): Promise<void> => {
    try {
      if (!this.#isRegistered || !(await this.#renew())) await this.#register();
      this.#failure = '';
      this.#backoff.reset();
      this.#schedule(this.#self.ttlMs / 3);
    } catch (error) {
      this.#complain(error as OperationError);
      this.#schedule(this.#backoff.next());
    }
  };

  async #register(): Promise<void> {
    this.#isRegistered = false;
    const body = JSON.stringify({ instance: instanceOf(this.#self, this.#app, this.#id) });
    const answered = await this.#send('POST', this.#path, body);
    if (answered.status >= 300) throw this.#refusal(answered, 'register');
    this.#isRegistered = true;
  }

  /** Whether the server still knows us. */
  async #renew(): Promise<boolean> {
    const answered = await this.#send('PUT', this.#instancePath);
    if (answered.status === 404) return false;
    if (answered.status >= 300) throw this.#refusal(answered, 'take a heartbeat for');
    return true;
  }

  #send(method: 'POST' | 'PUT' | 'DELETE', path: string, body?: string): Promise<Answered> {
    return this.#asker.ask({ method, path, body, timeoutMs: 5000 });
  }

  /** A slash in a path's segment is refused by the server's front, encoded or not. */
  get #id(): string {
    return this.#self.id.replaceAll('/', ':');
  }

  get #instancePath(): string {
    return `${this.#path}/${encodeURIComponent(this.#id)}`;
  }

  #refusal({ status, body }: Answered, act: string): OperationError {
    const why = `${status}: ${body.toString('utf8', 0, 200).trim()}`;
    const code = status === 401 || status === 403 ? 'registry-denied' : 'registry-error';
    return new OperationError(code, `Eureka refuses to ${act} ${this.#self.id} (${why})`, {
      retryable: status === 429 || status >= 500,
    });
  }

  #complain(error: OperationError): void {
    if (this.#closed || error.message === this.#failure) return;
    this.#failure = error.message;
    const { service, id } = this.#self;
    this.#context.log('warn', 'the registration is not kept up; trying again', { service, id, error: error.message });
  }
}

function instanceOf(self: Registration, app: string, instanceId: string): unknown {
  const { host, port, weight, tags, metadata, ttlMs, service } = self;
  const seconds = (ms: number) => Math.max(1, Math.ceil(ms / 1000));
  return {
    instanceId,
    app,
    hostName: host,
    ipAddr: host,
    status: 'UP',
    port: { $: port, '@enabled': 'true' },
    securePort: { $: 443, '@enabled': 'false' },
    vipAddress: service,
    secureVipAddress: service,
    dataCenterInfo: { '@class': 'com.netflix.appinfo.InstanceInfo$DefaultDataCenterInfo', name: 'MyOwn' },
    leaseInfo: { renewalIntervalInSecs: seconds(ttlMs / 3), durationInSecs: seconds(ttlMs) },
    metadata: { ...(tags.length === 0 ? {} : { tags: tags.join(',') }), ...metadata, weight: String(weight) },
    // Without it a server keeps what was registered before under the same name if that looks younger.
    lastDirtyTimestamp: String(Date.now()),
  };
}
