import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';

/** Started as root, nginx gives its workers to another user, who may not enter a temporary folder. */
export const NGINX_USER = process.getuid?.() === 0 ? 'user root;' : '';

/** Temporary files of nginx go to `directory`, whatever the build says. For an `http` block. */
export function nginxPaths(directory: string): string {
  const kinds = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'];
  return kinds.map((kind) => `${kind}_temp_path ${join(directory, kind)};`).join(' ');
}

/** What a configuration with a `stream` block begins with: '' where the module is built in; null where nginx has none. */
export function streamModule(program: string): string | null {
  const { stderr } = spawnSync(program, ['-V'], { encoding: 'utf8' });
  if (/--with-stream(?![=_\w])/.test(stderr)) return '';
  const file = join(/--modules-path=(\S+)/.exec(stderr)?.[1] ?? '', 'ngx_stream_module.so');
  return existsSync(file) ? `load_module ${file};` : null;
}
