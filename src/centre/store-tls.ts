import { readFileSync } from 'node:fs';
import { OperationError } from '../base/errors.ts';
import type { ClientTls } from '../stores/client-tls.ts';

/**
 * What a store's address says of TLS: `?tls=true`, with `&ca=FILE`, `&cert=FILE`, `&key=FILE`, `&serverName=NAME`, `&verify=false`; null without it.
 * Called when a store is opened, so that a wrong file is told at once. Throws an OperationError that names the file.
 */
export function tlsOf({ searchParams }: URL): ClientTls | null {
  const files = ['ca', 'cert', 'key'] as const;
  if (searchParams.get('tls') !== 'true' && !files.some((name) => searchParams.has(name))) return null;
  const [ca, cert, key] = files.map((name) => read(searchParams.get(name)));
  return {
    ca,
    cert,
    key,
    serverName: searchParams.get('serverName') ?? undefined,
    verify: searchParams.get('verify') !== 'false',
  };
}

function read(file: string | null): string | undefined {
  if (file === null) return undefined;
  try {
    return readFileSync(file, 'utf8');
  } catch (cause) {
    throw new OperationError('bad-store', `the config centre's TLS file ${file} cannot be read`, { cause });
  }
}
