import { connect } from 'node:net';
import { describe, expect, it } from 'vitest';
import { type ProxyHeader, ProxyHeaderReader, ProxyStatus, Tlv } from '../../src/wire/proxy-protocol.ts';
import { tcpOrigin } from '../helpers/echo.ts';
import { eventually } from '../helpers/eventually.ts';
import { type RunningProxy, startProxy } from '../helpers/proxy.ts';
import { RawClient } from '../helpers/raw-client.ts';
import { requireServer } from '../helpers/require-server.ts';
import { findHaproxy, startHaproxy } from './haproxy.ts';

/** Tells who it takes the client for, and what was said of it. */
const TELLER = `http-request return status 200 content-type text/plain lf-string "%[src] %[fc_pp_authority] %[fc_pp_unique_id,hex]"`;

async function ask(port: number, localAddress: string): Promise<string> {
  await using client = new RawClient(connect({ port, host: '127.0.0.1', localAddress }));
  return (await client.ask('GET', '/')).text;
}

describe.skipIf(requireServer('haproxy', findHaproxy()))(
  'HAProxy speaks the PROXY protocol, version 2, with evenkeel',
  () => {
    it.each(['tcp', 'http'])('takes it, of a listener of %s', async (protocol) => {
      await using behind = await startHaproxy(
        1,
        ([port]) => `
frontend told
  mode http
  bind 127.0.0.1:${port} accept-proxy
  ${TELLER}`,
      );
      await using proxy = await startProxy({
        listeners: [{ name: 'l', bind: '127.0.0.1:0', protocol, pool: 'p' }],
        pools: { p: { endpoints: [{ address: `127.0.0.1:${behind.ports[0]}` }], proxyProtocol: 'v2' } },
      });
      for (const address of ['127.0.0.7', '127.0.0.8'])
        expect(await ask(proxy.port(), address)).toMatch(new RegExp(`^${address}  [0-9A-F]{32}$`));
    });

    it('sends it: the client and its values arrive, and its checks, which speak for itself, do not fail', async () => {
      const seen: (ProxyHeader | null)[] = [];
      await using origin = await tcpOrigin((socket) => {
        let bytes: Buffer = Buffer.alloc(0);
        socket.on('data', (piece) => {
          bytes = Buffer.concat([bytes, piece as Buffer]);
          const reader = new ProxyHeaderReader();
          if (reader.read(bytes) !== ProxyStatus.COMPLETE) return;
          seen.push(reader.header);
          bytes = Buffer.alloc(0);
          socket.removeAllListeners('data').resume();
          socket.end(reader.header?.sourceAddress ?? 'nobody');
        });
      });
      await using proxy = await inFront(origin.address);
      await using before = await startHaproxy(
        2,
        ([port, stats]) => `
listen before
  mode tcp
  bind 127.0.0.1:${port}
  unique-id-format %ci:%cp
  option tcp-check
  tcp-check expect string 127.0.0.1
  server e 127.0.0.1:${proxy.port()} send-proxy-v2 proxy-v2-options crc32c,unique-id check inter 100ms rise 1 fall 1
backend connecting
  mode tcp
  server e 127.0.0.1:${proxy.port()} send-proxy-v2 check inter 50ms
listen stats
  mode http
  bind 127.0.0.1:${stats}
  http-request return status 200 content-type text/plain lf-string "%[srv_is_up(before/e)]"`,
      );
      await using client = new RawClient(
        connect({ port: before.ports[0], host: '127.0.0.1', localAddress: '127.0.0.7' }),
      );
      client.write('hello');
      expect(await client.until(() => (client.over === null ? null : client.received.toString()), 'an end')).toBe(
        '127.0.0.7',
      );
      const header = seen.find((one) => one?.sourceAddress === '127.0.0.7')!;
      expect(header.destinationPort).toBe(before.ports[0]);
      const values = new Map(header.tlvs.map(({ type, value }) => [type, value.toString()]));
      expect(values.get(Tlv.UNIQUE_ID)).toBe(`127.0.0.7:${header.sourcePort}`);
      // It was true of another header.
      expect(values.has(Tlv.CRC32C)).toBe(false);
      // A check says LOCAL, and goes by a reset, most often before anybody looks: it is evenkeel's peer itself that the endpoint hears of.
      await eventually(() => seen.filter((one) => one?.sourceAddress === '127.0.0.1').length > 2);
      expect(await ask(before.ports[1], '127.0.0.1')).toBe('1');
      expect(await proxy.metric('evenkeel_rejected_total', { reason: 'proxy-protocol' })).toBe(0);
    });

    it('on both sides: who stands behind two proxies knows the client', async () => {
      await using behind = await startHaproxy(
        1,
        ([port]) => `
frontend told
  mode http
  bind 127.0.0.1:${port} accept-proxy
  ${TELLER}`,
      );
      await using proxy = await inFront(`127.0.0.1:${behind.ports[0]}`);
      await using before = await startHaproxy(
        1,
        ([port]) => `
listen before
  mode tcp
  bind 127.0.0.1:${port}
  unique-id-format 4711
  server e 127.0.0.1:${proxy.port()} send-proxy-v2 proxy-v2-options unique-id`,
      );
      // The identifier that the first one gave it, in hexadecimal.
      expect(await ask(before.ports[0], '127.0.0.7')).toBe('127.0.0.7  34373131');
    });

    /** Takes the header and passes it on. */
    function inFront(address: string): Promise<RunningProxy> {
      return startProxy({
        listeners: [
          { name: 'l', bind: '127.0.0.1:0', protocol: 'tcp', pool: 'p', proxyProtocol: { from: ['127.0.0.1'] } },
        ],
        pools: { p: { endpoints: [{ address }], proxyProtocol: 'v2' } },
      });
    }
  },
);
