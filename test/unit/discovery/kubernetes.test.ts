import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { systemClock } from '../../../src/base/clock.ts';
import { systemRandom } from '../../../src/base/random.ts';
import { type KubernetesOptions, KubernetesRegistry, kubernetesRegistry } from '../../../src/discovery/kubernetes.ts';
import { Authority, findOpenssl } from '../../helpers/certificates.ts';
import { eventually } from '../../helpers/eventually.ts';
import { KubernetesDouble } from '../../helpers/kubernetes-double.ts';
import recorded from '../../helpers/kubernetes-recorded.json' with { type: 'json' };
import { RecordingSink } from '../../helpers/recording-sink.ts';
import { type TemporaryDirectory, temporaryDirectory } from '../../helpers/temporary-directory.ts';

describe('the kubernetes registry', () => {
  let server: KubernetesDouble;
  let directory: TemporaryDirectory;
  const stack: (() => Promise<void>)[] = [];
  const log: string[] = [];

  beforeEach(async () => {
    server = new KubernetesDouble();
    await server.start();
    directory = await temporaryDirectory('kubernetes');
  });
  afterEach(async () => {
    for (const close of stack.splice(0).reverse()) await close();
    await server.stop();
    await directory.close();
    log.length = 0;
  });

  function make(settings: Partial<Record<keyof KubernetesOptions, string>>, environment = {}): KubernetesRegistry {
    const options = kubernetesRegistry.options.parse(settings) as KubernetesOptions;
    const context = {
      name: 'k8s',
      clock: systemClock,
      random: systemRandom,
      log: (level: string, message: string, fields?: Readonly<Record<string, unknown>>) =>
        void log.push([level, message, fields?.leftOut ?? ''].join(' ').trimEnd()),
    };
    const registry = new KubernetesRegistry(options, context, environment);
    stack.push(() => registry.close());
    return registry;
  }

  /** A running registry, and a sink that has heard of `service`. */
  async function told(service: string, tags: string[] = []) {
    const registry = make({ server: server.address });
    const sink = new RecordingSink();
    registry.subscribe({ name: service, tags }, sink);
    await registry.start();
    await eventually(() => sink.sets.length + sink.errors.length > 0);
    return { registry, sink };
  }

  const hosts = (sink: RecordingSink) => (sink.last?.endpoints ?? []).map(({ host, status }) => `${host} ${status}`);

  it('reads ready, serving and terminating in one vocabulary, and takes absence for no answer', async () => {
    server.put('web-1', { service: 'web' }, [
      { address: '10.0.0.1' },
      { address: '10.0.0.2', conditions: { ready: false } },
      { address: '10.0.0.3', conditions: { ready: false, serving: true, terminating: true } },
      { address: '10.0.0.4', conditions: { ready: false, serving: false, terminating: true } },
      { address: '10.0.0.5', conditions: { ready: null } },
      { address: '10.0.0.6', conditions: {} },
      // Published although not ready: terminating says more than ready.
      { address: '10.0.0.7', conditions: { ready: true, serving: true, terminating: true } },
    ]);
    const { sink } = await told('web');
    expect(hosts(sink)).toEqual([
      '10.0.0.1 up',
      '10.0.0.2 down',
      '10.0.0.3 draining',
      '10.0.0.4 down',
      '10.0.0.5 up',
      '10.0.0.6 up',
      '10.0.0.7 draining',
    ]);
  });

  it('tells zone, hints, node, pod, protocol, weight, version, tags and generation', async () => {
    const labels = { team: 'a', 'app.kubernetes.io/version': '7' };
    const ports = [{ name: 'http', port: 8080, appProtocol: 'kubernetes.io/h2c' }];
    server.put('web-1', { service: 'web', labels, ports, annotations: { 'evenkeel/weight': '2.5' } }, [
      {
        address: '10.0.0.1',
        zone: 'eu-a',
        nodeName: 'n1',
        hints: { forZones: [{ name: 'eu-a' }, { name: 'eu-b' }] },
        targetRef: { kind: 'Pod', name: 'web-1-x', uid: 'uid-1' },
      },
    ]);
    const { sink } = await told('web', ['team=a']);
    expect(sink.last!.endpoints).toEqual([
      {
        host: '10.0.0.1',
        port: 8080,
        weight: 2.5,
        zone: 'eu-a',
        version: '7',
        backup: false,
        status: 'up',
        tags: ['team=a'],
        metadata: { node: 'n1', pod: 'web-1-x', appProtocol: 'kubernetes.io/h2c', forZones: 'eu-a,eu-b' },
        generation: 'uid-1',
      },
    ]);
  });

  it('finds a port by name or number, the only one or http without either, and asks where it is not clear', async () => {
    const ports = [
      { name: 'admin', port: 9000 },
      { name: 'http', port: 8080 },
    ];
    server.put('web-1', { service: 'web', ports }, [{ address: '10.0.0.1' }]);
    server.put(
      'api-1',
      {
        service: 'api',
        ports: [
          { name: 'a', port: 1 },
          { name: 'b', port: 2 },
        ],
      },
      [{ address: '10.0.0.1' }],
    );
    server.put('one-1', { service: 'one', ports: [{ port: 7 }] }, [{ address: '10.0.0.1' }]);
    server.put('any-1', { service: 'any', ports: null }, [{ address: '10.0.0.1' }]);
    const registry = make({ server: server.address });
    const names = [
      'web',
      'web:admin',
      'web:9000',
      'default/web:http',
      'web:none',
      'one',
      'any:5432',
      'api',
      'Not A Name',
    ];
    const sinks = names.map((name) => {
      const sink = new RecordingSink();
      registry.subscribe({ name, tags: [] }, sink);
      return sink;
    });
    await registry.start();
    await eventually(() => sinks.every(({ sets, errors }) => sets.length + errors.length > 0));
    const ports_ = sinks.slice(0, 7).map((sink) => sink.last?.endpoints.map(({ port }) => port));
    expect(ports_).toEqual([[8080], [9000], [9000], [8080], [], [7], [5432]]);
    expect(sinks[7].errors[0].message).toBe('api has several ports; write it as api:PORT with one of a, b');
    expect(sinks[8].errors[0].message).toContain('write it as namespace/service:port');
    expect(sinks[8].sets).toEqual([]);
  });

  it('merges the slices of a service, an address that moves between two of them included', async () => {
    server.put('web-1', { service: 'web' }, [
      { address: '10.0.0.1' },
      { address: '10.0.0.2', conditions: { ready: false } },
    ]);
    server.put('web-2', { service: 'web' }, [{ address: '10.0.0.2' }, { address: '10.0.0.3' }]);
    server.put('other', { service: 'other' }, [{ address: '10.0.0.9' }]);
    const { sink } = await told('web');
    expect(hosts(sink)).toEqual(['10.0.0.1 up', '10.0.0.2 up', '10.0.0.3 up']);
    server.put('web-1', { service: 'web' }, [{ address: '10.0.0.1' }]);
    server.delete('web-2');
    await eventually(() => expect(hosts(sink)).toEqual(['10.0.0.1 up']));
  });

  it('lists in pages and watches from the version of the list', async () => {
    server.page = 2;
    for (let i = 1; i <= 5; i++) server.put(`web-${i}`, { service: 'web' }, [{ address: `10.0.0.${i}` }]);
    const { sink } = await told('web');
    expect(hosts(sink)).toHaveLength(5);
    expect(sink.sets).toHaveLength(1);
    await eventually(() => server.watchers === 1);
    expect(server.requests.map((path) => new URL(path, 'http://x').searchParams.get('continue'))).toEqual([
      null,
      '2',
      '4',
      null,
    ]);
    const watch = new URL(server.requests[3], 'http://x').searchParams;
    expect(Object.fromEntries(watch)).toMatchObject({
      watch: '1',
      allowWatchBookmarks: 'true',
      resourceVersion: '197',
    });
    expect(Number(watch.get('timeoutSeconds'))).toBeGreaterThanOrEqual(240);
  });

  it('asks one list and one watch for all services of a namespace, and ends them with the last of them', async () => {
    server.put('a-1', { service: 'a' }, [{ address: '10.0.0.1' }]);
    server.put('b-1', { service: 'b', namespace: 'far' }, [{ address: '10.0.0.2' }]);
    const { registry, sink } = await told('a');
    const [b, c] = [new RecordingSink(), new RecordingSink()];
    const far = registry.subscribe({ name: 'far/b', tags: [] }, b);
    registry.subscribe({ name: 'c', tags: [] }, c);
    await eventually(() => b.sets.length > 0 && c.sets.length > 0 && server.watchers === 2);
    expect(server.requests.filter((path) => !path.includes('watch=1'))).toHaveLength(2);
    // What concerns one service is read for that one alone; the others hear the very list again.
    server.put('a-1', { service: 'a' }, [{ address: '10.0.0.3' }]);
    await eventually(() => expect(hosts(sink)).toEqual(['10.0.0.3 up']));
    expect(c.last!.endpoints).toBe(c.sets[0].endpoints);
    far.close();
    await eventually(() => server.watchers === 1);
  });

  it.each(['event', 'answer'] as const)(
    'lists anew when its version is gone, told by an %s, and takes nothing away meanwhile',
    async (how) => {
      server.goneBy = how;
      server.put('web-1', { service: 'web' }, [{ address: '10.0.0.1' }, { address: '10.0.0.2' }]);
      const { sink } = await told('web');
      await eventually(() => server.watchers === 1);
      server.end('cut');
      server.put('web-1', { service: 'web' }, [{ address: '10.0.0.2' }, { address: '10.0.0.3' }]);
      server.compact();
      await eventually(() => expect(hosts(sink)).toEqual(['10.0.0.2 up', '10.0.0.3 up']));
      expect(server.requests.filter((path) => !path.includes('watch=1'))).toHaveLength(2);
      expect(sink.errors).toEqual([]);
      expect(sink.sets.every(({ endpoints }) => endpoints.length === 2)).toBe(true);
    },
  );

  it.each(['orderly', 'cut'] as const)(
    'goes on where a watch ended (%s), from the version of the last bookmark',
    async (how) => {
      server.put('web-1', { service: 'web' }, [{ address: '10.0.0.1' }]);
      const { sink } = await told('web');
      await eventually(() => server.watchers === 1);
      server.put('other', { service: 'other', namespace: 'far' }, []);
      const heard = sink.sets.length;
      server.bookmark();
      // A bookmark says that all of it still holds.
      await eventually(() => sink.sets.length > heard);
      expect(sink.last).toEqual(sink.sets[0]);
      expect(sink.last!.endpoints).toBe(sink.sets[0].endpoints);
      server.end(how);
      server.put('web-1', { service: 'web' }, [{ address: '10.0.0.2' }]);
      await eventually(() => expect(hosts(sink)).toEqual(['10.0.0.2 up']));
      expect(server.requests.at(-1)).toContain('resourceVersion=194');
      expect(server.requests.filter((path) => !path.includes('watch=1'))).toHaveLength(1);
      expect(sink.errors).toEqual([]);
    },
  );

  it('keeps everything while the server is gone, and goes on when it is back', async () => {
    server.put('web-1', { service: 'web' }, [{ address: '10.0.0.1' }]);
    const { sink } = await told('web');
    await eventually(() => server.watchers === 1);
    await server.stop();
    await eventually(() => sink.errors.length === 1);
    expect(sink.errors[0]).toMatchObject({ code: 'registry-unreachable', retryable: true });
    const sets = sink.sets.length;
    await server.start();
    // Without an event: what holds is told as soon as it can be asked for.
    await eventually(() => sink.sets.length > sets);
    expect(sink.sets[sets]).toEqual({ endpoints: sink.sets[0].endpoints, suspicion: 'after-reconnect' });
    server.put('web-1', { service: 'web' }, [{ address: '10.0.0.2' }]);
    await eventually(() => expect(hosts(sink)).toEqual(['10.0.0.2 up']));
    expect(sink.errors).toHaveLength(1);
  });

  it('reads the answers recorded of a real server, of v1beta1 as well', async () => {
    server.groups = ['v1beta1'];
    const { sink } = await told('web');
    expect(sink.told).toEqual([]);
    await eventually(() => server.watchers === 1);
    const [modified, deleted, bookmark] = recorded.watch;
    server.say([modified]);
    await eventually(() => expect(sink.told).toEqual(['8080 up 1', '8080 up 1']));
    expect(sink.last!.endpoints[0]).toMatchObject({ host: '10.1.2.3', zone: 'us-east-1a', metadata: { pod: 'pod-1' } });
    server.say([deleted, bookmark]);
    await eventually(() => expect(sink.told).toEqual([]));
    server.end('orderly');
    await eventually(() => server.watchers === 1);
    expect(server.requests.at(-1)).toMatch(/v1beta1.*resourceVersion=194/);
  });

  it('asks again when it is refused for a while, and says what right it lacks', async () => {
    server.put('web-1', { service: 'web' }, [{ address: '10.0.0.1' }]);
    server.refusals.push(500, 429);
    const { registry, sink } = await told('web');
    await eventually(() => sink.sets.length > 0);
    expect(sink.errors.map(({ message }) => message.slice(0, 30))).toEqual([
      'Kubernetes refuses (500: asked',
      'Kubernetes refuses (429: asked',
    ]);
    const denied = new RecordingSink();
    registry.subscribe({ name: 'forbidden/web', tags: [] }, denied);
    await eventually(() => denied.errors.length > 0);
    expect(denied.errors[0]).toMatchObject({ code: 'registry-denied', retryable: false });
    expect(denied.errors[0].message).toContain('needs get, list and watch on endpointslices.discovery.k8s.io');
    expect(denied.sets).toEqual([]);
  });

  it('leaves out an endpoint that is none, keeps the others of its slice, and counts it', async () => {
    const odd = { addresses: [] };
    server.put('web-1', { service: 'web' }, [{ address: '10.0.0.1' }, { address: '', ...odd }]);
    const { sink } = await told('web');
    expect(hosts(sink)).toEqual(['10.0.0.1 up']);
    expect(log).toEqual(['warn records of the registry left out 1']);
    await eventually(() => server.watchers === 1);
    server.put('web-1', { service: 'web' }, [
      { address: '', ...odd },
      { address: '10.0.0.2' },
      { address: '', addresses: null },
    ]);
    await eventually(() => expect(hosts(sink)).toEqual(['10.0.0.2 up']));
    expect(log).toEqual(['warn records of the registry left out 1', 'warn records of the registry left out 2']);
  });

  it('says that a change cannot be read and keeps the slice as it was; a deletion needs its name alone', async () => {
    server.put('web-1', { service: 'web' }, [{ address: '10.0.0.1' }]);
    server.put('web-2', { service: 'web' }, [{ address: '10.0.0.2' }]);
    const { sink } = await told('web');
    await eventually(() => server.watchers === 1);
    server.say(['{"type":"MODIFIED","object":{"metadata":{"name":"web-1"},"endpoints":"none"}}']);
    server.say(['{"type":"DELETED","object":{"metadata":{"name":"web-2"},"endpoints":"none"}}']);
    await eventually(() => expect(hosts(sink)).toEqual(['10.0.0.1 up']));
    expect(log).toEqual(['warn records of the registry left out 1']);
  });

  it('leaves out a slice that is none, and says so', async () => {
    server.put('web-1', { service: 'web' }, [{ address: '10.0.0.1' }]);
    server.put('odd', { service: 'web', ports: 'none' as never }, [
      { address: '169.254.169.254' },
      { address: '10.0.0.2' },
    ]);
    server.put('empty', { service: 'web' }, []);
    const { sink } = await told('web');
    await eventually(() => server.watchers === 1);
    server.say(['{"type":"ADDED","object":{"metadata":{}}}']);
    expect(hosts(sink)).toEqual(['10.0.0.1 up']);
    server.put('web-2', { service: 'web' }, [{ address: '169.254.169.254' }, { address: '10.0.0.2' }]);
    await eventually(() => expect(hosts(sink)).toEqual(['10.0.0.1 up', '10.0.0.2 up']));
    expect(log).toContain('warn records of the registry left out 1');
  });

  describe('credentials', () => {
    const kubeconfig = (user: object, cluster: object = {}) =>
      directory.write(
        'config',
        JSON.stringify({
          'current-context': 'here',
          contexts: [{ name: 'here', context: { cluster: 'c', user: 'me', namespace: 'shop' } }],
          clusters: [{ name: 'c', cluster: { server: server.address, ...cluster } }],
          users: [{ name: 'me', user }],
        }),
      );

    async function listens(settings: object, environment = {}): Promise<RecordingSink> {
      const registry = make(settings, environment);
      const sink = new RecordingSink();
      registry.subscribe({ name: 'web', tags: [] }, sink);
      await registry.start();
      await eventually(() => sink.sets.length + sink.errors.length > 0);
      return sink;
    }

    it("come from a kubeconfig's current context: server, namespace, token", async () => {
      server.tokens = ['t1'];
      server.put('web-1', { service: 'web', namespace: 'shop' }, [{ address: '10.0.0.1' }]);
      const sink = await listens({ kubeconfig: await kubeconfig({ token: 't1' }) });
      expect(hosts(sink)).toEqual(['10.0.0.1 up']);
      server.tokens = ['another'];
      const refused = await listens({ kubeconfig: await kubeconfig({ token: 't1' }) });
      expect(refused.errors[0]).toMatchObject({ code: 'registry-denied' });
    });

    it('are read anew from a token file when the server refuses the old one', async () => {
      server.tokens = ['t1'];
      await directory.write('token', 't1\n');
      const sink = await listens({ kubeconfig: await kubeconfig({ tokenFile: 'token' }) });
      await eventually(() => server.watchers === 1);
      await directory.write('token', 't2\n');
      server.tokens = ['t2'];
      server.end('orderly');
      server.put('web-1', { service: 'web', namespace: 'shop' }, [{ address: '10.0.0.1' }]);
      await eventually(() => expect(hosts(sink)).toEqual(['10.0.0.1 up']));
      expect(sink.errors).toEqual([]);
    });

    it.each([
      [{ exec: { command: 'aws' } }, {}, 'logs in by running a program (exec), which is not supported'],
      [{ 'auth-provider': { name: 'gcp' } }, {}, 'logs in by running a program (auth-provider)'],
      [{}, { 'proxy-url': 'http://proxy' }, 'asks for a proxy'],
      [{ tokenFile: 'nowhere' }, {}, 'the token cannot be read'],
      [{ 'client-certificate': 'nowhere' }, {}, 'the client certificate cannot be read'],
    ])('that are not supported or not there are named: %j %j', async (user, cluster, message) => {
      const file = await kubeconfig(user, cluster);
      const registry = make({ kubeconfig: file });
      const outcome = registry.start();
      if (message.startsWith('the token')) {
        const sink = new RecordingSink();
        registry.subscribe({ name: 'web', tags: [] }, sink);
        await outcome;
        await eventually(() => sink.errors.length > 0);
        return expect(sink.errors[0].message).toContain(message);
      }
      await expect(outcome).rejects.toMatchObject({
        name: 'OperationError',
        message: expect.stringContaining(message),
      });
    });

    it('are missing outside of a pod, and that is said', async () => {
      await expect(make({}).start()).rejects.toThrow('this process does not run in a pod');
      await expect(make({ kubeconfig: '/nowhere' }).start()).rejects.toThrow('the kubeconfig cannot be read');
      const file = await directory.write('odd', '{ contexts: 5');
      await expect(make({ kubeconfig: file }).start()).rejects.toThrow('is not a kubeconfig');
      await expect(make({ kubeconfig: await kubeconfig({}), context: 'x' }).start()).rejects.toThrow(
        'has no context "x"',
      );
    });

    it.skipIf(findOpenssl() === null)(
      'are those of the pod: its token, its namespace, the authority of the server',
      async () => {
        const authority = new Authority(directory.path, 'kubernetes');
        const pair = authority.issue('apiserver', ['IP:127.0.0.1']);
        const secure = new KubernetesDouble({ cert: pair.cert, key: pair.key });
        await secure.start();
        stack.push(() => secure.stop());
        secure.tokens = ['pod-token'];
        secure.put('web-1', { service: 'web', namespace: 'own' }, [{ address: '10.0.0.1' }]);
        await directory.write('token', 'pod-token');
        await directory.write('namespace', 'own\n');
        await directory.write('ca.crt', authority.pair.cert);
        const environment = { KUBERNETES_SERVICE_HOST: '127.0.0.1', KUBERNETES_SERVICE_PORT: String(secure.port) };
        const sink = await listens({ serviceAccount: directory.path }, environment);
        expect(hosts(sink)).toEqual(['10.0.0.1 up']);
        await directory.write('ca.crt', new Authority(directory.path, 'stranger').pair.cert);
        const stranger = await listens({ serviceAccount: directory.path }, environment);
        expect(stranger.errors[0]).toMatchObject({ code: 'registry-unreachable' });
      },
    );

    it.skipIf(findOpenssl() === null)('may be a client certificate in the kubeconfig', async () => {
      const authority = new Authority(directory.path, 'kubernetes');
      const pair = authority.issue('apiserver', ['apiserver.internal']);
      const client = authority.issue('client', ['client']);
      const secure = new KubernetesDouble({ cert: pair.cert, key: pair.key, ca: authority.pair.cert });
      await secure.start();
      stack.push(() => secure.stop());
      secure.put('web-1', { service: 'web', namespace: 'shop' }, [{ address: '10.0.0.1' }]);
      const data = (text: string) => Buffer.from(text).toString('base64');
      const cluster = {
        server: `https://127.0.0.1:${secure.port}`,
        'certificate-authority-data': data(authority.pair.cert),
        'tls-server-name': 'apiserver.internal',
      };
      const file = await kubeconfig(
        { 'client-certificate': client.certFile, 'client-key-data': data(client.key) },
        cluster,
      );
      expect(hosts(await listens({ kubeconfig: file }))).toEqual(['10.0.0.1 up']);
      expect((await listens({ kubeconfig: await kubeconfig({}, cluster) })).errors[0].code).toBe(
        'registry-unreachable',
      );
    });
  });
});
