import { expect, it, type TestContext } from 'vitest';
import { systemClock } from '../../../src/base/clock.ts';
import { registries } from '../../../src/discovery/catalog.ts';
import type { Registry } from '../../../src/discovery/registry.ts';
import { eventually } from '../../helpers/eventually.ts';
import { NacosPeer } from '../../helpers/nacos-peer.ts';
import { RecordingSink } from '../../helpers/recording-sink.ts';

async function peerOf({ onTestFinished }: TestContext): Promise<NacosPeer> {
  const peer = await NacosPeer.start();
  onTestFinished(() => peer.goAway());
  return peer;
}

async function registryAt({ onTestFinished }: TestContext, peer: NacosPeer): Promise<Registry> {
  const settings = { kind: 'nacos', address: 'http://127.0.0.1:1/nacos', grpcPort: peer.port, transport: 'grpc' };
  const context = { name: 'n', clock: systemClock, random: () => 0.1, log: () => {} };
  const registry = registries.create(registries.schema().parse(settings), context);
  onTestFinished(() => registry.close());
  await registry.start();
  return registry;
}

const web = { name: 'web', tags: [] };

it('takes pushes and acknowledges each', async (t) => {
  const peer = await peerOf(t);
  const sink = new RecordingSink();
  (await registryAt(t, peer)).subscribe(web, sink);
  await eventually(() => sink.sets.length === 1);
  peer.put('web', 9001, { weight: 2.5, clusterName: 'HZ' });
  await eventually(() => expect(sink.told).toEqual(['9001 up 2.5']));
  expect(sink.endpoint(9001)!.zone).toBe('HZ');
  peer.put('web', 9002, { healthy: false });
  peer.put('web', 9003, { enabled: false });
  await eventually(() => expect(sink.told).toEqual(['9001 up 2.5', '9002 down 1', '9003 draining 1']));
  await eventually(() => peer.asked.filter((type) => type === 'NotifySubscriberResponse').length === 3);
});

it('calls a push that empties a service suspicious, and endpoints past the protect threshold unknown', async (t) => {
  const peer = await peerOf(t);
  peer.put('web', 9001);
  const sink = new RecordingSink();
  (await registryAt(t, peer)).subscribe(web, sink);
  await eventually(() => sink.told.length === 1);
  peer.pushInfo('web', { reachProtectionThreshold: true });
  await eventually(() => expect(sink.told).toEqual(['9001 unknown 1']));
  peer.pushInfo('web', { hosts: [] });
  await eventually(() => expect(sink.last).toEqual({ endpoints: [], suspicion: 'emptied' }));
});

it('subscribes and registers anew on another connection, and says that it was away', async (t) => {
  const peer = await peerOf(t);
  const registry = await registryAt(t, peer);
  const sink = new RecordingSink();
  registry.subscribe({ name: 'me', tags: ['a'] }, sink);
  await eventually(() => sink.sets.length === 1);
  const self = { service: 'me', id: 'me', host: '127.0.0.1', port: 7001, weight: 3.5, tags: ['a'], metadata: {} };
  const registered = await registry.register!({ ...self, ttlMs: 5000 });
  await eventually(() => expect(sink.told).toEqual(['7001 up 3.5']));
  await peer.goAway();
  await eventually(() => sink.errors.length > 0);
  expect(sink.told).toEqual(['7001 up 3.5']);
  await peer.comeBack();
  await eventually(() => sink.sets.some(({ suspicion }) => suspicion === 'after-reconnect'));
  await eventually(() => expect(sink.told).toEqual(['7001 up 3.5']));
  await registered.deregister();
  await eventually(() => expect(sink.told).toEqual([]));
});

it('answers the question whether it lives, and goes when it is sent away', async (t) => {
  const peer = await peerOf(t);
  const sink = new RecordingSink();
  (await registryAt(t, peer)).subscribe(web, sink);
  await eventually(() => sink.sets.length === 1);
  peer.send('ClientDetectionRequest');
  await eventually(() => peer.asked.includes('ClientDetectionResponse'));
  peer.send('ConnectResetRequest');
  await eventually(() => peer.asked.filter((type) => type === 'ConnectionSetupRequest').length === 2);
  await eventually(() => sink.last?.suspicion === 'after-reconnect');
});

it('makes a new connection where the server has forgotten the one there is', async (t) => {
  const peer = await peerOf(t);
  const sink = new RecordingSink();
  const registry = await registryAt(t, peer);
  registry.subscribe(web, sink);
  await eventually(() => sink.sets.length === 1);
  let refusals = 0;
  peer.answerWith = (type, answer) =>
    type === 'SubscribeServiceRequest' && refusals++ === 0 ? { resultCode: 500, errorCode: 301 } : answer;
  const other = new RecordingSink();
  registry.subscribe({ name: 'other', tags: [] }, other);
  await eventually(() => other.sets.length > 0);
  expect(peer.asked.filter((type) => type === 'ConnectionSetupRequest')).toHaveLength(2);
});

it('says that it is refused, and takes nothing away', async (t) => {
  const peer = await peerOf(t);
  peer.put('web', 9001);
  const sink = new RecordingSink();
  const registry = await registryAt(t, peer);
  const subscription = registry.subscribe(web, sink);
  await eventually(() => sink.told.length === 1);
  peer.answerWith = (type, answer) =>
    type === 'HealthCheckRequest' ? answer : { resultCode: 500, errorCode: 403, message: 'no permission' };
  subscription.refresh!();
  await eventually(() => sink.errors.length > 0);
  expect(sink.errors[0]).toMatchObject({ code: 'registry-denied', retryable: false });
  expect(sink.told).toEqual(['9001 up 1']);
  const self = { service: 'me', id: 'me', host: '127.0.0.1', port: 1, weight: 1, tags: [], metadata: {}, ttlMs: 5000 };
  await expect(registry.register!(self)).rejects.toMatchObject({ code: 'registry-denied' });
});

it('leaves no timer of a registration that is under way when it is closed', async (t) => {
  const peer = await peerOf(t);
  const registry = await registryAt(t, peer);
  const timers = () => process.getActiveResourcesInfo().filter((kind) => kind === 'Timeout').length;
  const self = { service: 'me', id: 'me', host: '127.0.0.1', port: 7001, weight: 1, tags: [], metadata: {} };
  const before = timers();
  const registering = registry.register!({ ...self, ttlMs: 5000 });
  await registry.close();
  await registering;
  expect(timers()).toBeLessThanOrEqual(before);
});
