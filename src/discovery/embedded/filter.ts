import { LinearPattern, PatternError } from '../../base/linear-pattern.ts';
import { ApiError } from './api-error.ts';
import { type Expression, FilterSyntaxError, parseFilter } from './filter-syntax.ts';

/** What a field of an answer is, for the language's rules of which comparison fits what. */
type Shape =
  | 'string'
  | 'integer'
  | 'boolean'
  | 'strings'
  | 'map'
  | { readonly fields: Readonly<Record<string, Shape>> }
  | { readonly each: Shape }
  | { readonly mapOf: Shape };

const address: Shape = { fields: { Address: 'string', Port: 'integer' } };
const weights: Shape = { fields: { Passing: 'integer', Warning: 'integer' } };
const node = { ID: 'string', Node: 'string', Address: 'string', Datacenter: 'string' } as const;
const agentService = {
  ID: 'string',
  Service: 'string',
  Tags: 'strings',
  Meta: 'map',
  Port: 'integer',
  Address: 'string',
  TaggedAddresses: { mapOf: address },
  Weights: weights,
  EnableTagOverride: 'boolean',
} as const;
const check = {
  Node: 'string',
  CheckID: 'string',
  Name: 'string',
  Status: 'string',
  Notes: 'string',
  Output: 'string',
  ServiceID: 'string',
  ServiceName: 'string',
  ServiceTags: 'strings',
  Type: 'string',
} as const;
const fullNode = { ...node, TaggedAddresses: 'map', Meta: 'map' } as const;

/** The shape of each list that can be filtered. */
export const shapes = {
  health: {
    fields: { Node: { fields: fullNode }, Service: { fields: agentService }, Checks: { each: { fields: check } } },
  },
  check: { fields: check },
  node: { fields: fullNode },
  agentService: { fields: agentService },
  catalogService: {
    fields: {
      ...node,
      TaggedAddresses: 'map',
      NodeMeta: 'map',
      ServiceKind: 'string',
      ServiceID: 'string',
      ServiceName: 'string',
      ServiceTags: 'strings',
      ServiceAddress: 'string',
      ServiceTaggedAddresses: { mapOf: address },
      ServiceWeights: weights,
      ServiceMeta: 'map',
      ServicePort: 'integer',
      ServiceEnableTagOverride: 'boolean',
    },
  },
} as const satisfies Record<string, Shape>;

export type Predicate = (item: unknown) => boolean;

const OPERATOR_NAMES = { equal: 'Equal', in: 'In', empty: 'Is Empty', matches: 'Matches' } as const;

/** The predicate of `?filter=`; null when there is none. Throws a 400 with Consul's words when it cannot be used. */
export function compileFilter(source: string | null, shape: Shape): Predicate | null {
  if (source === null || source.trim() === '') return null;
  try {
    return compile(parseFilter(source), shape);
  } catch (error) {
    if (!(error instanceof FilterSyntaxError || error instanceof PatternError)) throw error;
    throw new ApiError(400, `Failed to create boolean expression evaluator: ${error.message}`);
  }
}

function compile(expression: Expression, shape: Shape): Predicate {
  if (expression.kind === 'not') {
    const operand = compile(expression.operand, shape);
    return (item) => !operand(item);
  }
  if (expression.kind !== 'compare') {
    const left = compile(expression.left, shape);
    const right = compile(expression.right, shape);
    return expression.kind === 'and' ? (item) => left(item) && right(item) : (item) => left(item) || right(item);
  }
  const name = expression.selector.join('.');
  const test = comparison(expression, shapeAt(shape, expression.selector, name), name);
  const { negated, selector } = expression;
  return (item) => anyAt(item, selector, 0, (value) => test(value) !== negated);
}

/** What the selector leads to. */
function shapeAt(shape: Shape, selector: readonly string[], name: string): Shape {
  let here = shape;
  for (const step of selector) {
    if (typeof here === 'object' && 'each' in here) here = here.each;
    let next: Shape | undefined;
    if (here === 'map') next = 'string';
    else if (typeof here === 'object' && 'mapOf' in here) next = here.mapOf;
    else if (typeof here === 'object' && 'fields' in here && Object.hasOwn(here.fields, step)) next = here.fields[step];
    if (next === undefined) throw new FilterSyntaxError(`Selector "${name}" is not valid`);
    here = next;
  }
  return here;
}

/** Whether the test holds for the value; within a list of objects, whether it holds for any of them (the language's rule). */
function anyAt(value: unknown, selector: readonly string[], step: number, test: Predicate): boolean {
  if (step === selector.length) return test(value);
  if (Array.isArray(value)) return value.some((item) => anyAt(item, selector, step, test));
  const known = value !== null && typeof value === 'object' && Object.hasOwn(value, selector[step]);
  return anyAt(known ? (value as Record<string, unknown>)[selector[step]] : undefined, selector, step + 1, test);
}

/** The comparison without its negation. A key that a map does not have gives `undefined`, which equals and contains nothing. */
function comparison(expression: Extract<Expression, { kind: 'compare' }>, shape: Shape, name: string): Predicate {
  const { comparison: operator, value } = expression;
  const unfit = new FilterSyntaxError(`Invalid match operator "${OPERATOR_NAMES[operator]}" for selector "${name}"`);
  const isList = shape === 'strings' || shape === 'map' || (typeof shape === 'object' && !('fields' in shape));
  switch (operator) {
    case 'equal':
      return equal(shape, value, name, unfit);
    case 'matches': {
      if (shape !== 'string') throw unfit;
      const pattern = new LinearPattern(value);
      return (found) => typeof found === 'string' && pattern.test(found);
    }
    case 'empty':
      if (!isList) throw unfit;
      return (found) => found === null || found === undefined || Object.keys(found).length === 0;
    case 'in':
      if (shape === 'string') return (found) => typeof found === 'string' && found.includes(value);
      if (shape === 'strings') return (found) => Array.isArray(found) && found.includes(value);
      if (!isList || (typeof shape === 'object' && 'each' in shape)) throw unfit;
      return (found) => found !== null && typeof found === 'object' && Object.hasOwn(found, value);
  }
}

function equal(shape: Shape, value: string, name: string, unfit: Error): Predicate {
  const uncoercible = () => new FilterSyntaxError(`Failed to coerce value "${value}" for selector "${name}"`);
  if (shape === 'string') return (found) => found === value;
  if (shape === 'integer') {
    if (!/^[+-]?\d+$/.test(value)) throw uncoercible();
    const number = Number(value);
    return (found) => found === number;
  }
  if (shape !== 'boolean') throw unfit;
  const truth = /^(1|t|true)$/i.test(value);
  if (!truth && !/^(0|f|false)$/i.test(value)) throw uncoercible();
  return (found) => found === truth;
}
