import { type ConnectionOptions, connect } from 'node:tls';
import { z } from 'zod';
import type { Kind } from '../base/catalog.ts';
import type { Probe, ProbeTarget } from './probe.ts';
import type { ProbeContext } from './probe-context.ts';
import { probeFailure } from './probe-failure.ts';
import { type ProbeTlsOptions, probeTlsOf, probeTlsShape } from './probe-tls.ts';

/** Fit is who comes to a TLS handshake with a certificate that is believed; the connection is closed at once, nothing is sent. */
class TlsProbe implements Probe {
  readonly #port: number | null;
  readonly #secure: (target: ProbeTarget) => ConnectionOptions;

  constructor(port: number | null, secure: (target: ProbeTarget) => ConnectionOptions) {
    this.#port = port;
    this.#secure = secure;
  }

  check(target: ProbeTarget, signal: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      const { host } = target;
      const socket = connect({ ...this.#secure(target), host, port: this.#port ?? target.port });
      const onAbort = () => {
        reject(probeFailure(new Error('aborted'), signal));
        socket.destroy();
      };
      // Stays after the verdict: a socket that is being destroyed may still report an error.
      socket.on('error', (error) => reject(probeFailure(error, signal)));
      socket.once('close', () => {
        signal.removeEventListener('abort', onAbort);
        reject(probeFailure(new Error('closed during the handshake'), signal));
      });
      socket.once('secureConnect', () => {
        resolve();
        socket.destroy();
      });
      if (signal.aborted) onAbort();
      else signal.addEventListener('abort', onAbort, { once: true });
    });
  }
}

export const tls: Kind<Probe, ProbeContext> = {
  kind: 'tls',
  summary: 'a TLS handshake whose certificate is checked; nothing is sent',
  options: z.object({
    port: z.int().min(1).max(65_535).optional().describe("checks this port; default: the endpoint's own"),
    ...probeTlsShape,
  }),
  create: (settings: ProbeTlsOptions & { readonly port?: number }, context) =>
    new TlsProbe(settings.port ?? null, probeTlsOf(settings, context.tls)),
};
