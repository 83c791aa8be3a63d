import { describe, expect, it } from 'vitest';
import { compileFilter, shapes } from '../../../../src/discovery/embedded/filter.ts';

const web = {
  Node: { Node: 'n1', Meta: null },
  Service: {
    ID: 'web-1',
    Service: 'web',
    Tags: ['v1', 'zone=a'],
    Meta: { version: '1.2', 'dashed-key': 'x' },
    Port: 80,
    TaggedAddresses: { lan: { Address: '10.0.0.1', Port: 80 } },
    EnableTagOverride: false,
  },
  Checks: [{ Status: 'passing' }, { Status: 'critical' }],
};
const matches = (source: string) => compileFilter(source, shapes.health)?.(web);

describe('filters', () => {
  it.each([
    ['Service.ID == "web-1"', true],
    ['Service.ID != `web-1`', false],
    ['not Service.ID == other', true],
    ['not not Service.ID == other', false],
    ['Service.Port == 80 and Service.EnableTagOverride == false', true],
    ['Service.Port == 81 or v1 in Service.Tags', true],
    ['"zone=a" not in Service.Tags', false],
    ['Service.Tags not contains v2', true],
    ['Service.Meta["dashed-key"] == x', true],
    ['Service.Meta.absent == ""', false],
    ['Service.Meta.absent != 1', true],
    ['Node.Meta is empty', true],
    ['Service.Tags is not empty', true],
    ['Service.TaggedAddresses.lan.Port == 80', true],
    ['Service.TaggedAddresses.wan.Port == 80', false],
    ['version in Service.Meta', true],
    ['Service.ID matches "^web-\\\\d$"', true],
    ['Service.ID not matches web', false],
    ['Checks.Status == critical', true],
    ['Checks.Status == warning', false],
    ['Checks.Status != passing', true],
  ])('%s is %s', (source, expected) => {
    expect(matches(source)).toBe(expected);
  });

  it('binds and stronger than or, and parentheses strongest', () => {
    expect(matches('Service.ID == "web-1" or Service.ID == x and Service.Port == 1')).toBe(true);
    expect(matches('(Service.ID == "web-1" or Service.ID == x) and Service.Port == 1')).toBe(false);
  });

  it('is none for an empty text', () => {
    expect(compileFilter('  ', shapes.health)).toBeNull();
    expect(compileFilter(null, shapes.health)).toBeNull();
  });

  it.each([
    ['Foo == 1', 'Selector "Foo" is not valid'],
    ['Service.constructor == 1', 'Selector "Service.constructor" is not valid'],
    ['Service == 1', 'Invalid match operator "Equal" for selector "Service"'],
    ['Service.Tags == v1', 'Invalid match operator "Equal"'],
    ['Service.Port matches 8', 'Invalid match operator "Matches"'],
    ['Service.Port == eighty', 'Failed to coerce value "eighty"'],
    ['Service.ID ==', 'no match found'],
    ['Service.ID == x and', 'no match found'],
    ['Service.ID == "open', 'no match found'],
    ['(Service.ID == x', 'no match found'],
    [`${'('.repeat(60)}Service.ID == x${')'.repeat(60)}`, 'nested deeper'],
    [`Service.ID == "${'x'.repeat(5000)}"`, 'longer than'],
  ])('refuses %s', (source, message) => {
    expect(() => matches(source)).toThrow(message);
  });
});
