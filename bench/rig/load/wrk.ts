import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { findProgram } from '../machine.ts';
import { runPinned } from './run-pinned.ts';
import type { LoadGenerator, LoadOptions, LoadResult, RequestShape } from './shape.ts';

const CHUNK_BYTES = 4096;

/** wrk where it is found, one thread. */
export function findWrk(): LoadGenerator | null {
  const program = findProgram('wrk');
  if (program === null) return null;
  return { name: 'wrk', cannot: () => null, run: (options) => runWrk(program, options) };
}

async function runWrk(program: string, options: LoadOptions): Promise<LoadResult> {
  const { port, secure, connections, seconds, shape, directory } = options;
  const script = join(directory, 'request.lua');
  await writeFile(script, wrkScript(shape));
  const url = `${secure ? 'https' : 'http'}://127.0.0.1:${port}${shape.path}`;
  const command = [program, '-t1', `-c${connections}`, `-d${seconds}s`, '--timeout', '5s', '-s', script, url];
  const printed = await runPinned(command, seconds);
  const [requests, micros, errors, p50, p99] = (/RESULT (.*)/.exec(printed)?.[1] ?? '').split(' ').map(Number);
  if (p99 === undefined) throw new Error(`wrk failed:\n${printed}`);
  return { requests, errors, seconds: micros / 1e6, p50Ms: p50 / 1000, p99Ms: p99 / 1000 };
}

function wrkScript(shape: RequestShape): string {
  return `
${shape.headers.map(([name, value]) => `wrk.headers[${quote(name)}] = ${quote(value)}`).join('\n')}
${shape.bodyBytes > 0 ? requestWithBody(shape) : ''}
done = function(summary, latency, requests)
  local e = summary.errors
  io.write(string.format("RESULT %d %d %d %d %d\\n", summary.requests, summary.duration,
    e.connect + e.read + e.write + e.status + e.timeout, latency:percentile(50), latency:percentile(99)))
end
`;
}

/** wrk itself knows bodies with a length only: a chunked one is put together as text. */
function requestWithBody({ bodyBytes, chunked, path, headers }: RequestShape): string {
  if (!chunked) return `wrk.method = "POST"\nwrk.body = string.rep("x", ${bodyBytes})`;
  const chunks: string[] = [];
  for (let left = bodyBytes; left > 0; left -= CHUNK_BYTES) {
    const size = Math.min(left, CHUNK_BYTES);
    chunks.push(`"${size.toString(16)}\\r\\n" .. string.rep("x", ${size}) .. "\\r\\n"`);
  }
  const lines = [...headers, ['Host', '127.0.0.1'], ['Transfer-Encoding', 'chunked']];
  const head = `POST ${path} HTTP/1.1\r\n${lines.map(([name, value]) => `${name}: ${value}\r\n`).join('')}\r\n`;
  return `local text = ${quote(head)} .. ${chunks.join(' .. ')} .. "0\\r\\n\\r\\n"\nrequest = function() return text end`;
}

/** As a Lua string: what JSON escapes of visible text, Lua reads alike. */
function quote(text: string): string {
  return JSON.stringify(text);
}
