import { type RawClient, rawClient, request } from './raw-client.ts';

export interface CrowdOptions {
  readonly clients: number;
  /** Between two requests of a client. */
  readonly everyMs: number;
  /** Asked for in turn. */
  readonly paths: readonly string[];
}

/** Many clients, each an address and a connection of its own. Whoever starts a crowd stops it. */
export interface Crowd {
  readonly answered: number;
  /** Answers of another status than 200. */
  readonly failures: number;
  /** Clients that have seen at least one of those. */
  readonly unlucky: number;
  /** A line for each request without an answer. */
  readonly lost: readonly string[];
  /** Lets each client finish its request. */
  stop(): Promise<void>;
}

/** The clients spread over the ports in turn; when it resolves, each has had an answer. */
export async function startCrowd(ports: readonly number[], { clients, everyMs, paths }: CrowdOptions): Promise<Crowd> {
  const unlucky = new Set<number>();
  const lost: string[] = [];
  const ending = new AbortController();
  let [answered, failures] = [0, 0];

  const ask = async (client: RawClient, number: number, path: string) => {
    client.write(request('GET', path, [`X-Client: ${number}`]));
    const { status } = await client.response();
    answered++;
    if (status === 200) return;
    failures++;
    unlucky.add(number);
  };
  const live = async (number: number, begun: () => void) => {
    const localAddress = `127.1.${number >> 8}.${number & 255 || 255}`;
    const client = await rawClient(ports[number % ports.length], { localAddress });
    // Spread over the period, as a crowd's requests are.
    await pause((everyMs * number) / clients, ending.signal);
    try {
      for (let turn = number; !ending.signal.aborted; turn++) {
        await ask(client, number, paths[turn % paths.length]);
        begun();
        await pause(everyMs, ending.signal);
      }
    } catch (error) {
      lost.push(`${number}: ${(error as Error).message}`);
    } finally {
      begun();
      client.socket.destroy();
    }
  };

  const running: Promise<void>[] = [];
  await Promise.all(
    Array.from({ length: clients }, (_, number) => {
      const { promise, resolve } = Promise.withResolvers<void>();
      running.push(live(number, resolve));
      return promise;
    }),
  );
  return {
    get answered() {
      return answered;
    },
    get failures() {
      return failures;
    },
    get unlucky() {
      return unlucky.size;
    },
    lost,
    async stop() {
      ending.abort();
      await Promise.all(running);
    },
  };
}

function pause(ms: number, signal: AbortSignal): Promise<void> {
  if (signal.aborted) return Promise.resolve();
  const { promise, resolve } = Promise.withResolvers<void>();
  const timer = setTimeout(resolve, ms);
  signal.addEventListener('abort', () => resolve(), { once: true });
  return promise.finally(() => clearTimeout(timer));
}
