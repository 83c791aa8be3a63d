import type Consul from 'consul';
import { OperationError } from '../base/errors.ts';
import { formatHostPort } from '../base/literals.ts';
import type { ConsulTransport } from './consul-transport.ts';
import { Heartbeat } from './heartbeat.ts';
import type { Registered, Registration, RegistryContext } from './registry.ts';

/** The least Consul accepts; it looks every 30 s. A service that never says goodbye is gone after some two minutes. */
const DEREGISTER_AFTER_MS = 60_000;

/**
 * Keeps one service of ours registered: registers it, sends heartbeats three times a TTL, and registers anew when the registry does not
 * know it any more (it lost its data, or somebody removed it). Made by ConsulRegistry.register.
 *
 * Heartbeats and the goodbye go through npm's `consul`. Registering does not: its `agent.service.register` silently drops `Weights`, so that body is
 * put by our own transport, as is every query (its watch stops for ever at the first odd answer, and takes a socket for each).
 */
export class ConsulRegistration implements Registered {
  readonly #self: Registration;
  readonly #transport: ConsulTransport;
  readonly #consul: Consul;
  readonly #heartbeat: Heartbeat;
  readonly #onLeave: () => void;
  #isRegistered = false;

  constructor(
    self: Registration,
    transport: ConsulTransport,
    consul: Consul,
    context: RegistryContext,
    onLeave: () => void,
  ) {
    this.#self = self;
    this.#transport = transport;
    this.#consul = consul;
    this.#onLeave = onLeave;
    const { service, id, ttlMs } = self;
    this.#heartbeat = new Heartbeat({
      beat: () => (this.#isRegistered ? this.#pass() : this.#register()),
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
    const { id } = this.#self;
    try {
      await this.#consul.agent.service.deregister(id);
    } catch (error) {
      const failure = toOperationError(error, `deregister ${id}`);
      // Newer servers answer 404 where older ones answer 200: it is gone either way.
      if (failure.code !== 'registry-unknown') throw failure;
    }
  }

  /** Sends nothing any more; the service stays registered until its TTL is over, or for whoever registered it anew. */
  release(): void {
    void this.#heartbeat.stop();
    this.#onLeave();
  }

  async #register(): Promise<void> {
    const body = JSON.stringify(registrationBody(this.#self));
    const { status, body: answer } = await this.#transport.request({
      method: 'PUT',
      path: '/v1/agent/service/register',
      body,
      lane: 0,
      timeoutMs: 5000,
      signal: AbortSignal.timeout(10_000),
    });
    if (status !== 200) throw refusal(status, answer.toString('utf8', 0, 200), `register ${this.#self.id}`);
    this.#isRegistered = true;
    // Registering again does not revive a check that has turned critical.
    if (!this.#heartbeat.isStopped) await this.#pass();
  }

  async #pass(): Promise<void> {
    const { id } = this.#self;
    try {
      await this.#consul.agent.check.pass(`service:${id}`);
    } catch (error) {
      const failure = toOperationError(error, `take a heartbeat for ${id}`);
      // Since 1.11 Consul answers 404 for a check it does not know, before that 500.
      if (failure.code === 'registry-unknown' || failure.code === 'registry-error') this.#isRegistered = false;
      throw failure;
    }
  }
}

function registrationBody(self: Registration): unknown {
  // Consul's weights are whole and at least 1; the exact one travels as metadata, which our own reader prefers.
  const isWhole = Number.isInteger(self.weight) && self.weight >= 1;
  return {
    ID: self.id,
    Name: self.service,
    Address: self.host,
    Port: self.port,
    Tags: self.tags,
    Meta: isWhole ? self.metadata : { ...self.metadata, weight: String(self.weight) },
    Weights: { Passing: Math.max(1, Math.round(self.weight)), Warning: 1 },
    Check: {
      CheckID: `service:${self.id}`,
      Name: `heartbeat of ${formatHostPort(self.host, self.port)}`,
      TTL: `${Math.ceil(self.ttlMs)}ms`,
      Status: 'passing',
      DeregisterCriticalServiceAfter: `${Math.max(DEREGISTER_AFTER_MS, Math.ceil(self.ttlMs) * 10)}ms`,
    },
  };
}

/** What npm's `consul` rejects with: an answer that is no success, or a connection that failed. */
function toOperationError(error: unknown, act: string): OperationError {
  const { message, response } = error as { message: string; response?: { statusCode: number; body?: unknown } };
  if (response !== undefined) return refusal(response.statusCode, String(response.body ?? ''), act);
  const text = `Consul could not be asked to ${act}: ${message}`;
  return new OperationError('registry-unreachable', text, { retryable: true, cause: error });
}

function refusal(status: number, reason: string, act: string): OperationError {
  const codes: Readonly<Record<number, string>> = {
    401: 'registry-denied',
    403: 'registry-denied',
    404: 'registry-unknown',
  };
  return new OperationError(
    codes[status] ?? 'registry-error',
    `Consul refuses to ${act} (${status}: ${reason.trim()})`,
    {
      retryable: status === 404 || status === 429 || status >= 500,
    },
  );
}
