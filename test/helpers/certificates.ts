import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { findProgram } from './processes.ts';

/** A certificate and its key, as PEM text and as files. */
export interface Pair {
  readonly cert: string;
  readonly key: string;
  readonly certFile: string;
  readonly keyFile: string;
}

/** The path of openssl, or null: Node can read certificates but not make them. */
export function findOpenssl(): string | null {
  return findProgram('openssl', ['/usr/bin', '/usr/local/bin', '/opt/homebrew/bin']);
}

/** An authority that tests make for themselves, in a folder of theirs, and the certificates it signs. Keys are EC: RSA ones take seconds. */
export class Authority {
  readonly pair: Pair;
  readonly #directory: string;
  #count = 0;

  constructor(directory: string, name: string) {
    this.#directory = directory;
    this.pair = this.#make(name, ['-x509', '-days', '2', '-subj', `/CN=${name}`]);
  }

  /** A certificate for these names (`DNS:…` or `IP:…` where it is not a DNS name). */
  issue(file: string, names: readonly string[]): Pair {
    const alternatives = names.map((name) => (name.includes(':') ? name : `DNS:${name}`)).join();
    const { certFile, keyFile } = this.pair;
    const signed = ['-x509', '-CA', certFile, '-CAkey', keyFile, '-days', '2', '-subj', `/CN=${file}`];
    const leaf = ['-addext', `subjectAltName=${alternatives}`, '-addext', 'basicConstraints=critical,CA:FALSE'];
    return this.#make(`${file}-${this.#count++}`, [...signed, ...leaf]);
  }

  #make(name: string, options: readonly string[]): Pair {
    const certFile = join(this.#directory, `${name}.pem`);
    const keyFile = join(this.#directory, `${name}.key`);
    const key = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-keyout', keyFile];
    execFileSync(findOpenssl() as string, ['req', ...key, '-out', certFile, ...options], { stdio: 'pipe' });
    return { certFile, keyFile, cert: readFileSync(certFile, 'utf8'), key: readFileSync(keyFile, 'utf8') };
  }
}
