import { get, type RequestShape } from '../rig/load/shape.ts';

/** What one case asks of every peer. The proxies know nothing of HTTP: it is what load and origins of TCP speak to each other. */
export interface L4Case {
  readonly name: string;
  readonly title: string;
  /** `closed`: as fast as the connections go. `idle`: connections that do nothing. */
  readonly kind: 'closed' | 'idle';
  readonly protocol: 'tcp' | 'udp';
  /** What CPU time is taken per. */
  readonly unit: 'exchange' | 'MiB' | 'connection' | 'relay';
  readonly connections: number;
  /** What is asked over TCP; over UDP every datagram has 64 bytes. */
  readonly shape: RequestShape;
  /** The peer that ratios are taken to. */
  readonly baseline: 'haproxy' | 'nginx';
  /** What evenkeel's ratio, or the KiB of an idle relay, may be at most. */
  readonly target: number;
  /** Rounds with `--quick`. */
  readonly quickRounds: number;
}

const base = {
  kind: 'closed',
  protocol: 'tcp',
  unit: 'exchange',
  connections: 32,
  shape: get('/64'),
  baseline: 'haproxy',
  quickRounds: 3,
} as const;

export const cases: readonly L4Case[] = [
  { ...base, name: 'exchange', title: '64-byte exchanges on 32 connections', target: 1.15 },
  { ...base, name: 'bulk', title: 'Transfers of 1 MiB', unit: 'MiB', shape: get('/1m'), target: 1.1 },
  {
    ...base,
    name: 'short',
    title: 'A connection per exchange',
    unit: 'connection',
    shape: get('/64', [['Connection', 'close']]),
    target: 1.3,
  },
  {
    ...base,
    name: 'udp',
    title: '64-byte datagrams and their answers, 64 clients',
    protocol: 'udp',
    connections: 64,
    baseline: 'nginx',
    target: 1.3,
  },
  {
    ...base,
    name: 'idle',
    title: 'Memory of 8000 idle relays',
    kind: 'idle',
    unit: 'relay',
    connections: 8000,
    target: 12,
    quickRounds: 1,
  },
];
