import { describe, expect, it } from 'vitest';
import { readNacosService } from '../../../src/discovery/nacos-answer.ts';

function hostWith(more: Record<string, unknown>, service: Record<string, unknown> = {}) {
  const hosts = [{ ip: '10.0.0.1', port: 80, weight: 2, healthy: true, enabled: true, clusterName: 'HZ', ...more }];
  return readNacosService({ name: 'web', groupName: 'G', hosts, ...service }).endpoints[0];
}

describe("Nacos's services", () => {
  it('carry their group beside the name or before it', () => {
    expect(readNacosService({ name: 'web', groupName: 'G' })).toMatchObject({ name: 'web', group: 'G', endpoints: [] });
    expect(readNacosService({ name: 'G@@web', hosts: null })).toMatchObject({ name: 'web', group: 'G' });
    expect(() => readNacosService('no')).toThrow();
  });

  it('have zones: the metadata, else the cluster, but for the one of those that name none', () => {
    expect(hostWith({}).zone).toBe('HZ');
    expect(hostWith({ metadata: { zone: 'a' } }).zone).toBe('a');
    expect(hostWith({ clusterName: 'DEFAULT' }).zone).toBe('');
  });

  it('are up, down, or draining where they are switched off', () => {
    expect(hostWith({}).status).toBe('up');
    expect(hostWith({ healthy: false }).status).toBe('down');
    expect(hostWith({ enabled: false, healthy: false }).status).toBe('draining');
  });

  it('that reached their protect threshold are told as healthy, and nobody knows', () => {
    expect(hostWith({}, { reachProtectionThreshold: true }).status).toBe('unknown');
    expect(hostWith({ enabled: false }, { reachProtectionThreshold: true }).status).toBe('draining');
  });

  it('lose a record that is no endpoint alone', () => {
    const hosts = [{ ip: '10.0.0.1', port: 80 }, 7, { ip: '10.0.0.2', port: 'x' }];
    expect(readNacosService({ name: 'web', hosts })).toMatchObject({ unreadable: 2, endpoints: [{ weight: 1 }] });
  });
});
