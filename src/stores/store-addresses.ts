import { z } from 'zod';

/** One http(s) address or a list of them, with a path or without; comes out as a list without slashes at the ends. Credentials have keys of their own. */
export function storeAddresses(example: string): z.ZodType<string[], string | string[] | undefined> {
  const error = `write it as ${example}; a user and a password have keys of their own`;
  const address = z
    .string()
    .refine(isAddress, { error })
    .transform((text) => text.replace(/\/+$/, ''));
  const list = z.array(address).min(1, { error: 'name at least one address' });
  return z.union([address.transform((one) => [one]), list], { error }).prefault(example) as unknown as z.ZodType<
    string[],
    string | string[] | undefined
  >;
}

function isAddress(text: string): boolean {
  const url = URL.parse(text);
  return url !== null && /^https?:$/.test(url.protocol) && url.search === '' && url.hash === '' && url.username === '';
}
