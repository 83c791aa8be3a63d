import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { Core } from '../../rig/machine.ts';
import type { Peer, Setting } from '../../rig/peer.ts';
import { freePorts, Running } from '../../rig/running.ts';

/** The ways of Node that people use today. Each is skipped by name when its package is not installed. */
export const nodePeers: readonly Peer[] = [
  nodePeer('undici', 'undici', 'undici-proxy'),
  nodePeer('node:http', null, 'node-http-proxy'),
  nodePeer('http-proxy-3', 'http-proxy-3', 'http-proxy-3-proxy'),
  nodePeer('reply-from', '@fastify/reply-from', 'reply-from-proxy'),
];

function nodePeer(name: string, dependency: string | null, entry: string): Peer {
  return {
    name,
    warmsUp: true,
    version: () => (dependency === null ? process.version.slice(1) : installedVersion(dependency)),
    missing: ({ accessLog, tls, workers }: Setting) => {
      if (dependency !== null && !isInstalled(dependency)) return `the package ${dependency} is not installed`;
      if (accessLog) return `${name} has no access log`;
      if (workers > 1) return `${name} takes part with one worker only`;
      return tls === null ? null : `${name} takes part without TLS only`;
    },
    start: async ({ origins }) => {
      const [port] = await freePorts(1);
      const file = new URL(`../node-proxies/${entry}.ts`, import.meta.url).pathname;
      const command = [process.execPath, file, String(port), ...origins.map(String)];
      const running = Running.start(Core.PROXY, command);
      await running.serves(port);
      return { process: running, port };
    },
  };
}

function isInstalled(dependency: string): boolean {
  try {
    import.meta.resolve(dependency);
    return true;
  } catch {
    return false;
  }
}

function installedVersion(dependency: string): string {
  for (const folder of createRequire(import.meta.url).resolve.paths(dependency) ?? []) {
    try {
      return JSON.parse(readFileSync(`${folder}/${dependency}/package.json`, 'utf8')).version;
    } catch {
      // The next folder.
    }
  }
  return 'unknown';
}
