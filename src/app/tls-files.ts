import { createPrivateKey, X509Certificate } from 'node:crypto';
import { resolve } from 'node:path';
import { ConfigError, type ConfigProblem } from '../base/errors.ts';
import { readCapped } from '../base/read-capped.ts';
import type { Path } from '../config/path.ts';
import { secureContextOf } from '../endpoint/endpoint-tls.ts';
import type { ListenerOptions, ListenerTls } from '../listener/options.ts';
import { identitiesOf } from '../listener/tls-contexts.ts';
import type { PoolOptions } from '../pool/options.ts';
import type { LoadedDocument } from './document.ts';

/** The authorities of a whole system take about 250 KiB. */
const MAX_FILE_BYTES = 1024 * 1024;

/**
 * Puts the contents of the PEM files a document names in place of their names, pairs checked and built once on trial. Read anew for every
 * reload: a pair counts whole or not at all. Relative names count from the working directory. Throws a ConfigError with every problem.
 */
export async function withTlsFiles(loaded: LoadedDocument): Promise<LoadedDocument> {
  const { listeners, pools } = loaded.document;
  const reader = new TlsReader(loaded.problemAt);
  const secured: ListenerOptions[] = [];
  for (const [i, listener] of listeners.entries())
    secured.push({ ...listener, tls: await reader.listener(listener, ['listeners', i, 'tls']) });
  const reached: Record<string, PoolOptions> = {};
  for (const [name, pool] of Object.entries(pools))
    reached[name] = {
      ...pool,
      tls: await reader.pool(pool.tls, ['pools', name, 'tls']),
      probe: await reader.probe(pool.probe, ['pools', name, 'probe']),
    };
  if (reader.problems.length > 0) throw new ConfigError(reader.problems);
  return { ...loaded, document: { ...loaded.document, listeners: secured, pools: reached } };
}

class TlsReader {
  readonly problems: ConfigProblem[] = [];
  readonly #problemAt: LoadedDocument['problemAt'];

  constructor(problemAt: LoadedDocument['problemAt']) {
    this.#problemAt = problemAt;
  }

  async listener({ name, tls }: ListenerOptions, path: Path): Promise<ListenerTls | null> {
    if (tls === null) return null;
    const before = this.problems.length;
    const certificates: { cert: string; key: string }[] = [];
    for (const [i, files] of tls.certificates.entries())
      certificates.push(await this.#pair(files, [...path, 'certificates', i]));
    const clientCa =
      tls.clientCa === undefined ? undefined : await this.#certificates(tls.clientCa, [...path, 'clientCa']);
    const read = { ...tls, certificates, clientCa };
    if (this.problems.length === before) this.#try(path, () => identitiesOf(name, read));
    return read;
  }

  async pool(tls: PoolOptions['tls'], path: Path): Promise<PoolOptions['tls']> {
    if (tls === null) return null;
    const before = this.problems.length;
    const ca = tls.ca === undefined ? undefined : await this.#certificates(tls.ca, [...path, 'ca']);
    const { cert, key } = tls;
    const own = cert === undefined || key === undefined ? {} : await this.#pair({ cert, key }, path);
    const read = { ...tls, ca, ...own };
    if (this.problems.length === before) this.#try(path, () => secureContextOf(read));
    return read;
  }

  /** A probe with authorities of its own. */
  async probe(probe: PoolOptions['probe'], path: Path): Promise<PoolOptions['probe']> {
    if (probe === null || typeof probe.ca !== 'string') return probe;
    return { ...probe, ca: await this.#certificates(probe.ca, [...path, 'ca']) };
  }

  async #pair(files: { cert: string; key: string }, path: Path): Promise<{ cert: string; key: string }> {
    const cert = await this.#certificates(files.cert, [...path, 'cert']);
    const key = await this.#read(files.key, [...path, 'key']);
    if (cert !== '' && key !== '') this.#check(cert, key, files, [...path, 'key']);
    return { cert, key };
  }

  #check(cert: string, key: string, files: { cert: string; key: string }, path: Path): void {
    if (/^-----BEGIN ENCRYPTED|^Proc-Type: 4,ENCRYPTED/m.test(key))
      return this.#report(path, `${resolve(files.key)} is locked by a passphrase; store the key without one`);
    try {
      const own = createPrivateKey(key);
      if (new X509Certificate(cert).checkPrivateKey(own)) return;
      this.#report(
        path,
        `${resolve(files.key)} is not the key of ${resolve(files.cert)}; name a pair that belongs together`,
      );
    } catch {
      this.#report(path, `${resolve(files.key)} holds no private key; a PEM file with BEGIN PRIVATE KEY is needed`);
    }
  }

  /** '' when there was a problem. */
  async #certificates(file: string, path: Path): Promise<string> {
    const pem = await this.#read(file, path);
    try {
      if (pem !== '') new X509Certificate(pem);
      return pem;
    } catch {
      this.#report(path, `${resolve(file)} holds no certificate; a PEM file with BEGIN CERTIFICATE is needed`);
      return '';
    }
  }

  async #read(file: string, path: Path): Promise<string> {
    try {
      const bytes = await readCapped(file, MAX_FILE_BYTES);
      if (bytes.length > 0) return bytes.toString('utf8');
      throw new Error('it is empty');
    } catch (error) {
      this.#report(path, `cannot read ${resolve(file)}: ${whyNot(error as NodeJS.ErrnoException)}`);
      return '';
    }
  }

  #try(path: Path, build: () => unknown): void {
    try {
      build();
    } catch (error) {
      const { reason, message } = error as Error & { readonly reason?: string };
      this.#report(path, `cannot be built: ${reason ?? message}`);
    }
  }

  #report(path: Path, message: string): void {
    this.problems.push(this.#problemAt(path, message));
  }
}

/** Why a file could not be read, for a person. */
export function whyNot({ code, message }: NodeJS.ErrnoException): string {
  if (code === 'ENOENT') return 'there is no such file';
  if (code === 'EACCES') return 'this user may not read it';
  if (code === 'EISDIR') return 'it is a directory';
  return message;
}
