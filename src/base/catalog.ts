import { z } from 'zod';

/**
 * One kind of part: a scheduler, a registry, a probe, a middleware. Its file exports one of these beside its class; the folder's
 * `catalog.ts` lists it in one line. From that line come the configuration schema, `evenkeel list`, the docs' tables and the law tests.
 */
export interface Kind<Part, Context> {
  /** The word in `kind:`. */
  readonly kind: string;
  /** One line for `evenkeel list` and the docs. */
  readonly summary: string;
  /** Options besides `kind`; every option carries `.describe()` and a default unless it is required. */
  readonly options: z.ZodObject;
  /** Constructs without effects. `options` is what this kind's schema put out. */
  // biome-ignore lint/suspicious/noExplicitAny: a catalog holds kinds of different options; each kind types its own
  create(options: any, context: Context): Part;
}

/** All kinds of one sort, by name. */
export class Catalog<Part, Context> {
  /** What the kinds are, in the singular: `scheduler`, `registry`, `probe`, `middleware`. */
  readonly noun: string;
  readonly kinds: ReadonlyMap<string, Kind<Part, Context>>;

  constructor(noun: string, kinds: readonly Kind<Part, Context>[]) {
    this.noun = noun;
    this.kinds = new Map(kinds.map((kind) => [kind.kind, kind]));
    if (this.kinds.size !== kinds.length) throw new Error(`two ${noun} kinds have the same name`);
  }

  /** Builds a part from validated settings (`kind` and the kind's options). */
  create(settings: KindSettings, context: Context): Part {
    const kind = this.kinds.get(settings.kind);
    if (kind === undefined) throw new Error(`no ${this.noun} of kind ${settings.kind}`);
    return kind.create(settings, context);
  }

  /** Schema of `{ kind, ...options }`; where every option has a default, the bare word is accepted too and becomes `{ kind }`. */
  schema(): z.ZodType<KindSettings> {
    const variants = [...this.kinds.values()].map((kind) =>
      kind.options
        .extend({ kind: z.literal(kind.kind) })
        .strict()
        .describe(kind.summary),
    );
    const object = z.discriminatedUnion('kind', variants as unknown as [z.ZodObject<{ kind: z.ZodLiteral<string> }>]);
    const words = z.enum([...this.kinds.keys()] as [string, ...string[]]).transform((kind) => ({ kind }));
    return z.union([words.pipe(object), object]) as unknown as z.ZodType<KindSettings>;
  }
}

/** A validated `{ kind, ...options }`. */
export interface KindSettings {
  readonly kind: string;
  readonly [option: string]: unknown;
}
