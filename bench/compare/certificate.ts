import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { findProgram } from '../rig/machine.ts';

/** A self-signed P-256 certificate for loopback, or null without openssl. */
export function makeCertificate(directory: string): { readonly cert: string; readonly key: string } | null {
  const program = findProgram('openssl');
  if (program === null) return null;
  const files = { cert: join(directory, 'cert.pem'), key: join(directory, 'key.pem') };
  const words = [
    '-newkey',
    'ec',
    '-pkeyopt',
    'ec_paramgen_curve:P-256',
    '-nodes',
    '-days',
    '2',
    '-subj',
    '/CN=localhost',
  ];
  const names = ['-addext', 'subjectAltName=DNS:localhost,IP:127.0.0.1'];
  const { status } = spawnSync(program, [
    ...['req', '-x509', ...words, ...names],
    ...['-keyout', files.key, '-out', files.cert],
  ]);
  return status === 0 ? files : null;
}
