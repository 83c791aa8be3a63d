import type { Socket } from 'node:net';
import { formatProxyHeader, type ProxyHeader, type ProxyTlv, Tlv, unmapped } from '../wire/proxy-protocol.ts';

/** Values that speak of the header they came in or of nothing: never passed on. */
const OWN_TLVS: ReadonlySet<number> = new Set([Tlv.CRC32C, Tlv.NOOP]);

/** The client of a connection: who the PROXY protocol header named, or who connected. IPv4 addresses never as `::ffff:…`. */
export function clientAddressOf(socket: Socket, proxied: ProxyHeader | null): string {
  return proxied === null ? unmapped(socket.remoteAddress ?? '') : proxied.sourceAddress;
}

/**
 * The PROXY protocol header for a connection that is opened for this client's: what came in such a header is passed on; the TLS name and an
 * identifier are added to version 2 where none came.
 */
export function prefaceFor(
  version: 'v1' | 'v2',
  client: Socket,
  proxied: ProxyHeader | null,
  { serverName, uniqueId }: { readonly serverName: string; readonly uniqueId: Buffer },
): Buffer {
  const tlvs: ProxyTlv[] = (proxied?.tlvs ?? []).filter(({ type }) => !OWN_TLVS.has(type));
  const add = (type: number, value: Buffer) => {
    if (value.length > 0 && !tlvs.some((tlv) => tlv.type === type)) tlvs.push({ type, value });
  };
  add(Tlv.AUTHORITY, Buffer.from(serverName, 'latin1'));
  add(Tlv.UNIQUE_ID, uniqueId);
  return formatProxyHeader(version, {
    sourceAddress: clientAddressOf(client, proxied),
    sourcePort: proxied?.sourcePort ?? client.remotePort ?? 0,
    destinationAddress: proxied?.destinationAddress ?? unmapped(client.localAddress ?? ''),
    destinationPort: proxied?.destinationPort ?? client.localPort ?? 0,
    tlvs,
  });
}
