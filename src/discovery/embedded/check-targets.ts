import { type LookupAddress, lookup } from 'node:dns';
import { BlockList, isIP, type LookupFunction } from 'node:net';
import { networkInterfaces } from 'node:os';
import { isLoopback } from './agents.ts';

/** Where a check may not go; the message says so to whoever reads the check's output. */
export class ForbiddenTarget extends Error {
  constructor(address: string) {
    super(`check target ${address} is not allowed: a check may go to its registrant's own address only`);
  }
}

/**
 * Which addresses the registry's checks may connect to. A registry that connects wherever a registrant says is a tool for reaching what the
 * registrant cannot; so a check goes to the address its registration came from. A registrant on this machine may have this machine checked,
 * under any of its addresses; a remote one may not, loopback included. `allow` widens it for everybody: addresses or CIDR blocks.
 */
export class CheckTargets {
  readonly #allowed = new BlockList();

  /** Throws when an entry of `allow` is neither address nor CIDR block. */
  constructor(allow: readonly string[]) {
    for (const entry of allow) {
      const [address, bits] = entry.split('/');
      const family = isIP(address);
      if (family === 0) throw new Error(`${entry} is not an address or CIDR block`);
      const type = family === 4 ? 'ipv4' : 'ipv6';
      if (bits === undefined) this.#allowed.addAddress(address, type);
      else this.#allowed.addSubnet(address, Number(bits), type);
    }
  }

  isAllowed(target: string, registrant: string): boolean {
    const address = target.startsWith('::ffff:') && isIP(target.slice(7)) === 4 ? target.slice(7) : target;
    const family = isIP(address);
    if (family === 0) return false;
    if (address === registrant) return true;
    if (isLoopback(registrant) && (isLoopback(address) || isOfThisMachine(address))) return true;
    return this.#allowed.check(address, family === 4 ? 'ipv4' : 'ipv6');
  }

  /** For `net.connect` and `http.request`: resolves a name to its allowed addresses only. An address in place of a name comes here never. */
  lookupFor(registrant: string): LookupFunction {
    return (hostname, options, callback) => {
      lookup(hostname, { ...options, all: true }, (error, addresses: LookupAddress[]) => {
        if (error !== null) return callback(error, '', 0);
        const allowed = addresses.filter(({ address }) => this.isAllowed(address, registrant));
        if (allowed.length === 0) return callback(new ForbiddenTarget(hostname), '', 0);
        if (options.all === true) callback(null, allowed);
        else callback(null, allowed[0].address, allowed[0].family);
      });
    };
  }

  /** Throws ForbiddenTarget for an address that is not allowed; a name is judged when it is resolved. */
  assertAllowed(host: string, registrant: string): void {
    if (isIP(host) !== 0 && !this.isAllowed(host, registrant)) throw new ForbiddenTarget(host);
  }
}

function isOfThisMachine(address: string): boolean {
  return Object.values(networkInterfaces()).some((list) => list?.some((one) => one.address === address));
}
