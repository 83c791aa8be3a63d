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
  /** Parts of users, by what stands for them in a judged document. */
  readonly #parts = new Map<string, Kind<Part, Context>>();

  constructor(noun: string, kinds: readonly Kind<Part, Context>[]) {
    this.noun = noun;
    this.kinds = new Map(kinds.map((kind) => [kind.kind, kind]));
    if (this.kinds.size !== kinds.length) throw new Error(`two ${noun} kinds have the same name`);
  }

  /** Takes a part of a user's in. `name` says which file it came from, and which contents it had: the same name is the same part for ever. */
  adopt(name: string, kind: Kind<Part, Context>): void {
    this.#parts.set(name, kind);
  }

  /** Whether a part of this name was taken in. */
  hasPart(name: string): boolean {
    return this.#parts.has(name);
  }

  /** Builds a part from validated settings (`kind` and the kind's options). */
  create(settings: KindSettings, context: Context): Part {
    const kind = this.kinds.get(settings.kind) ?? this.#parts.get(settings.kind);
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
    const parts = [...this.#parts].map(([name, kind]) => partSchema(name, kind));
    variants.push(...(parts as unknown as typeof variants));
    const object = z.discriminatedUnion('kind', variants as unknown as [z.ZodObject<{ kind: z.ZodLiteral<string> }>]);
    const words = z
      .enum([...this.kinds.keys(), ...this.#parts.keys()] as [string, ...string[]])
      .transform((kind) => ({ kind }));
    return z.union([words.pipe(object), object]) as unknown as z.ZodType<KindSettings>;
  }

  /** The same for editors, which know no part before the document names it: a `kind` that is a path goes with any options. */
  openSchema(): z.ZodType<KindSettings> {
    const path = z.string().regex(PART_PATH).describe(`file that exports a ${this.noun}, from the document's place`);
    return z.union([this.schema(), path, z.looseObject({ kind: path })]) as unknown as z.ZodType<KindSettings>;
  }
}

/** What names a user's part in a document: a path that says so, or a file URL. */
export const PART_PATH = /^(\.{0,2}\/|file:)/;

/** Options of a user's part are judged by its own schema, which may be of another copy of zod: only its verdict is used. */
function partSchema(name: string, kind: Pick<Kind<never, never>, 'options' | 'summary'>) {
  const judge = kind.options.strict();
  return z
    .looseObject({ kind: z.literal(name) })
    .describe(kind.summary)
    .transform(({ kind: _, ...given }, context): KindSettings => {
      const { success, data, error } = judge.safeParse(given);
      for (const issue of success ? [] : error.issues) context.addIssue({ ...issue, input: given } as never);
      return { ...data, kind: name };
    });
}

/** A validated `{ kind, ...options }`. */
export interface KindSettings {
  readonly kind: string;
  readonly [option: string]: unknown;
}
