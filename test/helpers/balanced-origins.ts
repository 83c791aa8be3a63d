import { type Origin, startOrigin } from './origin.ts';

/** Endpoints of a test, named a, b, c…; each answers with its name. Closed together. */
export interface BalancedOrigins extends AsyncDisposable {
  readonly all: readonly Origin[];
  readonly [index: number]: Origin;
  /** As a pool's `endpoints`. */
  readonly settings: { readonly address: string }[];
}

export async function startOrigins(count: number): Promise<BalancedOrigins> {
  const all = await Promise.all(Array.from({ length: count }, (_, i) => startOrigin({ name: 'abcdef'[i] })));
  return {
    all,
    ...all,
    settings: all.map(({ address }) => ({ address })),
    async [Symbol.asyncDispose]() {
      await Promise.all(all.map((origin) => origin[Symbol.asyncDispose]()));
    },
  };
}
