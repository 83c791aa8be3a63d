import { createHash } from 'node:crypto';
import { readdir, readFile, realpath, stat } from 'node:fs/promises';
import { basename, dirname, extname, join } from 'node:path';
import { z } from 'zod';
import type { Kind } from '../base/catalog.ts';
import { ContentWatcher } from '../base/content-watcher.ts';
import { OperationError } from '../base/errors.ts';
import { MAX_DOCUMENT_BYTES } from '../config/load.ts';
import type {
  Registry,
  RegistryContext,
  RegistryEndpoint,
  RegistrySink,
  ServiceRef,
  Subscription,
} from './registry.ts';
import { ServiceBoard } from './service-board.ts';
import { readServiceFile, type ServiceDocument } from './service-document.ts';

const EXTENSIONS = new Set(['.yaml', '.yml', '.json']);
/** Files of a directory beyond this number are not read. */
const MAX_FILES = 10_000;

const options = z.object({
  path: z
    .string()
    .min(1)
    .describe(
      'a YAML or JSON file, { services: { NAME: [ { address } ] } }, or a directory of such files and of lists, NAME.yaml',
    ),
});

/** A file as it was read last. */
interface Read {
  readonly print: string;
  /** The last that could be read; null when none ever could. */
  document: ServiceDocument | null;
  fault: string | null;
}

/**
 * Services written down in a file, or in the files of a directory, and followed as they change. A file that cannot be read keeps what it said last, and
 * the others go on; what is wrong is told with its line.
 */
export class FileRegistry implements Registry {
  readonly #path: string;
  readonly #board: ServiceBoard;
  readonly #watcher: ContentWatcher;
  #files = new Map<string, Read>();
  /** Why the path itself cannot be read; null when it can. */
  #fault: string | null = null;
  #hasRead = false;
  /** The path could not be read at the last look, either. */
  #wasGone = false;

  constructor({ path }: z.infer<typeof options>, context: RegistryContext) {
    this.#path = path;
    this.#board = new ServiceBoard((service) => this.#look(service), context);
    this.#watcher = new ContentWatcher({
      directories: () => this.#directories(),
      print: () => this.#read(),
      onChange: () => this.#tell(() => true),
      onSame: () => this.#tell(() => false),
    });
  }

  async start(): Promise<void> {
    await this.#watcher.start(null);
  }

  subscribe(service: ServiceRef, sink: RegistrySink): Subscription {
    const subscription = this.#board.subscribe(service, sink, () => void this.#watcher.look());
    if (this.#hasRead)
      this.#tell(
        () => true,
        (other) => other === service,
      );
    return subscription;
  }

  async close(): Promise<void> {
    this.#watcher.close();
    this.#board.close();
  }

  #tell(mayDiffer: (service: ServiceRef) => boolean, concerns: (service: ServiceRef) => boolean = () => true): void {
    this.#hasRead = true;
    this.#board.tell((service) => concerns(service) && this.#faultsOf(service).length === 0, mayDiffer);
    for (const service of this.#board.services) {
      const faults = concerns(service) ? this.#faultsOf(service) : [];
      if (faults.length === 0) continue;
      const error = new OperationError('registry-unreadable', faults.join('\n'), { retryable: true });
      this.#board.fail(error, (other) => other === service);
    }
  }

  /** What keeps us from knowing the service. A file that cannot be read at present may name any service that no other file names. */
  #faultsOf({ name }: ServiceRef): string[] {
    if (this.#fault !== null) return [this.#fault];
    const files = [...this.#files];
    const naming = files.filter(([file, { document }]) => document !== null && names(document, file, name));
    const asked = naming.length === 0 ? files : naming;
    return asked.flatMap(([, { fault }]) => fault ?? []);
  }

  #look({ name }: ServiceRef): RegistryEndpoint[] {
    return [...this.#files].flatMap(([file, { document }]) => [
      ...(document?.services.get(name) ?? []),
      ...(document?.list != null && nameOf(file) === name ? document.list : []),
    ]);
  }

  async #directories(): Promise<string[]> {
    const real = await realpath(this.#path).catch(() => this.#path);
    const isDirectory = (await stat(real).catch(() => null))?.isDirectory() === true;
    return [dirname(this.#path), dirname(real), ...(isDirectory ? [this.#path, real] : [])];
  }

  /** Reads everything that is there; what tells one content from another. */
  async #read(): Promise<string | null> {
    let texts: Map<string, string>;
    try {
      texts = await this.#texts();
    } catch (error) {
      // Between two steps of whoever replaces it, it is gone for a moment.
      const isFirst = !this.#wasGone && this.#hasRead;
      this.#wasGone = true;
      if (isFirst) return null;
      this.#fault = `${this.#path} cannot be read: ${(error as Error).message}`;
      return this.#fault;
    }
    this.#wasGone = false;
    this.#fault = null;
    const files = new Map<string, Read>();
    for (const [file, text] of texts) files.set(file, this.#take(file, text));
    this.#files = files;
    return [...files].map(([file, { print }]) => `${file} ${print}`).join('\n');
  }

  #take(file: string, text: string): Read {
    const print = createHash('sha1').update(text).digest('base64');
    const before = this.#files.get(file);
    if (before?.print === print) return before;
    try {
      return { print, document: readServiceFile(text, file), fault: null };
    } catch (error) {
      return { print, document: before?.document ?? null, fault: (error as OperationError).message };
    }
  }

  /** Texts by file, in the order of their names. */
  async #texts(): Promise<Map<string, string>> {
    if (!(await stat(this.#path)).isDirectory()) return new Map([[this.#path, await textOf(this.#path)]]);
    const names = (await readdir(this.#path)).filter((name) => EXTENSIONS.has(extname(name)) && !name.startsWith('.'));
    if (names.length > MAX_FILES) throw new Error(`more than ${MAX_FILES} files`);
    const texts = new Map<string, string>();
    for (const name of names.sort()) {
      const file = join(this.#path, name);
      const text = await textOf(file).catch((error: NodeJS.ErrnoException) => {
        // Gone since the directory was read.
        if (error.code === 'ENOENT') return null;
        throw error;
      });
      if (text !== null) texts.set(file, text);
    }
    return texts;
  }
}

function nameOf(file: string): string {
  return basename(file, extname(file));
}

function names({ services, list }: ServiceDocument, file: string, service: string): boolean {
  return services.has(service) || (list !== null && nameOf(file) === service);
}

async function textOf(file: string): Promise<string> {
  const { size } = await stat(file);
  if (size > MAX_DOCUMENT_BYTES)
    throw new Error(`${file} is longer than the ${MAX_DOCUMENT_BYTES} bytes that are read`);
  return readFile(file, 'utf8');
}

export const fileRegistry: Kind<Registry, RegistryContext> = {
  kind: 'file',
  summary: 'services written down in a file, or in the files of a directory, and followed as they change',
  options,
  create: (settings: z.infer<typeof options>, context) => new FileRegistry(settings, context),
};
