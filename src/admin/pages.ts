import { readFile } from 'node:fs/promises';

/** A file of the dashboard. */
export interface Page {
  readonly path: string;
  readonly contentType: string;
  readonly body: Buffer;
}

const TYPES: Readonly<Record<string, string>> = {
  html: 'text/html; charset=utf-8',
  css: 'text/css; charset=utf-8',
  js: 'text/javascript; charset=utf-8',
  svg: 'image/svg+xml',
};

/** By URL path. They hold no data: what the page shows it asks the API for. */
const FILES: Readonly<Record<string, string>> = {
  '/': 'index.html',
  '/dashboard/style.css': 'style.css',
  '/dashboard/main.js': 'main.js',
  '/dashboard/api.js': 'api.js',
  '/dashboard/charts.js': 'charts.js',
  '/dashboard/dom.js': 'dom.js',
  '/dashboard/pool-card.js': 'pool-card.js',
  '/dashboard/icon.svg': 'icon.svg',
};

/** Reads the dashboard's files, which lie beside this module in src and in dist. Rejects when one is missing: the build forgot it. */
export function readPages(): Promise<Page[]> {
  return Promise.all(
    Object.entries(FILES).map(async ([path, file]) => ({
      path,
      contentType: TYPES[file.slice(file.lastIndexOf('.') + 1)],
      body: await readFile(new URL(`./dashboard/${file}`, import.meta.url)),
    })),
  );
}
