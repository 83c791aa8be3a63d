import { createHash, timingSafeEqual } from 'node:crypto';
import type { IncomingHttpHeaders } from 'node:http';
import { isIPv4 } from 'node:net';

/** Why a request is turned away. */
export interface Refusal {
  readonly status: 401 | 403;
  readonly code: string;
  readonly message: string;
}

const NO_TOKEN: Refusal = {
  status: 401,
  code: 'unauthorized',
  message: 'send the token of admin.token as "authorization: Bearer TOKEN"',
};
const FOREIGN_HOST: Refusal = {
  status: 403,
  code: 'foreign-host',
  message: 'this name is not one of this API; without a token it answers to loopback names and its own address only',
};
const FOREIGN_ORIGIN: Refusal = {
  status: 403,
  code: 'foreign-origin',
  message: 'requests from other sites are refused',
};

/**
 * Decides who may use the admin API. A web page of another site must not be able to, neither through the browser of somebody who can
 * (Origin) nor by letting its own name resolve to this address (DNS rebinding: Host). With a token, whoever has it may use any name.
 */
export class Guard {
  readonly #token: Buffer | null;
  readonly #boundHost: string;

  /** `token` is '' for none; `boundHost` is the address bound, without brackets. */
  constructor(token: string, boundHost: string) {
    this.#token = token === '' ? null : digest(token);
    this.#boundHost = boundHost;
  }

  /** Null when the request may pass. `isOpen` requests (health, the empty page) need no token. */
  refuse(headers: IncomingHttpHeaders, isOpen: boolean): Refusal | null {
    if (this.#token === null && !this.#isOwnName(headers.host)) return FOREIGN_HOST;
    if (headers.origin !== undefined && !isSameOrigin(headers.origin, headers.host)) return FOREIGN_ORIGIN;
    return isOpen || this.#token === null || this.#hasToken(headers.authorization) ? null : NO_TOKEN;
  }

  #hasToken(authorization: string | undefined): boolean {
    const match = /^bearer +(\S+) *$/i.exec(authorization ?? '');
    return match !== null && timingSafeEqual(digest(match[1]), this.#token as Buffer);
  }

  #isOwnName(host: string | undefined): boolean {
    const name = hostName(host ?? '');
    return name !== null && (isLoopbackName(name) || name === this.#boundHost);
  }
}

/** Whether an address or name always means this machine. */
export function isLoopbackName(name: string): boolean {
  if (isIPv4(name)) return name.startsWith('127.');
  // RFC 6761 section 6.3: names under localhost are never looked up elsewhere.
  return name === '::1' || name === 'localhost' || name.endsWith('.localhost');
}

/** The name in a Host header, in lower case, without port and brackets; null when it is malformed. */
function hostName(host: string): string | null {
  const match = /^(?:\[([0-9a-f:.]+)\]|([^:[\]/@?#\s]+))(?::\d{1,5})?$/i.exec(host);
  return match === null ? null : (match[1] ?? match[2]).toLowerCase();
}

function isSameOrigin(origin: string, host: string | undefined): boolean {
  return /^https?:\/\/(.+)$/i.exec(origin)?.[1].toLowerCase() === host?.toLowerCase();
}

/** Digests have one length, which timingSafeEqual needs, whatever was sent. */
function digest(text: string): Buffer {
  return createHash('sha256').update(text).digest();
}
