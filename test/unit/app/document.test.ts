import { createHash } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { documentJsonSchema, readDocument } from '../../../src/app/document.ts';
import { ConfigError } from '../../../src/base/errors.ts';
import { placeholderCatalogs } from '../../helpers/placeholder-catalogs.ts';

const $ = '$';
const listeners = 'listeners: [{ name: web, bind: "127.0.0.1:8080", pool: web }]\n';
const pools = 'pools: { web: { endpoints: [{ address: "127.0.0.1:9001" }] } }\n';

function read(text: string, environment: Record<string, string> = {}) {
  return readDocument(text, 'a.yaml', environment, placeholderCatalogs);
}

/** `LINE:COLUMN  path  message` of every problem. */
function problems(text: string, environment: Record<string, string> = {}): string[] {
  try {
    read(text, environment);
    return [];
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    return error.message.split('\n').map((line) => line.replace('a.yaml:', ''));
  }
}

/** Problems of a pool called `web` with these options besides its endpoint. */
function poolProblems(options: string): string[] {
  return problems(`${listeners}pools:\n  web:\n    endpoints: [{ address: "127.0.0.1:9001" }]\n    ${options}\n`);
}

describe('a document', () => {
  it('comes out with every default filled in and every unit resolved', () => {
    const { document } = read(listeners + pools);
    expect(document.runtime).toEqual({
      workers: 'auto',
      connections: 'auto',
      startTimeout: 10_000,
      upgradeTimeout: 60_000,
      announce: 0,
      memory: null,
      fastPath: 'auto',
      watch: false,
      drain: 30_000,
      state: 'data',
    });
    expect(document.admin).toEqual({ bind: '127.0.0.1:9900', token: '', endpointSeries: 1000 });
    expect(document.log).toEqual({
      level: 'info',
      format: 'json',
      decisions: null,
      access: 'stdout',
      query: false,
      sample: 100,
    });
    expect(document.listeners[0]).toMatchObject({
      bind: ['127.0.0.1:8080'],
      timeouts: { head: 15_000, body: 15_000, idle: 75_000, tunnel: 3_600_000 },
      limits: { connections: 10_000, connectionsPerClient: null, head: 16_384, headers: 100, body: null },
      routes: [{ name: '/', pool: 'web', match: { host: null, path: null } }],
    });
    expect(document.pools.web).toMatchObject({
      scheduler: { kind: 'response-time', decay: 10_000 },
      probe: null,
      slowStart: null,
      ejection: { consecutiveFailures: 5, maxEjected: 0.5 },
      retry: { attempts: 1, budget: 0.2, perTryTimeout: 5000, on: ['connect-failure', 'reset', '502', '503', '504'] },
      timeouts: { connect: 1000, response: 15_000, request: 60_000, between: 60_000, idle: 4000 },
      limits: { active: 1024, pending: 1024, pendingTimeout: 1000 },
      endpoints: [{ host: '127.0.0.1', port: 9001, weight: 1, zone: '', backup: false }],
    });
  });

  it('says off as null, for every part that may be off', () => {
    const { document } = read(
      `${listeners.replace(' }]', ', timeouts: { idle: off }, limits: { connections: off, head: 0 } }]')}
admin: { bind: off }
log: { access: off }
pools:
  web:
    endpoints: [{ address: "127.0.0.1:9001" }]
    ejection: off
    retry: off
    probe: false
    slowStart: off
    panic: off
    timeouts: { connect: off, idle: off }
    limits: { active: 0, pending: off, pendingTimeout: off }
`,
    );
    expect(document.admin.bind).toBeNull();
    expect(document.log.access).toBeNull();
    expect(document.listeners[0]).toMatchObject({
      timeouts: { idle: null },
      limits: { connections: null, head: null },
    });
    expect(document.pools.web).toMatchObject({
      ejection: null,
      retry: null,
      probe: null,
      slowStart: null,
      panic: null,
      timeouts: { connect: null, idle: null },
      limits: { active: null, pending: null, pendingTimeout: null },
    });
  });

  it('has the hash of its text as version', () => {
    const text = listeners + pools;
    expect(read(text).version).toBe(createHash('sha256').update(text).digest('hex').slice(0, 12));
  });

  it('is shown with its secrets masked', () => {
    const text = `${listeners}${pools}admin: { token: "${$}{T}" }\n`;
    const { document, masked } = read(text, { T: 'hunter2' });
    expect(document.admin.token).toBe('hunter2');
    expect(masked).toMatchObject({ admin: { token: '***' } });
  });

  it('may keep anchors under x- keys and leave sections empty', () => {
    const text = `x-common: &common { timeouts: { connect: 2s } }\nregistries:\n${listeners}pools:\n  web:\n    <<: *common\n    endpoints: [{ address: "a:1" }]\n`;
    expect(read(text).document.pools.web.timeouts.connect).toBe(2000);
  });
});

describe('variables', () => {
  it('may stand for numbers and true or false where those are needed', () => {
    const text = `runtime: { workers: "${$}{W}" }\nlog: { query: "${$}{Q}" }\n${listeners}${pools}`;
    const { document } = read(text, { W: '4', Q: 'true' });
    expect(document.runtime.workers).toBe(4);
    expect(document.log.query).toBe(true);
  });

  it('stay text where text is needed', () => {
    expect(
      read(
        `admin: { token: ${$}{T:-12345} }\n${listeners}${pools}`
          .replace('{ token: ', '\n  token: ')
          .replace(' }\n', '\n'),
      ).document.admin.token,
    ).toBe('12345');
  });

  it('that are unset are one problem, not two', () => {
    const text = `listeners:\n  - name: web\n    bind: ${$}{VIP}\n    pool: web\n${pools}`;
    expect(problems(text)).toEqual([expect.stringContaining('3:11  listeners[0].bind  the environment has no VIP')]);
  });

  it('that are secret are not quoted, whoever finds fault with them', () => {
    const of = (text: string) => problems(text, { DB_PASSWORD: 'hunter2' });
    const all = [
      ...of(`runtime: { drain: "${$}{DB_PASSWORD}" }\n${listeners}${pools}`),
      ...of(`log: { decisions: "${$}{DB_PASSWORD}" }\n${listeners}${pools}`),
      ...of(
        `${listeners}pools: { web: { endpoints: [{ address: "${$}{DB_PASSWORD}" }], panic: "${$}{DB_PASSWORD}" } }`,
      ),
    ];
    expect(all).toHaveLength(4);
    expect(all[0]).toContain('runtime.drain  a secret value is not a duration; write it as 250ms');
    expect(all.join('\n')).not.toContain('hunter2');
  });

  it('are judged like written values', () => {
    expect(problems(`runtime:\n  workers: ${$}{W}\n${listeners}${pools}`, { W: 'many' })).toEqual([
      '2:12  runtime.workers  found "many"; write auto or a number',
    ]);
  });
});

describe('problems', () => {
  it('name a wait that is longer than a timer knows, of which it would make none at all', () => {
    const runtime = (key: string) => problems(`runtime: { ${key}: 1000h }\n${listeners}${pools}`);
    for (const key of ['drain', 'announce', 'startTimeout', 'upgradeTimeout'])
      expect(runtime(key)).toEqual([
        expect.stringMatching(`runtime.${key}  "1000h" is longer than a timer can wait; write at most 14d$`),
      ]);
    expect(read(`runtime: { drain: 14d }\n${listeners}${pools}`).document.runtime.drain).toBe(1_209_600_000);
    // Neither the wheel nor a cookie minds.
    expect(poolProblems('affinity: { cookie: c, maxAge: 365d }\n    timeouts: { between: 30d }')).toEqual([]);
  });

  it('come all at once, in the order of the file', () => {
    const text = `runtime: { workers: 0 }
log: { level: infos }
listeners:
  - name: web
    bind: 127.0.0.1:80800
    routes: [{ pool: wep }]
pools:
  web: { endpoints: [{ address: "127.0.0.1:9001" }], timeout: { connect: 1s } }
`;
    expect(problems(text)).toEqual([
      '1:21  runtime.workers  found 0; write at least 1',
      '2:15  log.level  "infos" is not known here; did you mean "info"?',
      '5:11  listeners[0].bind  "127.0.0.1:80800" is not an address; write it as 127.0.0.1:8080, [::1]:8080 or name:8080',
      '6:22  listeners[0].routes[0].pool  there is no pool "wep"; did you mean "web"?',
      '8:54  pools.web.timeout  unknown key; did you mean "timeouts"?',
    ]);
  });

  it.each([
    [
      'timeouts: { connect: 5 }',
      'pools.web.timeouts.connect  5 is not a duration; write it as 250ms, 5s, 2m or 1h, or off',
    ],
    ['timeouts: { connect: 0s }', 'pools.web.timeouts.connect  a timeout must be longer than 0; write off for none'],
    ['retry: { budget: 20 }', 'pools.web.retry.budget  "20" is not a share; write it as 20% or 0.2'],
    ['retry: { on: [500] }', 'pools.web.retry.on[0]  found 500; write'],
    ['retry: { attempts: "2" }', 'pools.web.retry.attempts  found "2"; write a number'],
    [
      'scheduler: least-request',
      'pools.web.scheduler  "least-request" is not known here; did you mean "least-requests"?',
    ],
    [
      'scheduler: { kind: rando }',
      'pools.web.scheduler.kind  "rando" is not known here; known: response-time, least-requests, hash',
    ],
    ['scheduler: hash', 'pools.web.scheduler.on  is missing; it is needed here: what is hashed'],
    ['probe: { kind: http, pth: / }', 'pools.web.probe.pth  unknown key; did you mean "path"?'],
    ['probe: { path: / }', 'pools.web.probe.kind  is missing'],
    ['host: 1', 'pools.web.host  1 is not known here; known: keep, endpoint'],
    ['panic: 2', 'pools.web.panic  "2" is not a share; write it as 20% or 0.2, or off'],
    ['limits: []', 'pools.web.limits  found a list; write a map'],
  ])('of a pool with `%s` are told in one sentence', (options, expected) => {
    const found = poolProblems(options);
    expect(found).toHaveLength(1);
    expect(found[0]).toContain(expected);
  });

  it('of an unknown key do not come again as a missing one', () => {
    expect(problems(`${listeners}pools: { web: { endpoints: [{ adress: "a:1" }] } }\n`)).toEqual([
      expect.stringContaining('web.endpoints[0].adress  unknown key; did you mean "address"?'),
    ]);
  });

  it('never show a secret', () => {
    expect(problems(`admin: { token: 12345678 }\n${listeners}${pools}`)).toEqual([
      '1:17  admin.token  found a secret value; write text (put it in quotes)',
    ]);
  });

  it('of no listeners at all are told at the top', () => {
    expect(problems('')).toEqual(['1:1  listeners  is missing; it is needed here: where clients arrive']);
    expect(problems('listeners: []')).toEqual(['1:12  listeners  the list must have at least 1 entry']);
  });
});

describe('cross-checks', () => {
  const two = (a: string, b: string) =>
    `listeners:\n  - { name: a, bind: ${a}, pool: web }\n  - { name: b, bind: ${b}, pool: web }\n${pools}`;

  it.each([
    ['the same', '"127.0.0.1:80"', '"127.0.0.1:80"', true],
    ['one and every IPv4', '"127.0.0.1:80"', '["127.0.0.1:81", "0.0.0.0:80"]', true],
    ['one and every address', '"127.0.0.1:80"', '"[::]:80"', true],
    ['IPv4 and IPv6', '"0.0.0.0:80"', '"[::1]:80"', false],
    ['two ports', '"127.0.0.1:80"', '"127.0.0.1:81"', false],
    ['port 0 twice', '"127.0.0.1:0"', '"127.0.0.1:0"', false],
    ["the admin API's", '"127.0.0.1:80"', '"127.0.0.1:9900"', true],
  ])('two addresses, %s: clash', (_, a, b, clash) => {
    const found = problems(two(a, b));
    expect(found.some((line) => line.includes('is already bound by'))).toBe(clash);
    expect(found).toHaveLength(clash ? 1 : 0);
  });

  it('an admin address beyond loopback needs a token', () => {
    const admin = (options: string) => problems(`admin: ${options}\n${listeners}${pools}`);
    expect(admin('{ bind: "0.0.0.0:9900" }')).toEqual([
      expect.stringMatching(/^1:16 {2}admin.bind {2}.*set admin.token/),
    ]);
    expect(admin('{ bind: "0.0.0.0:9900", token: t }')).toEqual([]);
    expect(admin('{ bind: "[::1]:9900" }')).toEqual([]);
    expect(admin('{ bind: "127.8.8.8:9900" }')).toEqual([]);
    expect(admin('{ bind: off }')).toEqual([]);
    // As the server itself says, which would not start.
    expect(problems(`admin: { bind: "[::ffff:127.0.0.1]:9900" }\n${listeners}${pools}`)).toHaveLength(1);
  });

  it('two listeners have two names', () => {
    const text = `listeners:\n  - { name: a, bind: "h:1", pool: web }\n  - { name: a, bind: "h:2", pool: web }\n${pools}`;
    expect(problems(text)).toEqual([
      expect.stringMatching(/^3:13 {2}listeners\[1\].name {2}listener "a" is already at listeners\[0\]/),
    ]);
  });

  it('a listener has routes or a pool', () => {
    expect(problems(`listeners: [{ name: a, bind: "h:1" }]\n${pools}`)).toEqual([
      expect.stringContaining('listeners[0]  has neither routes nor pool'),
    ]);
    expect(problems(`listeners: [{ name: a, bind: "h:1", pool: web, routes: [{ pool: web }] }]\n${pools}`)).toEqual([
      expect.stringContaining('listeners[0].pool  stands beside routes'),
    ]);
  });

  it('a pool has endpoints or a registry that exists', () => {
    expect(problems(`${listeners}pools: { web: {} }\n`)).toEqual([expect.stringContaining('pools.web  has neither')]);
    expect(poolProblems('discover: { registry: r, service: s }')).toEqual([
      expect.stringContaining('pools.web.endpoints  stands beside discover'),
      expect.stringContaining(
        'pools.web.discover.registry  there is no registry "r"; the document has no registry at all',
      ),
    ]);
  });

  it('an address stands once in a pool, however it is written', () => {
    const text = `${listeners}pools: { web: { endpoints: [{ address: "Host:1" }, { address: "host:1" }] } }\n`;
    expect(problems(text)).toEqual([expect.stringContaining('endpoints[1].address  host:1 is already at')]);
  });

  it('an attempt ends before its request does', () => {
    expect(poolProblems('timeouts: { request: 4s }\n    retry: { perTryTimeout: 5s }')).toEqual([
      expect.stringContaining('pools.web.retry.perTryTimeout  5s is longer than timeouts.request (4s)'),
    ]);
    // The default of 5s is no contradiction of the user's.
    expect(poolProblems('timeouts: { request: 4s }')).toEqual([]);
  });

  it('two routes differ in what they match, and in name', () => {
    const routes = (list: string) => problems(`listeners: [{ name: a, bind: "h:1", routes: [${list}] }]\n${pools}`);
    const same =
      '{ match: { host: [a.com, b.com], path: /x/ }, pool: web }, { match: { path: { prefix: /x }, host: [B.com, a.com.] }, pool: web }';
    expect(routes(same)).toEqual([expect.stringContaining('listeners[0].routes[1]  matches the same requests as')]);
    expect(routes('{ match: { path: /x }, pool: web }, { match: { path: { exact: /x } }, pool: web }')).toEqual([
      expect.stringContaining(
        'routes[1].match  route "/x" is already at listeners[0].routes[0]; give each its own name',
      ),
    ]);
    expect(
      routes('{ match: { path: /x }, pool: web }, { match: { path: { exact: /x } }, name: x, pool: web }'),
    ).toEqual([]);
  });
});

describe('what a protocol cannot do', () => {
  const udp = listeners.replace('pool:', 'protocol: udp, pool:');
  const routed = (protocol: string, match: string) =>
    listeners.replace(/pool: \w+/, `protocol: ${protocol}, routes: [{ match: ${match}, pool: web }]`) + pools;

  it.each([
    ['listeners[0].routes[0].match.sni', routed('http', '{ sni: a.test }')],
    ['listeners[0].routes[0].match.path', routed('tcp', '{ path: /x }')],
    ['listeners[0].routes[0].match.sni', routed('udp', '{ sni: a.test }')],
    ['listeners[0].proxyProtocol', udp.replace('pool:', 'proxyProtocol: { from: [10.0.0.0/8] }, pool:') + pools],
  ])('is refused by name, not ignored: %s', (path, text) => {
    expect(problems(text)).toEqual([expect.stringContaining(`  ${path}  `)]);
  });

  it('and what it can is taken', () => {
    expect(problems(udp + pools)).toEqual([]);
    expect(problems(routed('tcp', '{ sni: [a.test, "*.b.test"], alpn: h2 }'))).toEqual([]);
    expect(
      problems(listeners + pools.replace('endpoints', 'proxyProtocol: v2, maxAge: 1h, onRemoval: 30s, endpoints')),
    ).toEqual([]);
  });
});

describe('the JSON Schema', () => {
  const schema = documentJsonSchema(placeholderCatalogs) as never as Record<string, never>;

  it('describes what may be written: defaults as in a document, kinds from the catalogs', () => {
    const text = JSON.stringify(schema);
    expect(schema).toMatchObject({
      type: 'object',
      required: ['listeners'],
      additionalProperties: false,
      properties: { runtime: { properties: { startTimeout: { default: '10s', type: 'string' } } } },
    });
    for (const kind of ['least-requests', 'consul', 'tcp', 'headers']) expect(text).toContain(`"const":"${kind}"`);
  });

  it('has a description for every option', () => {
    const bare: string[] = [];
    const walk = (node: unknown, path: string, inherited: boolean): void => {
      const { properties, description, ...rest } = node as Record<string, Record<string, never>>;
      for (const [key, option] of Object.entries(properties ?? {})) {
        if (key !== 'kind' && (option as { description?: string }).description === undefined && !inherited)
          bare.push(`${path}.${key}`);
        walk(option, `${path}.${key}`, false);
      }
      for (const word of ['anyOf', 'oneOf'])
        for (const one of (rest[word] as never as unknown[]) ?? []) walk(one, path, description !== undefined);
      for (const word of ['items', 'additionalProperties'])
        if (typeof rest[word] === 'object') walk(rest[word], path, false);
    };
    walk(schema, '', false);
    expect(bare).toEqual([]);
  });
});
