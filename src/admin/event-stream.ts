import type { ServerResponse } from 'node:http';
import type { EventLog, PublishedEvent } from '../telemetry/event-log.ts';

/** Listeners at a time; more are turned away. */
const MAX_CLIENTS = 64;
/** Bytes that may wait for a slow reader; one that lags further is cut off and comes back with its Last-Event-ID. */
const MAX_WAITING_BYTES = 256 * 1024;
const HEARTBEAT_MS = 15_000;

/** `GET /api/v1/events`: server-sent events, one per published event, the JSON of the event as data. */
export class EventStream {
  readonly #events: EventLog;
  readonly #heartbeatMs: number;
  readonly #clients = new Set<ServerResponse>();
  #unlisten: (() => void) | null = null;
  #heartbeat: NodeJS.Timeout | null = null;

  constructor(events: EventLog, heartbeatMs = HEARTBEAT_MS) {
    this.#events = events;
    this.#heartbeatMs = heartbeatMs;
  }

  get size(): number {
    return this.#clients.size;
  }

  get isFull(): boolean {
    return this.#clients.size >= MAX_CLIENTS;
  }

  start(): void {
    this.#unlisten = this.#events.listen((event) => this.#send(eventText(event)));
    this.#heartbeat = setInterval(() => this.#send(': beat\n\n'), this.#heartbeatMs);
    this.#heartbeat.unref();
  }

  /** Answers with the stream: first the kept events after number `after`, then each as it comes. `headers` are the common ones. */
  open(response: ServerResponse, headers: Readonly<Record<string, string>>, after: number): void {
    response.writeHead(200, { ...headers, 'content-type': 'text/event-stream; charset=utf-8' });
    response.on('close', () => this.#clients.delete(response));
    response.on('error', () => response.destroy());
    this.#clients.add(response);
    response.write(`retry: 2000\n\n${this.#events.since(after).map(eventText).join('')}`);
  }

  /** Ends every stream. */
  close(): void {
    this.#unlisten?.();
    if (this.#heartbeat !== null) clearInterval(this.#heartbeat);
    for (const client of this.#clients) client.end();
    this.#clients.clear();
  }

  #send(text: string): void {
    for (const client of this.#clients) {
      if (client.writableLength > MAX_WAITING_BYTES) client.destroy();
      else client.write(text);
    }
  }
}

function eventText(event: PublishedEvent): string {
  return `id: ${event.id}\ndata: ${JSON.stringify(event)}\n\n`;
}
