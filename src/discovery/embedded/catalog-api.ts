import type { ApiParts } from './agent-services-api.ts';
import { Answer } from './answer.ts';
import { ApiError } from './api-error.ts';
import { DATACENTER } from './blocking-queries.ts';
import { decodeCatalogCheck } from './decode-check.ts';
import { decodeCatalogService } from './decode-service.ts';
import { compileFilter, shapes } from './filter.ts';
import { kept, nodeMeta, required, serviceSelection } from './health-api.ts';
import type { Fields } from './json-fields.ts';
import type { NodeRecord } from './records.ts';
import type { NodeSpec, RegistryState } from './registry-state.ts';
import type { Router } from './router.ts';
import { topicOf } from './topics.ts';
import { byId, catalogServiceView, inOrder, nodeView, serviceView } from './views.ts';

const TRUE = new Answer(true, false);

/** `/v1/catalog/*`. */
export function serveCatalog(router: Router, parts: ApiParts): void {
  const { state, blocking, journal } = parts;
  const always = () => true;

  router.get('/v1/catalog/datacenters', (call) => call.json(new Answer([DATACENTER], call.flag('pretty'))));

  router.get('/v1/catalog/services', (call) => {
    const fits = nodeMeta(call);
    blocking.answer(call, {
      topic: topicOf.services,
      index: () => state.topics.indexOf(topicOf.services),
      exists: always,
      render: () => {
        const tags = new Map<string, string[]>();
        for (const [name, group] of state.services) {
          const chosen = inOrder(group).filter((service) => fits(service.node.meta));
          if (chosen.length > 0) tags.set(name, [...new Set(chosen.flatMap((service) => service.spec.tags))]);
        }
        return Object.fromEntries([...tags].sort(([a], [b]) => (a < b ? -1 : 1)));
      },
    });
  });

  router.get('/v1/catalog/service/', (call) => {
    const name = required(call, 'service name');
    const fits = serviceSelection(call);
    const keep = compileFilter(call.query.get('filter'), shapes.catalogService);
    blocking.answer(call, {
      topic: topicOf.service(name),
      index: () => state.serviceIndex(name),
      exists: () => state.services.has(name),
      render: () =>
        kept(
          inOrder(state.services.get(name) ?? [])
            .filter(fits)
            .map(catalogServiceView),
          keep,
        ),
    });
  });

  serveNodes(router, parts);

  router.put('/v1/catalog/register', async (call) => {
    registerInCatalog(state, await call.fields());
    await journal.committed();
    call.json(TRUE);
  });

  router.put('/v1/catalog/deregister', async (call) => {
    deregisterFromCatalog(state, await call.fields());
    await journal.committed();
    call.json(TRUE);
  });
}

function serveNodes(router: Router, { state, blocking }: ApiParts): void {
  router.get('/v1/catalog/nodes', (call) => {
    const fits = nodeMeta(call);
    const keep = compileFilter(call.query.get('filter'), shapes.node);
    blocking.answer(call, {
      topic: topicOf.nodes,
      index: () => state.topics.indexOf(topicOf.nodes),
      exists: () => true,
      render: () => {
        const chosen = byId(state.nodes).filter((node) => fits(node.meta));
        return kept(chosen.map(nodeView), keep);
      },
    });
  });

  const serveNode = (path: string, shape: (node: NodeRecord) => unknown) =>
    router.get(path, (call) => {
      const name = required(call, 'node name');
      blocking.answer(call, {
        topic: topicOf.node(name),
        index: () => state.nodeIndex(name),
        exists: () => state.nodes.has(name),
        render: () => {
          const node = state.nodes.get(name);
          return node === undefined ? null : { Node: nodeView(node), Services: shape(node) };
        },
      });
    });
  serveNode('/v1/catalog/node/', (node) =>
    Object.fromEntries(byId(node.services).map((service) => [service.spec.id, serviceView(service)])),
  );
  serveNode('/v1/catalog/node-services/', (node) => byId(node.services).map(serviceView));
}

/** All of it or, when something is wrong with the request, nothing. */
function registerInCatalog(state: RegistryState, fields: Fields): void {
  const name = fields.string('Node');
  if (name === '') throw new ApiError(500, 'Must provide node');
  const address = fields.string('Address');
  const skipNode = fields.boolean('SkipNodeUpdate');
  if (address === '' && !skipNode) throw new ApiError(500, 'Must provide address if SkipNodeUpdate is not set');
  const spec: NodeSpec = {
    name,
    id: fields.string('ID'),
    address,
    taggedAddresses: fields.stringMap('TaggedAddresses'),
    meta: fields.stringMap('NodeMeta'),
    ofRegistrant: false,
  };
  const serviceFields = fields.object('Service');
  const service = serviceFields === null ? null : decodeCatalogService(serviceFields);
  const single = fields.object('Check');
  const checks = [...(single === null ? [] : [single]), ...fields.list('Checks')].map(decodeCatalogCheck);
  const known = state.nodes.get(name);
  for (const { serviceId } of checks) {
    if (serviceId !== '' && serviceId !== service?.id && known?.services.get(serviceId) === undefined)
      throw new ApiError(500, `failed inserting check: Missing service registration on node ${JSON.stringify(name)}`);
  }
  state.asOne(() => {
    // What a registrant's own node is follows from its address, and must not go back and forth with each of its registrations.
    const keeps = known !== undefined && (skipNode || known.ofRegistrant);
    const node = keeps ? known : state.putNode(spec);
    if (service !== null) state.putService(node, service);
    for (const check of checks) state.putCheck(node, check, false);
  });
}

function deregisterFromCatalog(state: RegistryState, fields: Fields): void {
  const name = fields.string('Node');
  if (name === '') throw new ApiError(500, 'Must provide node');
  const node = state.nodes.get(name);
  if (node === undefined) return;
  const serviceId = fields.string('ServiceID');
  const checkId = fields.string('CheckID');
  if (serviceId !== '') {
    const service = node.services.get(serviceId);
    if (service !== undefined) state.removeService(service);
  } else if (checkId !== '') {
    const check = node.checks.get(checkId);
    if (check !== undefined) state.removeCheck(check);
  } else state.removeNode(node);
}
