import { z } from 'zod';
import { hostPort, parseHostPort } from '../base/literals.ts';

/** 0…65535 with at most two decimals; 0 takes no new traffic of its own. */
export function weight(): z.ZodType<number, number> {
  return z
    .number()
    .min(0)
    .max(65_535)
    .transform((value) => Math.round(value * 100) / 100) as unknown as z.ZodType<number, number>;
}

/** The fields of an endpoint that somebody writes down. */
export const staticEndpointFields = z.strictObject({
  address: hostPort()
    .refine((text) => parseHostPort(text)?.port !== 0, { error: 'an endpoint needs a port of 1…65535' })
    .describe('127.0.0.1:9001, [::1]:9001 or name:9001; a name is resolved and every address becomes an endpoint'),
  weight: weight().describe('share of the traffic; 0…65535, two decimals kept; 0 takes no new traffic').prefault(1),
  zone: z.string().describe('where it runs').prefault(''),
  backup: z.boolean().describe('used only when no other endpoint is available').prefault(false),
  version: z.string().describe('of what runs there').prefault(''),
  tags: z.array(z.string()).describe('free words').prefault([]),
  metadata: z.record(z.string(), z.string()).describe('free names and values').prefault({}),
});

/** Schema of one entry of a pool's `endpoints:`. */
export const staticEndpoint = staticEndpointFields.transform(toStaticEndpoint);

/** An endpoint as the document names it. Read by app, which hands it to the pool when the name is resolved. */
export interface StaticEndpoint {
  /** IPv4, IPv6 without brackets, or a name that main resolves. */
  readonly host: string;
  readonly port: number;
  readonly weight: number;
  readonly zone: string;
  readonly backup: boolean;
  readonly version: string;
  readonly tags: readonly string[];
  readonly metadata: Readonly<Record<string, string>>;
}

export function toStaticEndpoint({ address, ...rest }: z.output<typeof staticEndpointFields>): StaticEndpoint {
  return { ...parseHostPort(address)!, ...rest };
}
