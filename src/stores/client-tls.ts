import { readFile } from 'node:fs/promises';
import { z } from 'zod';
import { OperationError } from '../base/errors.ts';

/** Schema of `tls:` in a registry that is reached over TLS. */
export const clientTls = z.strictObject({
  ca: z.string().describe('PEM file of the authorities to trust').optional(),
  cert: z.string().describe('PEM file of the client certificate').optional(),
  key: z.string().describe('PEM file of its key').optional(),
  serverName: z.string().describe('name the certificate must carry').optional(),
  verify: z.boolean().describe("check the server's certificate").prefault(true),
});

/** What a connection needs of it, as PEM texts. */
export interface ClientTls {
  readonly ca?: string;
  readonly cert?: string;
  readonly key?: string;
  readonly serverName?: string;
  readonly verify: boolean;
}

/** Reads the files. Called when a registry starts; rejects with an OperationError that names the file. */
export async function readClientTls(tls: z.output<typeof clientTls>): Promise<ClientTls> {
  const read = async (file: string | undefined) => {
    if (file === undefined) return undefined;
    try {
      return await readFile(file, 'utf8');
    } catch (cause) {
      throw new OperationError('registry-tls', `the registry's TLS file ${file} cannot be read`, { cause });
    }
  };
  const [ca, cert, key] = await Promise.all([read(tls.ca), read(tls.cert), read(tls.key)]);
  return { ca, cert, key, serverName: tls.serverName, verify: tls.verify };
}
