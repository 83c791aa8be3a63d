import type { IncomingMessage } from 'node:http';
import type { Socket } from 'node:net';
import type { TLSSocket } from 'node:tls';

/** What endpoints are told of the client. `trusts`: whoever sent the request is a proxy whose own words are believed. */
export function forwardedHeaders({ socket, headers }: IncomingMessage, trusts: boolean): Record<string, string> {
  const address = (socket as Socket).remoteAddress ?? '';
  const isSecure = (socket as TLSSocket).encrypted === true;
  const before = trusts ? headers['x-forwarded-for'] : undefined;
  return {
    'x-forwarded-for': before === undefined ? address : `${before}, ${address}`,
    'x-forwarded-proto': (trusts ? asText(headers['x-forwarded-proto']) : '') || (isSecure ? 'https' : 'http'),
    'x-forwarded-host': (trusts ? asText(headers['x-forwarded-host']) : '') || (headers.host ?? ''),
  };
}

function asText(value: string | string[] | undefined): string {
  return typeof value === 'string' ? value : (value?.[0] ?? '');
}
