// A Fastify app: routes of its own, and a pool behind one of them.   ENDPOINTS=127.0.0.1:9001 PORT=8080 node fastify-app.js
import middie from '@fastify/middie';
import { createBalancer } from 'evenkeel';
import fastify from 'fastify';

const endpoints = process.env.ENDPOINTS.split(',').map((address) => ({ address }));
const balancer = await createBalancer({ pools: { orders: { endpoints } } });
const app = fastify();
await app.register(middie);
app.get('/', () => 'my own page');
app.use('/orders', balancer.middleware('orders'));
app.addHook('onClose', () => balancer.close());
await app.listen({ host: '127.0.0.1', port: Number(process.env.PORT) });
console.log(`listens on ${app.server.address().port}`);
process.on('SIGTERM', () => app.close());
