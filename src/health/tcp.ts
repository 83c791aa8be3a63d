import { connect } from 'node:net';
import { z } from 'zod';
import type { Kind } from '../base/catalog.ts';
import { OperationError } from '../base/errors.ts';
import type { Probe, ProbeTarget } from './probe.ts';
import type { ProbeContext } from './probe-context.ts';
import { probeFailure } from './probe-failure.ts';
import { isConnectedToItself } from './self-connection.ts';

interface TcpProbeOptions {
  readonly port?: number;
}

/** Fit is who accepts a connection; it is closed at once, nothing is sent. */
class TcpProbe implements Probe {
  readonly #options: TcpProbeOptions;

  constructor(options: TcpProbeOptions) {
    this.#options = options;
  }

  check(target: ProbeTarget, signal: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      const port = this.#options.port ?? target.port;
      const socket = connect({ host: target.host, port, signal });
      // Stays after the verdict: a socket that is being destroyed may still report an error.
      socket.on('error', (error) => reject(probeFailure(error, signal)));
      socket.once('connect', () => {
        const toItself = isConnectedToItself(socket);
        socket.destroy();
        if (toItself) reject(new OperationError('PROBE_FAILED', 'nothing listens there'));
        else resolve();
      });
    });
  }
}

export const tcp: Kind<Probe, ProbeContext> = {
  kind: 'tcp',
  summary: 'connects and closes; nothing is sent',
  options: z.object({
    port: z.int().min(1).max(65_535).optional().describe("checks this port; default: the endpoint's own"),
  }),
  create: (options: TcpProbeOptions) => new TcpProbe(options),
};
