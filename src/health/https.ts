import type { Kind } from '../base/catalog.ts';
import { HttpProbe, type HttpProbeOptions, httpProbeOptions } from './http.ts';
import type { Probe } from './probe.ts';
import type { ProbeContext } from './probe-context.ts';
import { type ProbeTlsOptions, probeTlsOf, probeTlsShape } from './probe-tls.ts';

export const https: Kind<Probe, ProbeContext> = {
  kind: 'https',
  summary: 'the same over TLS, whatever the pool speaks; the certificate is checked',
  options: httpProbeOptions.extend(probeTlsShape),
  create: (settings: HttpProbeOptions & ProbeTlsOptions, { tls }) => new HttpProbe(settings, probeTlsOf(settings, tls)),
};
