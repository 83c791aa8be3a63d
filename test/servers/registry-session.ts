/** One request of the conformance session. */
export interface SessionStep {
  readonly request: string;
  readonly body?: unknown;
  /**
   * Where the embedded registry answers otherwise than Consul 1.8.7 on purpose: why, and the status and text of both. Without it every
   * difference is a failure.
   */
  readonly deviates?: {
    readonly why: string;
    readonly consul: readonly [status: number, text: RegExp];
    readonly embedded: readonly [status: number, text: RegExp];
  };
}

const REGISTER = 'PUT /v1/agent/service/register';
const CHECK = 'PUT /v1/agent/check/register';
const CATALOG = 'PUT /v1/catalog/register';
const LEAVE = 'PUT /v1/catalog/deregister';

const unknownCheck = (consul: readonly [number, RegExp]) => ({
  why: 'follows Consul 1.11 and later, which tell an unknown check from one of another kind',
  consul,
  embedded: [404, /^Unknown check ID "[^"]*"\. Ensure that the check ID is passed, not the check name\.$/] as const,
});
const decodeText = (consul: RegExp, embedded: RegExp) => ({
  why: 'says what is wrong in its own words instead of those of Go',
  consul: [400, consul] as const,
  embedded: [400, embedded] as const,
});
const filterStatus = (text: RegExp) => ({
  why: 'a wrong filter is the fault of the client: 400, as later versions of Consul have it',
  consul: [500, text] as const,
  embedded: [400, text] as const,
});
const health = (name: string, filter: string) => `GET /v1/health/service/${name}?filter=${encodeURIComponent(filter)}`;

/** Replayed in this order against both servers. Reads after agents' writes are repeated until the agent has told the catalog. */
export const session: readonly SessionStep[] = [
  // Registering.
  {
    request: REGISTER,
    body: {
      ID: 'web-1',
      Name: 'web',
      Tags: ['v1', 'zone=a'],
      Address: '127.0.0.1',
      Port: 22901,
      Meta: { version: '1.2.3', weight: '5' },
      Weights: { Passing: 5, Warning: 1 },
      Check: { TTL: '5m', Status: 'passing', DeregisterCriticalServiceAfter: '90m' },
    },
  },
  {
    request: REGISTER,
    body: {
      ID: 'web-2',
      Name: 'web',
      Tags: ['v2'],
      Address: '::1',
      Port: 22902,
      Check: null,
      Checks: [
        { TTL: '5m' },
        { CheckID: 'mine', Name: 'my', TTL: '5m', Notes: 'nn', Status: 'warning' },
        { TTL: '1h' },
      ],
    },
  },
  { request: REGISTER, body: { Name: 'noport' } },
  { request: REGISTER, body: { ID: 'x' } },
  { request: REGISTER, body: { Name: 'under_score.dot', Port: 99999, Weights: { Passing: 5 } } },
  {
    request: REGISTER,
    body: { Name: 'tagged', Address: '127.0.0.1', Port: 5, TaggedAddresses: { wan: { address: '1.2.3.5', port: 7 } } },
  },
  { request: REGISTER, body: { Name: 'named', Address: 'example', Port: 5, EnableTagOverride: true } },
  { request: REGISTER, body: { name: 'lower', tags: ['t'], check: { ttl: 5_000_000_000_000, status: 'passing' } } },
  {
    request: REGISTER,
    body: {
      Name: 'snake',
      enable_tag_override: true,
      tagged_addresses: { lan: { Address: '1.2.3.4', Port: 80 } },
      Check: { TTL: '5m', deregister_critical_service_after: '90m' },
    },
  },
  { request: REGISTER, body: { Name: 'no', Address: '0.0.0.0', Port: 5 } },
  { request: REGISTER, body: { Name: 'no', Meta: { 'a b': 'x' } } },
  { request: REGISTER, body: { Name: 'no', Meta: { '': 'x' } } },
  { request: REGISTER, body: { Name: 'no', Weights: { Passing: 0, Warning: 0 } } },
  { request: REGISTER, body: { Name: 'no', Weights: { Passing: 5, Warning: -1 } } },
  { request: REGISTER, body: { Name: 'no', Weights: { Passing: 70_000, Warning: 1 } } },
  { request: REGISTER, body: { Name: 'no', Check: { TTL: 'abc' } } },
  { request: REGISTER, body: { Name: 'no', Check: { Interval: '1s' } } },
  { request: REGISTER, body: { Name: 'no', Check: { HTTP: 'http://127.0.0.1:1' } } },
  { request: REGISTER, body: { Name: 'no', Check: { TTL: '5s', Interval: '5s' } } },
  { request: REGISTER, body: { Name: 'no', Check: { TTL: '5s', Status: 'bogus' } } },
  { request: REGISTER, body: { Name: 'no', Check: { Args: ['/bin/true'], Interval: '1s' } } },
  { request: REGISTER, body: '' },
  {
    request: REGISTER,
    body: 'not json',
    deviates: decodeText(/^Request decode failed: invalid character/, /^Request decode failed: Unexpected token/),
  },
  {
    request: REGISTER,
    body: { Name: 'no', Port: 'x' },
    deviates: decodeText(/cannot unmarshal string/, /^Request decode failed: Port must be an integer$/),
  },
  {
    request: REGISTER,
    body: { Name: 'newer', UnknownField: 1 },
    deviates: {
      why: 'newer clients send newer fields: they are logged and ignored',
      consul: [400, /unknown field "UnknownField"/],
      embedded: [200, /^$/],
    },
  },
  { request: 'POST /v1/agent/service/register', body: { Name: 'viapost' } },
  { request: 'GET /v1/agent/service/register' },
  { request: 'OPTIONS /v1/health/service/web' },
  { request: 'GET /v1/nope' },
  { request: 'GET /v1/agent' },
  { request: `${LEAVE}`, body: { Node: 'NODE', ServiceID: 'newer' } },

  // Reading.
  { request: 'GET /v1/agent/services' },
  { request: 'GET /v1/agent/services?filter=Port==5' },
  { request: 'GET /v1/agent/service/web-1' },
  { request: 'GET /v1/agent/service/nope' },
  { request: 'GET /v1/agent/checks' },
  { request: 'GET /v1/agent/checks?filter=Type==ttl%20and%20ServiceName==web' },
  { request: 'GET /v1/health/service/web' },
  { request: 'GET /v1/health/service/web?passing' },
  { request: 'GET /v1/health/service/web?passing=0' },
  { request: 'GET /v1/health/service/web?passing=maybe' },
  { request: 'GET /v1/health/service/web?tag=v2' },
  { request: 'GET /v1/health/service/web?tag=V1&tag=zone%3Da' },
  { request: 'GET /v1/health/service/web?tag=v1&tag=v2' },
  { request: 'GET /v1/health/service/web?near=_agent' },
  { request: 'GET /v1/health/service/web?node-meta=a:b' },
  { request: 'GET /v1/health/service/web?partition=p&unknown=1' },
  { request: 'GET /v1/health/service/web?ns=default' },
  { request: 'GET /v1/health/service/web?dc=dc1' },
  { request: 'GET /v1/health/service/web?dc=mars' },
  { request: 'GET /v1/health/service/web?stale' },
  { request: 'GET /v1/health/service/web?consistent' },
  { request: 'GET /v1/health/service/web?stale&consistent' },
  { request: 'GET /v1/health/service/web?index=0' },
  { request: 'GET /v1/health/service/web?index=&wait=' },
  { request: 'GET /v1/health/service/web?index=abc' },
  { request: 'GET /v1/health/service/web?index=-1' },
  { request: 'GET /v1/health/service/web?index=1&wait=abc' },
  { request: 'GET /v1/health/service/web?index=1&wait=10' },
  { request: 'GET /v1/health/service/nope' },
  { request: 'GET /v1/health/service/' },
  { request: 'GET /v1/health/service/tagged' },
  { request: 'GET /v1/health/service/named' },
  { request: 'GET /v1/health/service/lower' },
  { request: 'GET /v1/health/service/snake' },
  { request: 'GET /v1/health/checks/web' },
  { request: 'GET /v1/health/checks/web?filter=Status!=passing' },
  { request: 'GET /v1/health/checks/nope' },
  { request: 'GET /v1/health/checks/' },
  { request: 'GET /v1/health/node/NODE' },
  { request: 'GET /v1/health/node/nope' },
  { request: 'GET /v1/health/node/' },
  { request: 'GET /v1/health/state/any' },
  { request: 'GET /v1/health/state/warning' },
  { request: 'GET /v1/health/state/bogus' },
  { request: 'GET /v1/health/state/' },
  { request: 'GET /v1/catalog/services' },
  { request: 'GET /v1/catalog/services?node-meta=a:b' },
  { request: 'GET /v1/catalog/service/web' },
  { request: 'GET /v1/catalog/service/web?tag=v2' },
  { request: 'GET /v1/catalog/service/nope' },
  { request: 'GET /v1/catalog/service/' },
  { request: 'GET /v1/catalog/nodes' },
  { request: 'GET /v1/catalog/node/NODE' },
  { request: 'GET /v1/catalog/node/nope' },
  { request: 'GET /v1/catalog/node/' },
  { request: 'GET /v1/catalog/datacenters' },
  { request: 'GET /v1/agent/health/service/name/web' },
  { request: 'GET /v1/agent/health/service/name/nope' },
  { request: 'GET /v1/agent/health/service/name/noport?format=text' },
  { request: 'GET /v1/agent/health/service/id/web-1' },
  { request: 'GET /v1/agent/health/service/id/nope' },
  { request: 'GET /v1/agent/health/service/id/nope?format=text' },
  { request: 'GET /v1/agent/health/service/id/web-2?format=text' },
  { request: 'GET /v1/acl/tokens' },
  {
    request: 'GET /v1/kv/a',
    deviates: { why: 'there is no key/value store yet', consul: [404, /^$/], embedded: [404, /no key\/value store/] },
  },

  // Filters.
  { request: health('web', 'Service.ID == "web-1"') },
  { request: health('web', 'not (Service.ID == `web-1` or Service.Port != 22902)') },
  { request: health('web', 'Checks.Status == warning') },
  { request: health('web', 'Checks.Status != passing and Service.ID matches "^web-[12]$"') },
  { request: health('web', '"zone=a" in Service.Tags') },
  { request: health('web', 'v1 not in Service.Tags') },
  { request: health('web', 'Service.Tags contains "v2"') },
  { request: health('web', 'Service.Tags is empty or Service.Meta is not empty') },
  { request: health('web', 'Service.Meta.version == "1.2.3"') },
  { request: health('web', 'Service.Meta.version != "1.2.3"') },
  { request: health('web', 'Service.Meta["weight"] == 5') },
  { request: health('web', 'weight in Service.Meta') },
  { request: health('web', 'Service.TaggedAddresses.lan_ipv4.Port == 22901') },
  { request: health('web', 'Service.Weights.Passing == 5 and Service.EnableTagOverride == false') },
  { request: health('web', 'Service.ID contains "-2"') },
  { request: health('web', 'Foo == 1'), deviates: filterStatus(/evaluator: Selector "Foo" is not valid$/) },
  {
    request: health('web', 'Service.Tags == v1'),
    deviates: filterStatus(/Invalid match operator "Equal" for selector/),
  },
  {
    request: health('web', 'Service.Port == abc'),
    deviates: filterStatus(/Failed to coerce value "abc" for selector/),
  },
  { request: health('web', 'Service.ID =='), deviates: filterStatus(/no match found, expected/) },
  { request: health('web', 'Service.ID matches "["'), deviates: filterStatus(/missing closing \]/) },

  // Checks.
  { request: 'PUT /v1/agent/check/warn/service:web-1?note=slow%20today' },
  { request: 'GET /v1/health/checks/web' },
  { request: 'PUT /v1/agent/check/fail/service%3Aweb-1?note=dead' },
  { request: 'GET /v1/health/service/web?passing' },
  { request: 'PUT /v1/agent/check/update/service:web-1', body: { Status: 'passing', Output: 'via update' } },
  { request: 'GET /v1/agent/checks' },
  { request: 'PUT /v1/agent/check/update/service:web-1', body: { Status: 'bogus' } },
  { request: 'PUT /v1/agent/check/update/service:web-1', body: '' },
  {
    request: 'PUT /v1/agent/check/pass/nope',
    deviates: unknownCheck([500, /^CheckID "nope" does not have associated TTL$/]),
  },
  { request: CHECK, body: { TTL: '5s' } },
  { request: CHECK, body: { Name: 'x' } },
  { request: CHECK, body: { Name: 'x', TTL: '5s', Status: 'nope' } },
  { request: CHECK, body: { Name: 'x', TTL: '5s', ServiceID: 'nosuch' } },
  { request: CHECK, body: { ID: 'mem', Name: 'mem check', Notes: 'n', TTL: '5m', ServiceID: 'web-1' } },
  { request: CHECK, body: { Name: 'of the node', TTL: '5m', Status: 'passing' } },
  { request: 'PUT /v1/agent/check/warn/of%20the%20node?note=abc' },
  { request: CHECK, body: { Name: 'of the node', TTL: '5m', Status: 'passing' } },
  { request: 'GET /v1/agent/checks' },
  { request: 'GET /v1/health/service/noport' },
  { request: 'GET /v1/agent/health/service/id/noport' },
  { request: 'PUT /v1/agent/check/deregister/of%20the%20node' },
  { request: 'PUT /v1/agent/check/deregister/mem' },
  { request: 'PUT /v1/agent/check/deregister/mem', deviates: unknownCheck([200, /^$/]) },
  { request: 'GET /v1/health/service/web' },

  // Registering again: a check keeps its status, others stay unless told.
  {
    request: REGISTER,
    body: {
      ID: 'web-2',
      Name: 'web',
      Tags: ['v2'],
      Port: 1,
      Checks: [{ CheckID: 'mine', Name: 'my', TTL: '4m', Status: 'passing' }],
    },
  },
  { request: 'GET /v1/agent/checks' },
  {
    request: `${REGISTER}?replace-existing-checks=true`,
    body: {
      ID: 'web-2',
      Name: 'web',
      Tags: ['v2'],
      Port: 1,
      Checks: [{ CheckID: 'mine', Name: 'my', TTL: '4m', Status: 'passing' }],
    },
  },
  { request: 'GET /v1/agent/checks' },
  { request: 'GET /v1/health/service/web' },

  // Maintenance.
  { request: 'PUT /v1/agent/service/maintenance/web-1?enable=true&reason=deploy%20it' },
  { request: 'GET /v1/health/checks/web' },
  { request: 'GET /v1/agent/health/service/id/web-1' },
  { request: 'PUT /v1/agent/service/maintenance/web-1?enable=false' },
  { request: 'PUT /v1/agent/service/maintenance/noport?enable=1' },
  { request: 'GET /v1/health/service/noport?passing' },
  { request: 'GET /v1/health/checks/noport' },
  { request: 'PUT /v1/agent/service/maintenance/nosuch?enable=true' },
  { request: 'PUT /v1/agent/service/maintenance/web-1' },
  { request: 'PUT /v1/agent/service/maintenance/web-1?enable=perhaps' },
  { request: 'PUT /v1/agent/service/maintenance/?enable=true' },
  { request: 'PUT /v1/agent/maintenance' },
  { request: 'PUT /v1/agent/maintenance?enable=true&reason=node' },
  { request: 'GET /v1/health/service/web?passing' },
  { request: 'GET /v1/health/node/NODE' },
  { request: 'PUT /v1/agent/maintenance?enable=false' },
  { request: 'GET /v1/health/node/NODE' },

  // The catalog, written past the agents.
  { request: CATALOG, body: {} },
  { request: CATALOG, body: { Node: 'ext' } },
  { request: CATALOG, body: { Node: 'ext', Address: '10.0.0.9', Service: { ID: 'db1' } } },
  {
    request: CATALOG,
    body: {
      Node: 'ext',
      Address: '10.0.0.9',
      NodeMeta: { a: 'b' },
      Service: {
        ID: 'db1',
        Service: 'db',
        Port: 5432,
        Tags: ['primary'],
        Meta: { zone: 'z1' },
        Weights: { Passing: 3, Warning: 2 },
      },
      Check: { CheckID: 'service:db1', Name: 'db', Status: 'passing', ServiceID: 'db1' },
    },
  },
  {
    request: CATALOG,
    body: {
      Node: 'ext',
      SkipNodeUpdate: true,
      Checks: [{ Name: 'up', Status: 'critical', Output: 'no', Definition: { HTTP: 'http://x', Interval: '5s' } }],
    },
  },
  { request: CATALOG, body: { Node: 'ext', Address: '10.0.0.9', Check: { Name: 'c', ServiceID: 'nope' } } },
  { request: 'GET /v1/health/service/db' },
  { request: 'GET /v1/health/service/db?passing' },
  { request: 'GET /v1/health/service/db?node-meta=a:b' },
  { request: 'GET /v1/catalog/service/db?filter=ServiceMeta.zone==z1' },
  { request: 'GET /v1/catalog/nodes?filter=Node==ext' },
  { request: 'GET /v1/catalog/node/ext' },
  { request: 'GET /v1/health/node/ext' },
  { request: LEAVE, body: {} },
  { request: LEAVE, body: { Node: 'ext', CheckID: 'up' } },
  { request: LEAVE, body: { Node: 'ext', ServiceID: 'nope' } },
  { request: 'GET /v1/health/service/db' },
  { request: LEAVE, body: { Node: 'ext', ServiceID: 'db1' } },
  { request: 'GET /v1/catalog/node/ext' },
  { request: LEAVE, body: { Node: 'ext' } },
  { request: LEAVE, body: { Node: 'ext' } },
  { request: 'GET /v1/catalog/nodes' },

  // Leaving.
  { request: 'PUT /v1/agent/service/deregister/web-2' },
  {
    request: 'PUT /v1/agent/service/deregister/web-2',
    deviates: {
      why: 'follows Consul 1.11 and later',
      consul: [200, /^$/],
      embedded: [404, /^Unknown service ID "web-2"\. Ensure that the service ID is passed, not the service name\.$/],
    },
  },
  { request: 'PUT /v1/agent/service/deregister/' },
  { request: 'GET /v1/health/service/web' },
  { request: 'GET /v1/agent/services' },
];
