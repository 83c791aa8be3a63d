import type { DocumentTree } from './document-tree.ts';
import type { Path } from './path.ts';

const SECRET_KEY = /(^auth|token|password|passwd|secret|credential|authorization|apikey|api-key|privatekey|cookie)s?$/i;
const SECRET_VARIABLE = /TOKEN|PASS|SECRET|CREDENTIAL|AUTH|KEY/i;
const PRIVATE_KEY = /-----BEGIN [A-Z ]*PRIVATE KEY-----/;
export const MASK = '***';

/** What may be shown of a text whose place says nothing of secrets: no private key, and no password in an address. */
export function maskedText(text: string): string {
  return PRIVATE_KEY.test(text) ? MASK : text.replace(/(\w:\/\/[^\s/:@]*:)[^\s/]+@/g, `$1${MASK}@`);
}

/** Whether a key's name says that its value is secret. */
export function isSecretKey(key: string): boolean {
  return SECRET_KEY.test(key);
}

/** Whether what stands at this path must not be shown: by its key's name, by its variable's name, or by what it holds. */
export function isSecret(tree: DocumentTree, path: Path, value: unknown): boolean {
  if (typeof value === 'string' && PRIVATE_KEY.test(value)) return true;
  if (path.some((step, i) => typeof step === 'string' && SECRET_KEY.test(step) && holdsSecret(path, i))) return true;
  return tree.variablesAt(path).some((name) => SECRET_VARIABLE.test(name));
}

// A pool or registry may well be called `token`: names of such entries are no keys of options.
function holdsSecret(path: Path, index: number): boolean {
  return !(index === 1 && (path[0] === 'pools' || path[0] === 'registries'));
}
