import { z } from 'zod';

/** What the admin API and a host program may say of an endpoint, as an `EndpointChange`. */
export const endpointChange = z
  .strictObject({
    state: z.enum(['ready', 'drain', 'maintenance']).optional(),
    weight: z.number().min(0).max(65_535).multipleOf(0.01, 'a weight has at most two decimals').optional(),
  })
  .refine((change) => change.state !== undefined || change.weight !== undefined, 'give a state, a weight or both');

/** What is wrong with one, in a line. */
export function changeFault(error: z.ZodError): string {
  return error.issues.map((issue) => [...issue.path, issue.message].join(': ')).join('; ');
}
