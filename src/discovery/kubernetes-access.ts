import { readFile } from 'node:fs/promises';
import { dirname, resolve } from 'node:path';
import { parse } from 'yaml';
import { z } from 'zod';
import type { Clock } from '../base/clock.ts';
import { OperationError } from '../base/errors.ts';
import { formatHostPort } from '../base/literals.ts';

/** Mounted tokens are renewed by the hour; reading the file again costs next to nothing. */
const TOKEN_TTL_MS = 60_000;

/** Where an API server is and how to be let in. PEM texts, already read. */
export interface KubernetesAccess {
  /** https://host:port */
  readonly origin: string;
  /** For services named without one. */
  readonly namespace: string;
  readonly tls: {
    readonly ca?: string;
    readonly cert?: string;
    readonly key?: string;
    readonly serverName?: string;
    readonly verify: boolean;
  };
  /** The `authorization` header; '' for none. */
  readonly authorization: () => Promise<string>;
  /** The server refused what `authorization` gave last: it is read anew. */
  readonly refused: () => void;
}

export interface AccessOptions {
  readonly server: string;
  readonly kubeconfig: string;
  readonly context: string;
  readonly token: string;
  readonly namespace: string;
  /** Directory with `token`, `ca.crt` and `namespace`. */
  readonly serviceAccount: string;
  /** KUBERNETES_SERVICE_HOST and …_PORT are read from it. */
  readonly environment: Readonly<Record<string, string | undefined>>;
  readonly clock: Clock;
}

/** From a kubeconfig, from `server`, or from what Kubernetes gives every pod, in this order. Rejects with an OperationError that says what is missing. */
export function kubernetesAccess(options: AccessOptions): Promise<KubernetesAccess> {
  if (options.kubeconfig !== '') return fromKubeconfig(options);
  if (options.server !== '') return Promise.resolve(fromServer(options));
  return fromServiceAccount(options);
}

function fromServer({ server, namespace, token }: AccessOptions): KubernetesAccess {
  return { origin: new URL(server).origin, namespace: namespace || 'default', tls: { verify: true }, ...fixed(token) };
}

async function fromServiceAccount({
  environment,
  serviceAccount,
  namespace,
  clock,
}: AccessOptions): Promise<KubernetesAccess> {
  const { KUBERNETES_SERVICE_HOST: host, KUBERNETES_SERVICE_PORT: port } = environment;
  if (!host || !port)
    throw refused(
      'this process does not run in a pod (KUBERNETES_SERVICE_HOST is not set); name a kubeconfig, or a server',
    );
  const ca = await readText(resolve(serviceAccount, 'ca.crt'), 'the authority of the API server');
  const own = await readFile(resolve(serviceAccount, 'namespace'), 'utf8').catch(() => 'default');
  const token = new TokenFile(resolve(serviceAccount, 'token'), clock);
  // A pod without a token is found out now rather than by 401.
  await token.authorization();
  return {
    origin: `https://${formatHostPort(host, Number(port))}`,
    namespace: namespace || own.trim(),
    tls: { ca, verify: true },
    authorization: () => token.authorization(),
    refused: () => token.forget(),
  };
}

const text = z.string().optional();
const kubeconfig = z.object({
  'current-context': text,
  contexts: z.array(
    z.object({ name: z.string(), context: z.object({ cluster: z.string(), user: text, namespace: text }) }),
  ),
  clusters: z.array(
    z.object({
      name: z.string(),
      cluster: z.object({
        server: z.string(),
        'certificate-authority': text,
        'certificate-authority-data': text,
        'insecure-skip-tls-verify': z.boolean().optional(),
        'tls-server-name': text,
        'proxy-url': text,
      }),
    }),
  ),
  users: z
    .array(
      z.object({
        name: z.string(),
        user: z
          .object({
            'client-certificate': text,
            'client-certificate-data': text,
            'client-key': text,
            'client-key-data': text,
            token: text,
            tokenFile: text,
            username: text,
            password: text,
            exec: z.unknown().optional(),
            'auth-provider': z.unknown().optional(),
          })
          .nullish(),
      }),
    )
    .nullish(),
});

type User = NonNullable<NonNullable<z.infer<typeof kubeconfig>['users']>[number]['user']>;

async function fromKubeconfig(options: AccessOptions): Promise<KubernetesAccess> {
  const file = options.kubeconfig;
  const { contexts, clusters, users, 'current-context': current } = await readKubeconfig(file);
  const name = options.context || current || '';
  if (name === '') throw refused(`${file} has no current-context; set context`);
  const context = found(contexts, name, 'context', file).context;
  const { cluster } = found(clusters, context.cluster, 'cluster', file);
  const user: User = context.user === undefined ? {} : (found(users ?? [], context.user, 'user', file).user ?? {});
  if (cluster['proxy-url'] !== undefined) throw refused(`${file} asks for a proxy (proxy-url), which is not supported`);
  if (URL.parse(cluster.server) === null) throw refused(`${file}: ${cluster.server} is not the address of a server`);
  const pem = (data: string | undefined, path: string | undefined, what: string) => {
    if (data !== undefined) return Buffer.from(data, 'base64').toString('utf8');
    return path === undefined ? undefined : readText(resolve(dirname(file), path), what);
  };
  return {
    origin: new URL(cluster.server).origin,
    namespace: options.namespace || context.namespace || 'default',
    tls: {
      ca: await pem(cluster['certificate-authority-data'], cluster['certificate-authority'], 'the authority'),
      cert: await pem(user['client-certificate-data'], user['client-certificate'], 'the client certificate'),
      key: await pem(user['client-key-data'], user['client-key'], "the client certificate's key"),
      serverName: cluster['tls-server-name'],
      verify: cluster['insecure-skip-tls-verify'] !== true,
    },
    ...credentialsOf(user, context.user ?? '', file, options.clock),
  };
}

function credentialsOf(
  user: User,
  name: string,
  file: string,
  clock: Clock,
): Pick<KubernetesAccess, 'authorization' | 'refused'> {
  for (const way of ['exec', 'auth-provider'] as const)
    if (user[way] !== undefined)
      throw refused(
        `${file}: the user ${name} logs in by running a program (${way}), which is not supported; use a token, a tokenFile or a client certificate`,
      );
  if (user.tokenFile !== undefined) {
    const token = new TokenFile(resolve(dirname(file), user.tokenFile), clock);
    return { authorization: () => token.authorization(), refused: () => token.forget() };
  }
  if (user.username !== undefined) {
    const basic = Buffer.from(`${user.username}:${user.password ?? ''}`).toString('base64');
    return { authorization: async () => `Basic ${basic}`, refused: () => {} };
  }
  return fixed(user.token ?? '');
}

function fixed(token: string): Pick<KubernetesAccess, 'authorization' | 'refused'> {
  const authorization = token === '' ? '' : `Bearer ${token}`;
  return { authorization: async () => authorization, refused: () => {} };
}

/** A token that Kubernetes replaces from time to time. */
class TokenFile {
  readonly #file: string;
  readonly #clock: Clock;
  #token = '';
  #readMs = Number.NEGATIVE_INFINITY;

  constructor(file: string, clock: Clock) {
    this.#file = file;
    this.#clock = clock;
  }

  async authorization(): Promise<string> {
    const now = this.#clock.now();
    if (now - this.#readMs >= TOKEN_TTL_MS) {
      this.#token = (await readText(this.#file, 'the token')).trim();
      this.#readMs = now;
    }
    return `Bearer ${this.#token}`;
  }

  forget(): void {
    this.#readMs = Number.NEGATIVE_INFINITY;
  }
}

async function readKubeconfig(file: string): Promise<z.infer<typeof kubeconfig>> {
  let content: unknown;
  try {
    content = parse(await readText(file, 'the kubeconfig'));
  } catch (error) {
    if (error instanceof OperationError) throw error;
    throw refused(`${file} is not a kubeconfig: ${(error as Error).message.split('\n')[0]}`);
  }
  const parsed = kubeconfig.safeParse(content);
  if (parsed.success) return parsed.data;
  const [{ path, message }] = parsed.error.issues;
  throw refused(`${file} is not a kubeconfig: ${path.join('.')} ${message}`);
}

function found<T extends { readonly name: string }>(list: readonly T[], name: string, what: string, file: string): T {
  const one = list.find((candidate) => candidate.name === name);
  if (one === undefined) throw refused(`${file} has no ${what} "${name}"`);
  return one;
}

async function readText(file: string, what: string): Promise<string> {
  try {
    return await readFile(file, 'utf8');
  } catch (cause) {
    throw new OperationError('registry-credentials', `${what} cannot be read: ${(cause as Error).message}`, { cause });
  }
}

function refused(message: string): OperationError {
  return new OperationError('registry-credentials', message);
}
