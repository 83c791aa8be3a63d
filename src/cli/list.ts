import { Argument, Command } from 'commander';
import type { Kind } from '../base/catalog.ts';
import { type JsonSchema, jsonSchemaOf } from '../config/schema-json.ts';
import { Exit } from './exit.ts';
import type { ExitStatus, Terminal } from './terminal.ts';

const CATALOGS = ['schedulers', 'registries', 'probes', 'middleware'] as const;
type CatalogName = (typeof CATALOGS)[number];
type AnyKind = Pick<Kind<never, never>, 'kind' | 'summary' | 'options'>;

/** `evenkeel list WHAT [--json]`: the kinds of one catalog with their options. */
export function listCommand(terminal: Terminal, end: (status: ExitStatus) => void): Command {
  return new Command('list')
    .description('list the kinds of a part and their options')
    .addArgument(new Argument('<what>', 'of which part').choices(CATALOGS))
    .option('--json', 'as JSON, options as JSON Schema')
    .action(async (what: CatalogName, options: { json?: boolean }) => {
      const { catalogs } = await import('../app/catalogs.ts');
      const kinds = [...catalogs[what].kinds.values()];
      terminal.out(options.json ? asJson(kinds) : asTable(kinds));
      end(Exit.DONE);
    });
}

function asJson(kinds: readonly AnyKind[]): string {
  const list = kinds.map(({ kind, summary, options }) => ({ kind, summary, options: jsonSchemaOf(options) }));
  return `${JSON.stringify(list, null, 2)}\n`;
}

function asTable(kinds: readonly AnyKind[]): string {
  return kinds.map(({ kind, summary, options }) => `${kind}\n  ${summary}\n${rows(jsonSchemaOf(options))}`).join('\n');
}

/** One line an option: name, default, description. */
function rows(schema: JsonSchema): string {
  const entries = Object.entries(schema.properties ?? {}).map(([name, option]) => {
    const isRequired = option.default === undefined && schema.required?.includes(name);
    const fallback = option.default === undefined ? (isRequired ? 'required' : '-') : asWritten(option.default);
    return [name, fallback, option.description ?? ''] as const;
  });
  const width = (column: 0 | 1) => Math.max(0, ...entries.map((entry) => entry[column].length));
  return entries
    .map(([name, fallback, text]) => `    ${name.padEnd(width(0))}  ${fallback.padEnd(width(1))}  ${text}`.trimEnd())
    .map((line) => `${line}\n`)
    .join('');
}

function asWritten(value: unknown): string {
  return typeof value === 'string' && value !== '' ? value : JSON.stringify(value);
}
