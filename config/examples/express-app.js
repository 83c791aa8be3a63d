// An Express app: its own code first, then the pool.   ENDPOINTS=127.0.0.1:9001 PORT=8080 node express-app.js
import { createBalancer } from 'evenkeel';
import express from 'express';

const endpoints = process.env.ENDPOINTS.split(',').map((address) => ({ address }));
const balancer = await createBalancer({ pools: { orders: { endpoints } } });
const app = express();
app.use((request, response, next) => (request.headers['x-user'] ? next() : response.sendStatus(401)));
app.use('/orders', balancer.middleware('orders'));
const server = app.listen(Number(process.env.PORT), '127.0.0.1', () => console.log(`listens on ${server.address().port}`));
server.on('upgrade', balancer.upgrade('orders'));
process.on('SIGTERM', () => server.close(() => balancer.close()));
