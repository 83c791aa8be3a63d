import { Catalog } from '../base/catalog.ts';
import { http } from './http.ts';
import { https } from './https.ts';
import type { Probe } from './probe.ts';
import type { ProbeContext } from './probe-context.ts';
import { withProbeOptions } from './probe-options.ts';
import { tcp } from './tcp.ts';
import { tls } from './tls.ts';

/** Every kind of probe, each with the common options (interval, timeout, rise, fall). */
export const probes = new Catalog<Probe, ProbeContext>('probe', [http, https, tcp, tls].map(withProbeOptions));
