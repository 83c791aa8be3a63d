import { OperationError } from '../base/errors.ts';
import type { Answered, HttpAsker } from '../stores/http-asker.ts';
import { Heartbeat } from './heartbeat.ts';
import type { Registered, Registration, RegistryContext } from './registry.ts';

/**
 * Keeps one service of ours registered with Eureka: heartbeats three times a TTL, and registers anew when the server does not know it any more.
 * Made by EurekaRegistry.register. A service that never says goodbye is dropped after two TTLs, if the server does not preserve itself.
 */
export class EurekaRegistration implements Registered {
  readonly #self: Registration;
  readonly #asker: HttpAsker;
  readonly #heartbeat: Heartbeat;
  readonly #onLeave: () => void;
  readonly #app: string;
  readonly #path: string;
  #isRegistered = false;

  constructor(self: Registration, asker: HttpAsker, context: RegistryContext, onLeave: () => void) {
    this.#self = self;
    this.#asker = asker;
    this.#onLeave = onLeave;
    const { service, id, ttlMs } = self;
    this.#app = service.toUpperCase();
    this.#path = `/apps/${encodeURIComponent(this.#app)}`;
    this.#heartbeat = new Heartbeat({
      beat: async () => {
        const isKnown = this.#isRegistered && (await this.#renew());
        if (!isKnown && !this.#heartbeat.isStopped) await this.#register();
      },
      intervalMs: ttlMs / 3,
      retryMaxMs: Math.max(1000, ttlMs / 3),
      context,
      fields: { service, id },
    });
  }

  /** Registers. Rejects when the registry refuses; when it cannot be reached, goes on trying and resolves. */
  start(): Promise<void> {
    return this.#heartbeat.start();
  }

  async deregister(): Promise<void> {
    this.release();
    await this.#heartbeat.stop();
    const answered = await this.#send('DELETE', this.#instancePath);
    if (answered.status >= 300 && answered.status !== 404) throw this.#refusal(answered, 'deregister');
  }

  /** No further heartbeat; the service stays registered until its lease is over, or for whoever registered it anew. */
  release(): void {
    void this.#heartbeat.stop();
    this.#onLeave();
  }

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
