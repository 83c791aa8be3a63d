import { Catalog } from '../base/catalog.ts';
import { consulRegistry } from './consul.ts';
import { dnsRegistry } from './dns.ts';
import { embeddedRegistry } from './embedded.ts';
import { etcdRegistry } from './etcd.ts';
import { eurekaRegistry } from './eureka.ts';
import { fileRegistry } from './file.ts';
import { httpRegistry } from './http.ts';
import { kubernetesRegistry } from './kubernetes.ts';
import { nacosRegistry } from './nacos.ts';
import type { Registry, RegistryContext } from './registry.ts';
import { staticRegistry } from './static.ts';
import { zookeeperRegistry } from './zookeeper.ts';

/** Every kind of registry. */
export const registries = new Catalog<Registry, RegistryContext>('registry', [
  staticRegistry,
  consulRegistry,
  embeddedRegistry,
  zookeeperRegistry,
  etcdRegistry,
  eurekaRegistry,
  nacosRegistry,
  kubernetesRegistry,
  dnsRegistry,
  fileRegistry,
  httpRegistry,
]);
