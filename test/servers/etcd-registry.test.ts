import { requireServer } from '../helpers/require-server.ts';
import { findEtcd } from './etcd.ts';
import { etcdWorld, LEASE_S } from './etcd-world.ts';
import { describeRegistry } from './registry-suite.ts';

const skip = requireServer('etcd', findEtcd());

describeRegistry({ kind: 'etcd', skip, expiryMs: LEASE_S * 1000 + 1500, start: etcdWorld });
