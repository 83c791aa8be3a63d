import { describe, expect, it } from 'vitest';
import { echo, tcpOrigin } from '../helpers/echo.ts';
import { eventually } from '../helpers/eventually.ts';
import { startProxy } from '../helpers/proxy.ts';
import { rawClient } from '../helpers/raw-client.ts';
import { refusingPort } from '../helpers/refusing-port.ts';

describe('connections that wait for an endpoint with room', () => {
  it('are served by the one that a connection before them was refused by', async () => {
    await using refusing = await refusingPort();
    await using steady = await tcpOrigin(echo);
    const proxy = await startProxy({
      runtime: { workers: 1 },
      listeners: [{ name: 'redis', bind: '127.0.0.1:0', protocol: 'tcp', pool: 'redis' }],
      pools: {
        redis: {
          endpoints: [{ address: refusing.address }, { address: steady.address }],
          scheduler: 'weighted-round-robin',
          ejection: 'off',
          limits: { active: 1, pendingTimeout: 'off' },
        },
      },
    });
    const open = () => rawClient(proxy.port());
    const pending = async () => (await proxy.api('/api/v1/pools/redis')).pending;
    try {
      await using _busy = await open();
      await eventually(() => steady.open === 1);
      await using refused = await open();
      await eventually(async () => (await pending()) === 1);
      await using revived = await tcpOrigin(echo, { port: refusing.port });
      const early = await open();
      await eventually(() => revived.open === 1);
      await using late = await open();
      await eventually(async () => (await pending()) === 2);
      await early[Symbol.asyncDispose]();
      late.write('late');
      expect(await late.until(() => (late.receivedLength === 4 ? late.take(4).toString() : null), 'an echo')).toBe(
        'late',
      );
      expect([revived.sockets.length, refused.over]).toEqual([2, null]);
    } finally {
      await proxy.stop();
    }
  });
});
