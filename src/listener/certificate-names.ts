import { X509Certificate } from 'node:crypto';

/** The host names a certificate is for, in lower case, `*.` first where it is a wildcard: its DNS names, or the common name of one that has none. */
export function namesOf(pem: string): readonly string[] {
  const { subjectAltName, subject } = new X509Certificate(pem);
  const alternatives = (subjectAltName ?? '').split(', ').flatMap((one) => /^DNS:([\w.*-]+)$/.exec(one)?.[1] ?? []);
  const common = /^CN=([\w.*-]+)$/m.exec(subject ?? '')?.[1];
  const names = subjectAltName === undefined && common !== undefined ? [common] : alternatives;
  return names.map((name) => name.toLowerCase());
}

/** Which of several certificates a name belongs to. Built when certificates change; asked at a handshake, and when a connection asks for another host. */
export class CertificateNames {
  readonly #sets: readonly ReadonlySet<string>[];
  readonly #byName = new Map<string, number>();

  /** One list of names for each certificate; of two with the same name the first has it. */
  constructor(lists: readonly (readonly string[])[]) {
    this.#sets = lists.map((names) => new Set(names));
    lists.forEach((names, index) => {
      for (const name of names) if (!this.#byName.has(name)) this.#byName.set(name, index);
    });
  }

  /** The certificate for a host in lower case: the one with its very name, else with its wildcard (RFC 9525 §6.3: one label); -1 when there is none. */
  find(host: string): number {
    return this.#byName.get(host) ?? this.#byName.get(wildcardOf(host)) ?? -1;
  }

  /** Whether the certificate is good for the host, although another may be meant for it. */
  covers(index: number, host: string): boolean {
    return this.#sets[index].has(host) || this.#sets[index].has(wildcardOf(host));
  }
}

function wildcardOf(host: string): string {
  const dot = host.indexOf('.');
  return dot < 0 ? '' : `*${host.slice(dot)}`;
}
