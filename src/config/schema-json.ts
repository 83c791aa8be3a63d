import { z } from 'zod';

/** The part of JSON Schema that zod puts out for documents. */
export interface JsonSchema {
  readonly type?: string | readonly string[];
  readonly description?: string;
  readonly default?: unknown;
  readonly const?: unknown;
  readonly enum?: readonly unknown[];
  readonly properties?: Readonly<Record<string, JsonSchema>>;
  readonly required?: readonly string[];
  readonly additionalProperties?: boolean | JsonSchema;
  readonly patternProperties?: Readonly<Record<string, JsonSchema>>;
  readonly items?: JsonSchema;
  readonly anyOf?: readonly JsonSchema[];
  readonly oneOf?: readonly JsonSchema[];
  readonly allOf?: readonly JsonSchema[];
  readonly [keyword: string]: unknown;
}

/** JSON Schema of what may be written, for editors and for messages: defaults and descriptions come from the parts' options. */
export function jsonSchemaOf(schema: z.ZodType): JsonSchema {
  return z.toJSONSchema(schema, { io: 'input', unrepresentable: 'any' }) as JsonSchema;
}

/** The alternatives of a schema, flattened; those of another `kind` than the value's are left out. */
export function alternatives(schema: JsonSchema, value: unknown): JsonSchema[] {
  const inner = schema.anyOf ?? schema.oneOf ?? schema.allOf;
  if (inner !== undefined) return inner.flatMap((one) => alternatives(one, value));
  const kind = (schema.properties?.kind as JsonSchema | undefined)?.const;
  const found = typeof value === 'object' && value !== null ? (value as { kind?: unknown }).kind : undefined;
  return kind !== undefined && typeof found === 'string' && found !== kind ? [] : [schema];
}

/** Every schema that may hold at a path of `data`. */
export function schemasAt(root: JsonSchema, data: unknown, path: readonly (string | number)[]): JsonSchema[] {
  let schemas = alternatives(root, data);
  let value = data;
  for (const step of path) {
    value = typeof value === 'object' && value !== null ? (value as Record<string | number, unknown>)[step] : undefined;
    const here = value;
    schemas = schemas.flatMap((schema) => {
      const next = typeof step === 'number' ? schema.items : (schema.properties?.[step] ?? schema.additionalProperties);
      return typeof next === 'object' ? alternatives(next, here) : [];
    });
  }
  return schemas;
}

/** Keys that may stand in the map at a path. */
export function knownKeys(root: JsonSchema, data: unknown, path: readonly (string | number)[]): string[] {
  return [...new Set(schemasAt(root, data, path).flatMap((schema) => Object.keys(schema.properties ?? {})))];
}
