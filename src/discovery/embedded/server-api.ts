import type { ApiParts } from './agent-services-api.ts';
import { Answer } from './answer.ts';
import type { ApiCall } from './api-call.ts';
import { ApiError } from './api-error.ts';
import { DATACENTER } from './blocking-queries.ts';
import type { NodeSpec } from './registry-state.ts';
import type { Router } from './router.ts';
import { byId } from './views.ts';

/** Consul's version that this registry behaves like; clients read it. */
export const COMPATIBLE_VERSION = '1.8.7';

/** Where Consul's servers would speak among themselves. There is one server, and nothing listens there. */
const RAFT_PORT = 8300;

/** `/v1/status/*`, what an agent says of itself, and a clear no to what this registry does not have. */
export function serveServer(router: Router, parts: ApiParts, host: () => string): void {
  const { state, agents } = parts;
  const leader = () => `${host()}:${RAFT_PORT}`;
  const answer = (call: ApiCall, value: unknown) => call.json(new Answer(value, call.flag('pretty')));

  router.get('/v1/status/leader', (call) => answer(call, leader()));
  router.get('/v1/status/peers', (call) => answer(call, [leader()]));

  router.get('/v1/agent/self', (call) => {
    const own = agents.specOf(call);
    const Config = {
      Datacenter: DATACENTER,
      NodeName: own.name,
      NodeID: own.id,
      Revision: 'evenkeel',
      Server: true,
      Version: COMPATIBLE_VERSION,
    };
    const Stats = {
      agent: { services: String(agents.nodeOf(call)?.services.size ?? 0) },
      consul: { server: 'true', leader: 'true', known_datacenters: '1' },
    };
    answer(call, { Config, Coord: null, Member: memberView(own), Stats, Meta: own.meta });
  });

  router.get('/v1/agent/members', (call) => {
    const own = agents.specOf(call);
    const others = byId(state.nodes).filter((node) => node.ofRegistrant && node.name !== own.name);
    answer(call, [own, ...others].map(memberView));
  });

  router.get('/v1/coordinate/nodes', (call) => answer(call, []));

  router.any('/v1/acl/', () => {
    throw new ApiError(401, 'ACL support disabled');
  });
}

function memberView(node: NodeSpec): Record<string, unknown> {
  const Tags = {
    acls: '0',
    build: `${COMPATIBLE_VERSION}:`,
    dc: DATACENTER,
    id: node.id,
    port: String(RAFT_PORT),
    role: 'consul',
    segment: '',
    vsn: '2',
    vsn_max: '3',
    vsn_min: '2',
  };
  const versions = { ProtocolMin: 1, ProtocolMax: 5, ProtocolCur: 2, DelegateMin: 2, DelegateMax: 5, DelegateCur: 4 };
  return { Name: node.name, Addr: node.address, Port: 8301, Tags, Status: 1, ...versions };
}
