import { schedulers } from '../../src/scheduling/catalog.ts';
import { evenkeelSubject } from './evenkeel-subject.ts';
import { haproxySubject } from './haproxy-subject.ts';
import { nginxSubject } from './nginx-subject.ts';
import type { Subject } from './subject.ts';

/** The algorithm the targets are set for. */
const OURS = 'response-time';
/** The key of a pool that turns hedging on. */
const HEDGING = { hedging: {} };

/** A kind with options that make it comparable: what hashes, hashes what differs between requests. */
const OPTIONS: Readonly<Record<string, object>> = { hash: { on: 'path' } };

/** Everyone who takes part, every algorithm of the catalog among them. */
export const subjects: readonly Subject[] = [
  nginxSubject('round robin'),
  nginxSubject('least_conn'),
  haproxySubject('roundrobin'),
  haproxySubject('leastconn'),
  ...Array.from(schedulers.kinds.keys(), (kind) =>
    evenkeelSubject(kind, { kind, ...OPTIONS[kind] }, kind === OURS ? 'plain' : null),
  ),
  evenkeelSubject(`${OURS} + hedging`, { kind: OURS }, 'hedged', HEDGING),
];
