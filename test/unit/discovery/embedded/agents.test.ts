import { describe, expect, it } from 'vitest';
import { ManualClock } from '../../../../src/base/clock.ts';
import { Agents } from '../../../../src/discovery/embedded/agents.ts';
import type { ApiCall } from '../../../../src/discovery/embedded/api-call.ts';
import { CheckTargets } from '../../../../src/discovery/embedded/check-targets.ts';
import { noJournal } from '../../../../src/discovery/embedded/journal.ts';
import { RegistryState } from '../../../../src/discovery/embedded/registry-state.ts';

const from = (peer: string) => ({ peer }) as ApiCall;
const service = (id: string) => ({
  id,
  name: id,
  tags: [],
  meta: null,
  address: '',
  port: 1,
  taggedAddresses: null,
  weights: { Passing: 1, Warning: 1 },
  enableTagOverride: false,
});

describe('Agents', () => {
  const state = new RegistryState(1, new ManualClock(), noJournal);
  const agents = new Agents(state);

  it('names a node after the address that calls, one for all of loopback', () => {
    expect(agents.specOf(from('10.0.0.5'))).toMatchObject({ name: '10-0-0-5', address: '10.0.0.5' });
    expect(agents.specOf(from('fd00::7'))).toMatchObject({ name: 'fd00-7', address: 'fd00::7' });
    expect(agents.specOf(from('::1'))).toEqual(agents.specOf(from('127.0.0.9')));
    expect(agents.specOf(from('::1')).address).toBe('127.0.0.1');
    expect(agents.specOf(from('10.0.0.5')).id).not.toBe(agents.specOf(from('10.0.0.6')).id);
  });

  it("prefers the caller's own service, else takes the only one with that ID, and none of several", () => {
    const mine = state.register(agents.specOf(from('10.0.0.5')), service('web'), [], false);
    const theirs = state.register(agents.specOf(from('10.0.0.6')), service('web'), [], false);
    const only = state.register(agents.specOf(from('10.0.0.6')), service('db'), [], false);
    expect(agents.service(from('10.0.0.5'), 'web')).toBe(mine);
    expect(agents.service(from('10.0.0.6'), 'web')).toBe(theirs);
    expect(agents.service(from('10.0.0.7'), 'web')).toBeNull();
    expect(agents.service(from('10.0.0.7'), 'db')).toBe(only);
  });
});

describe('CheckTargets', () => {
  const targets = new CheckTargets(['192.168.0.0/16', 'fd00::1']);

  it("allows a registrant's own address and what is allowed to all", () => {
    expect(targets.isAllowed('10.0.0.5', '10.0.0.5')).toBe(true);
    expect(targets.isAllowed('::ffff:10.0.0.5', '10.0.0.5')).toBe(true);
    expect(targets.isAllowed('192.168.3.4', '10.0.0.5')).toBe(true);
    expect(targets.isAllowed('fd00::1', '10.0.0.5')).toBe(true);
  });

  it('refuses others, and loopback to whoever is not on it', () => {
    expect(targets.isAllowed('10.0.0.6', '10.0.0.5')).toBe(false);
    expect(targets.isAllowed('127.0.0.1', '10.0.0.5')).toBe(false);
    expect(targets.isAllowed('::1', '10.0.0.5')).toBe(false);
    expect(targets.isAllowed('::ffff:127.0.0.1', '10.0.0.5')).toBe(false);
    expect(targets.isAllowed('0.0.0.0', '10.0.0.5')).toBe(false);
    expect(targets.isAllowed('127.0.0.2', '127.0.0.1')).toBe(true);
    expect(targets.isAllowed('169.254.169.254', '127.0.0.1')).toBe(false);
  });

  it('refuses an allowance that is no address', () => {
    expect(() => new CheckTargets(['example.com'])).toThrow('not an address');
  });
});
