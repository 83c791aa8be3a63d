/** What applications do to a registry that speaks Consul's API, by plain HTTP. Every act is done when its promise resolves. */
export class ConsulApp {
  readonly #address: string;
  readonly #token: string;

  constructor(address: string, token = '') {
    this.#address = address;
    this.#token = token;
  }

  /** Registers a service with a TTL check that passes. `more` goes into the body as it is. */
  register(name: string, port: number, more: Record<string, unknown> = {}): Promise<void> {
    const check = { CheckID: `service:${name}-${port}`, TTL: '60s', Status: 'passing' };
    const body = { ID: `${name}-${port}`, Name: name, Address: '127.0.0.1', Port: port, Check: check, ...more };
    return this.put('/v1/agent/service/register', body);
  }

  deregister(name: string, port: number): Promise<void> {
    return this.put(`/v1/agent/service/deregister/${name}-${port}`);
  }

  /** pass, warn or fail */
  check(name: string, port: number, verdict: string): Promise<void> {
    return this.put(`/v1/agent/check/${verdict}/service:${name}-${port}`);
  }

  maintenance(name: string, port: number, isOn: boolean): Promise<void> {
    return this.put(`/v1/agent/service/maintenance/${name}-${port}?enable=${isOn}`);
  }

  async put(path: string, body?: unknown): Promise<void> {
    const answer = await this.ask('PUT', path, body);
    if (answer.status !== 200) throw new Error(`${path}: ${answer.status} ${await answer.text()}`);
    await answer.arrayBuffer();
  }

  ask(method: string, path: string, body?: unknown): Promise<Response> {
    return fetch(this.#address + path, {
      method,
      headers: this.#token === '' ? {} : { 'x-consul-token': this.#token },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
  }
}
