// A client: `fetch` with a dispatcher, the pool named by the URL.   ENDPOINTS=127.0.0.1:9001,127.0.0.1:9002 node fetch-client.js
import { createBalancer } from 'evenkeel';

const endpoints = process.env.ENDPOINTS.split(',').map((address) => ({ address }));
await using balancer = await createBalancer({ pools: { orders: { endpoints } } });
const dispatcher = balancer.dispatcher();
for (let i = 0; i < 20; i++) console.log(await (await fetch('http://orders/', { dispatcher })).text());
