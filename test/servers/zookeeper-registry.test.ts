import { requireServer } from '../helpers/require-server.ts';
import { describeRegistry } from './registry-suite.ts';
import { findZookeeper } from './zookeeper.ts';
import { APP_SESSION_MS, zookeeperWorld } from './zookeeper-world.ts';

const skip = requireServer('zookeeper', findZookeeper());

describeRegistry({ kind: 'zookeeper', skip, expiryMs: APP_SESSION_MS + 500, start: zookeeperWorld });
