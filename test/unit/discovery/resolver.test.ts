import { afterEach, describe, expect, it } from 'vitest';
import { type Lookup, NameResolver } from '../../../src/discovery/name-resolver.ts';
import type { RegistryEndpoint } from '../../../src/discovery/registry.ts';
import { EndpointResolver } from '../../../src/discovery/resolver.ts';
import { eventually } from '../../helpers/eventually.ts';
import { registryEndpoint } from '../../helpers/registry-endpoint.ts';

describe('EndpointResolver', () => {
  const closers: (() => void)[] = [];
  afterEach(() => {
    for (const close of closers.splice(0)) close();
  });

  function bench(lookup?: Lookup, everyMs = 20, lateMs?: number) {
    const sets: string[][] = [];
    const log: string[] = [];
    const lookups: string[] = [];
    const names = new NameResolver({
      random: () => 0.5,
      log: (level, message, fields) => void log.push(`${level} ${message} ${JSON.stringify(fields)}`),
      everyMs,
      lateMs,
      ...(lookup === undefined ? {} : { lookup: (name) => (lookups.push(name), lookup(name)) }),
    });
    const resolver = new EndpointResolver(names, (set) => sets.push(set.map(shown)));
    closers.push(
      () => resolver.close(),
      () => names.close(),
    );
    return { sets, log, lookups, names, resolver };
  }

  const shown = ({ host, port, metadata }: RegistryEndpoint) =>
    `${host}:${port}${metadata.name === undefined ? '' : ` ${metadata.name}`}`;
  const named = (host: string, port = 80) => registryEndpoint(port, { host });
  const answer = (...addresses: string[]) => Promise.resolve(addresses.map((address) => ({ address })));

  it('passes a set without names at once, as it is', () => {
    const { sets, resolver, lookups } = bench();
    resolver.update([registryEndpoint(1), registryEndpoint(2)]);
    expect(sets).toEqual([['10.0.0.1:1', '10.0.0.1:2']]);
    expect(lookups).toEqual([]);
  });

  it('resolves localhost as the system does', async () => {
    const { sets, resolver } = bench();
    resolver.update([named('localhost', 9001)]);
    await eventually(() => sets.length > 0);
    expect(sets[0]).toContain('127.0.0.1:9001 localhost');
  });

  it('makes an endpoint of every address, in the place of its name, and merges what two names share', async () => {
    const answers: Record<string, string[]> = { a: ['10.0.0.1', '10.0.0.2'], b: ['10.0.0.2', '::1'] };
    const { sets, resolver } = bench((name) => answer(...answers[name]), 60_000);
    resolver.update([named('a'), named('b'), registryEndpoint(80, { host: '10.0.0.9' })]);
    await eventually(() => sets.at(-1)?.length === 4);
    expect(sets.at(-1)!.map((id) => id.split(' ')[0])).toEqual(['10.0.0.1:80', '10.0.0.2:80', '::1:80', '10.0.0.9:80']);
  });

  it('tells what is known before a slow name answers', async () => {
    const { sets, resolver } = bench(() => new Promise(() => {}));
    resolver.update([named('slow'), registryEndpoint(1)]);
    expect(sets).toEqual([['10.0.0.1:1']]);
    resolver.update([named('slow')]);
    expect(sets).toHaveLength(1);
  });

  it('follows a name that moves, and keeps its last addresses when it cannot be resolved', async () => {
    let now = () => answer('10.0.0.1');
    const { sets, resolver, log } = bench(() => now());
    resolver.update([named('a')]);
    await eventually(() => sets.length === 1);
    now = () => answer('10.0.0.2');
    await eventually(() => sets.length === 2);
    expect(sets[1]).toEqual(['10.0.0.2:80 a']);
    now = () => Promise.reject(Object.assign(new Error('x'), { code: 'EAI_AGAIN' }));
    await eventually(() => log.length === 1);
    now = () => answer();
    await eventually(() => log.length === 2);
    expect(sets).toHaveLength(2);
    now = () => answer('10.0.0.3');
    await eventually(() => sets.length === 3);
    expect(log.map((line) => line.split(' ')[0])).toEqual(['warn', 'warn', 'info']);
  });

  it('takes another’s place without asking for a name anew, and tells nothing but whole sets, also when names cannot be resolved now', async () => {
    let now = () => answer('10.0.0.1');
    const { sets, resolver, names, lookups } = bench(() => now(), 60_000);
    resolver.update([named('a'), registryEndpoint(1)]);
    await eventually(() => sets.at(-1)?.length === 2);
    now = () => Promise.reject(Object.assign(new Error('x'), { code: 'EAI_AGAIN' }));
    const told: string[][] = [];
    const next = new EndpointResolver(names, (set) => told.push(set.map(shown)), resolver);
    closers.push(() => next.close());
    // What a registry answers comes later.
    await new Promise((resolve) => setImmediate(resolve));
    expect(names.addressesOf('a')).toEqual(['10.0.0.1']);
    next.update([named('a', 81), registryEndpoint(1)]);
    expect(told).toEqual([['10.0.0.1:81 a', '10.0.0.1:1']]);
    expect(lookups).toEqual(['a']);
    const before = sets.length;
    next.close();
    expect(names.addressesOf('a')).toBeNull();
    expect(sets.length).toBe(before);
  });

  it('closes whom it would have replaced when it is closed before it has a set', async () => {
    const { resolver, names } = bench(() => answer('10.0.0.1'), 60_000);
    resolver.update([named('a')]);
    await eventually(() => names.addressesOf('a') !== null);
    const second = new EndpointResolver(names, () => {}, resolver);
    const third = new EndpointResolver(names, () => {}, second);
    expect(names.addressesOf('a')).not.toBeNull();
    third.close();
    expect(names.addressesOf('a')).toBeNull();
  });

  it('goes on asking for other names while two hang: these wait aside, one at a time, also the next time they are due', async () => {
    const hanging = new Map<string, () => void>();
    let isStuck = true;
    const { names, lookups } = bench(
      (name) =>
        isStuck && name.startsWith('slow')
          ? new Promise((resolve) => hanging.set(name, () => resolve([{ address: '10.0.0.9' }])))
          : answer('10.0.0.1'),
      20,
      30,
    );
    const asked = (name: string) => lookups.filter((one) => one === name).length;
    for (const name of ['slow1', 'slow2', 'a', 'b']) names.watch(name, () => {});
    expect(lookups).toEqual(['slow1', 'slow2']);
    await eventually(() => asked('a') > 3 && asked('b') > 3);
    expect(hanging.size).toBe(2);
    for (const end of hanging.values()) end();
    hanging.clear();
    await eventually(() => hanging.size === 1);
    const before = asked('a');
    await eventually(() => asked('a') > before + 3);
    // Both are due by now, and the quick have two places as ever.
    expect(hanging.size).toBe(1);
    isStuck = false;
    for (const end of hanging.values()) end();
    await eventually(() => asked('slow1') > 5 && asked('slow2') > 5);
  });

  it('refuses link-local addresses that a name has', async () => {
    const { sets, resolver, log } = bench(() => answer('169.254.169.254'), 60_000);
    resolver.update([named('2852039166')]);
    await eventually(() => sets.length === 1);
    expect(sets[0]).toEqual([]);
    expect(log[0]).toContain('169.254.169.254');
  });

  it('asks once for a name of many pools, two names at a time, and stops when nobody uses it', async () => {
    let running = 0;
    let most = 0;
    const { names, lookups } = bench(async () => {
      most = Math.max(most, ++running);
      await new Promise((resolve) => setImmediate(resolve));
      running--;
      return [{ address: '10.0.0.1' }];
    });
    const resolvers = Array.from({ length: 6 }, () => new EndpointResolver(names, () => {}));
    for (const resolver of resolvers) resolver.update(['a', 'b', 'c', 'd'].map((name) => named(name)));
    await eventually(() => lookups.length >= 4);
    expect(lookups.slice(0, 4)).toEqual(['a', 'b', 'c', 'd']);
    expect(most).toBe(2);
    for (const resolver of resolvers) resolver.close();
    expect(names.addressesOf('a')).toBeNull();
    const { length } = lookups;
    await new Promise((resolve) => setTimeout(resolve, 80));
    expect(lookups.length).toBe(length);
  });
});
