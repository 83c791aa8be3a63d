import type { Running } from './running.ts';

/** What the proxies of one case are started with. */
export interface Setting {
  /** A folder of this peer's own; removed afterwards. */
  readonly directory: string;
  /** Ports of the origins, on 127.0.0.1. */
  readonly origins: readonly number[];
  /** Whether a JSON line is written per request, to a file in `directory`. */
  readonly accessLog: boolean;
  /** PEM files to serve TLS with, or null. */
  readonly tls: { readonly cert: string; readonly key: string } | null;
  readonly workers: number;
}

export interface RunningPeer {
  readonly process: Running;
  readonly port: number;
}

/** A proxy that takes part: as many workers as the setting says, connections kept on both sides, X-Forwarded-For, -Proto and -Host added, no access log unless asked for. */
export interface Peer {
  readonly name: string;
  /** Whether it is JavaScript, which becomes fast only after some ten thousand requests. */
  readonly warmsUp: boolean;
  readonly version: () => string;
  /** Why it cannot take part under this setting, or null. */
  readonly missing: (setting: Setting) => string | null;
  readonly start: (setting: Setting) => Promise<RunningPeer>;
}
