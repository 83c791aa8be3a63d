import type { RegistryEndpoint } from '../../src/discovery/registry.ts';

/** An endpoint as a registry tells it: 10.0.0.1:PORT, up, weight 1, unless said otherwise. */
export function registryEndpoint(port: number, more: Partial<RegistryEndpoint> = {}): RegistryEndpoint {
  return {
    host: '10.0.0.1',
    port,
    weight: 1,
    zone: '',
    version: '',
    backup: false,
    status: 'up',
    tags: [],
    metadata: {},
    generation: '',
    ...more,
  };
}
