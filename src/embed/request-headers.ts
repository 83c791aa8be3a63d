import type { IncomingMessage } from 'node:http';
import type { Socket } from 'node:net';
import type { TLSSocket } from 'node:tls';
import { CUT_TRUSTED, CUT_UNTRUSTED } from '../proxy/http1/request-head.ts';
import { fieldOf } from '../wire/http1/field.ts';
import { unmapped } from '../wire/proxy-protocol.ts';

/** Names in lower case. */
export type RequestHeaders = Record<string, string | string[]>;

/** Longer than any name that is more to a proxy than another one. */
const NAME_BYTES = 64;
const nameBytes = Buffer.alloc(NAME_BYTES);

/**
 * What an endpoint is told of a request of a host's server, Host and framing included, as evenkeel's listeners tell it: nothing of the client's
 * connection, and of where the client is only what is seen here. `trusts`: whoever sent the request is a proxy whose own words on that are believed.
 */
export function requestHeaders(request: IncomingMessage, trusts: boolean): RequestHeaders {
  const { headers } = request;
  const passed = passedOn(request, trusts);
  const host = headers.host ?? headers[':authority'];
  if (host !== undefined) passed.host = host;
  passed.connection = 'keep-alive';
  // Never both (RFC 9112 §6.3).
  if (headers['transfer-encoding'] !== undefined) passed['transfer-encoding'] = headers['transfer-encoding'];
  else if (headers['content-length'] !== undefined) passed['content-length'] = headers['content-length'];
  if (/(^|,)\s*trailers\s*(,|$)/i.test(asText(headers.te))) passed.te = 'trailers';
  addClient(passed, request, trusts);
  return passed;
}

/** The same for a request that is to switch protocols: it has no body. */
export function upgradeHeaders(request: IncomingMessage, trusts: boolean): RequestHeaders {
  const {
    'transfer-encoding': _coding,
    'content-length': _length,
    te: _te,
    ...passed
  } = requestHeaders(request, trusts);
  return { ...passed, connection: 'Upgrade', upgrade: request.headers.upgrade ?? '' };
}

function passedOn(request: IncomingMessage, trusts: boolean): RequestHeaders {
  const cut = trusts ? CUT_TRUSTED : CUT_UNTRUSTED;
  const options = new Set(
    asText(request.headers.connection)
      .toLowerCase()
      .split(/\s*,\s*/),
  );
  const passed: RequestHeaders = {};
  for (const [name, value] of Object.entries(request.headers)) {
    if (value === undefined || name.startsWith(':') || cut[kindOf(name)] === 1) continue;
    if (options.has(name) && isClients(request, name, value)) continue;
    passed[name] = value;
  }
  // Node has told the client to go on.
  delete passed.expect;
  return passed;
}

function kindOf(name: string): number {
  return fieldOf(nameBytes, 0, nameBytes.write(name, 'latin1'));
}

/** A client's Connection header takes away fields of its own, not what the host put in their place (who is logged in, say). */
function isClients(request: IncomingMessage, name: string, value: string | string[]): boolean {
  return request.headersDistinct?.[name]?.join(', ') === asText(value);
}

function addClient(passed: RequestHeaders, { socket, headers }: IncomingMessage, trusts: boolean): void {
  const address = unmapped((socket as Socket).remoteAddress ?? '');
  const proto = (socket as TLSSocket).encrypted === true ? 'https' : 'http';
  const after = (name: string) => (trusts && headers[name] !== undefined ? `${asText(headers[name])}, ` : '');
  passed['x-forwarded-for'] = `${after('x-forwarded-for')}${address}`;
  passed['x-forwarded-proto'] ??= proto;
  if (passed.host !== undefined) passed['x-forwarded-host'] ??= passed.host;
  if (headers['x-real-ip'] !== undefined) passed['x-real-ip'] ??= address;
  if (headers.forwarded === undefined) return;
  const node = address.includes(':') ? `"[${address}]"` : address;
  passed.forwarded = `${after('forwarded')}for=${node};proto=${proto}`;
}

function asText(value: string | string[] | undefined): string {
  return typeof value === 'string' ? value : (value?.join(', ') ?? '');
}
