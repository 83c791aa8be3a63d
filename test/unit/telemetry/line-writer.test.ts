import { execFileSync, spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { readFile, rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { pino } from 'pino';
import { describe, expect, it } from 'vitest';
import { ManualClock } from '../../../src/base/clock.ts';
import { OperationError } from '../../../src/base/errors.ts';
import { ListenerCells } from '../../../src/proxy/listener-cells.ts';
import { AccessLogSink } from '../../../src/telemetry/access-log-sink.ts';
import { LineWriter } from '../../../src/telemetry/line-writer.ts';
import { eventually } from '../../helpers/eventually.ts';
import { temporaryDirectory } from '../../helpers/temporary-directory.ts';

function quietLog() {
  const lines: { level: number; msg: string; [key: string]: unknown }[] = [];
  return { log: pino({ level: 'trace' }, { write: (line: string) => void lines.push(JSON.parse(line)) }), lines };
}

describe('LineWriter', () => {
  it('appends lines in order to what the file holds, and tells when they are written', async () => {
    await using directory = await temporaryDirectory('lines');
    const path = await directory.write('access.log', 'old\n');
    const writer = new LineWriter({ target: path });
    const told: boolean[] = [];
    for (let i = 0; i < 100; i++) writer.write(`line ${i}\n`, 1, (isWritten) => told.push(isWritten));
    await writer.open();
    await writer.close();
    expect(await readFile(path, 'utf8')).toBe(`old\n${Array.from({ length: 100 }, (_, i) => `line ${i}\n`).join('')}`);
    expect(told).toEqual(Array(100).fill(true));
  });

  it('opens a pipe that nobody reads yet, and whoever comes to read it has the lines', async () => {
    await using directory = await temporaryDirectory('lines');
    const path = join(directory.path, 'access.pipe');
    execFileSync('mkfifo', [path]);
    const writer = new LineWriter({ target: path });
    await writer.open();
    await writer.reopen();
    writer.write('before\n');
    const reader = spawn('head', ['-n', '2', path], { stdio: ['ignore', 'pipe', 'inherit'] });
    const read = reader.stdout.toArray();
    writer.write('after\n');
    expect((await read).join('')).toBe('before\nafter\n');
    await writer.close();
  });

  it('goes on in a new file after a rotation and loses no line', async () => {
    await using directory = await temporaryDirectory('lines');
    const path = join(directory.path, 'access.log');
    const writer = new LineWriter({ target: path });
    await writer.open();
    let isFirstWritten = false;
    writer.write('before\n', 1, () => {
      isFirstWritten = true;
    });
    await eventually(() => isFirstWritten);
    await rename(path, `${path}.1`);
    writer.write('between\n');
    await writer.reopen();
    writer.write('after\n');
    await writer.close();
    const both = (await readFile(`${path}.1`, 'utf8')) + (await readFile(path, 'utf8'));
    expect(both).toBe('before\nbetween\nafter\n');
    expect(await readFile(path, 'utf8')).toContain('after\n');
  });

  it('says why a file cannot be opened', async () => {
    await using directory = await temporaryDirectory('lines');
    const writer = new LineWriter({ target: join(directory.path, 'none', 'access.log') });
    await expect(writer.open()).rejects.toThrow(OperationError);
    await expect(writer.open()).rejects.toThrow('ENOENT');
  });

  it('keeps no more bytes than it may, and counts the rest as lost', async () => {
    await using directory = await temporaryDirectory('lines');
    const path = join(directory.path, 'access.log');
    const writer = new LineWriter({ target: path, pendingBytes: 100 });
    const told: boolean[] = [];
    for (let i = 0; i < 15; i++) writer.write('123456789\n', 1, (isWritten) => told.push(isWritten));
    expect(writer.lostLines).toBe(5);
    await writer.open();
    await writer.close();
    expect((await readFile(path, 'utf8')).length).toBe(100);
    expect(told.filter((isWritten) => isWritten).length).toBe(10);
  });

  it.skipIf(!existsSync('/dev/full'))('loses and counts lines on a full disk, and tells so once', async () => {
    const clock = new ManualClock();
    const troubles: (OperationError | null)[] = [];
    const writer = new LineWriter({ target: '/dev/full', clock, onTrouble: (error) => troubles.push(error) });
    await writer.open();
    for (let i = 1; i <= 5; i++) {
      clock.advance(60_000);
      writer.write('line\n');
      await eventually(() => writer.lostLines === i);
    }
    expect(troubles.length).toBe(1);
    expect(troubles[0]?.message).toContain('ENOSPC');
    await writer.close();
  });

  it('does not wait for who reads a pipe: loses and counts what does not fit', async () => {
    await using directory = await temporaryDirectory('lines');
    const path = join(directory.path, 'pipe');
    execFileSync('mkfifo', [path]);
    const writer = new LineWriter({ target: path });
    await writer.open();
    // A pipe holds 64 KiB.
    for (let i = 0; i < 4; i++) writer.write(`${'x'.repeat(39_999)}\n`);
    await writer.close(50);
    expect(writer.lostLines).toBe(3);
  });

  it('is not slowed to a crawl by a pipe that does not block', async () => {
    // Touching process.stdout makes the pipe behind it non-blocking.
    const script = `
      import { LineWriter } from ${JSON.stringify(new URL('../../../src/telemetry/line-writer.ts', import.meta.url).href)};
      process.stdout.write('');
      const writer = new LineWriter({ target: 1 });
      const batch = ('x'.repeat(299) + '\\n').repeat(218);
      const start = performance.now();
      for (let i = 0; i < 180; i++) writer.write(batch, 218);
      await writer.close(20_000);
      console.error(JSON.stringify({ lost: writer.lostLines, ms: performance.now() - start }));`;
    // A pipe of the shell's: what Node gives a child as one is a socket, with a larger buffer.
    const child = spawn('sh', ['-c', '"$0" --input-type=module -e "$1" | cat', process.execPath, script]);
    let bytes = 0;
    let report = '';
    child.stdout.on('data', (chunk: Buffer) => {
      bytes += chunk.length;
    });
    child.stderr.on('data', (chunk: Buffer) => {
      report += chunk.toString();
    });
    await new Promise((resolve) => child.on('close', resolve));
    const { lost, ms } = JSON.parse(report);
    expect([lost, bytes]).toEqual([0, 180 * 218 * 300]);
    // In steps of 64 KiB: waits of 100 ms would add up to 7 s.
    expect(ms).toBeLessThan(4000);
  });

  it('writes the last words of a process that exits at once', async () => {
    await using directory = await temporaryDirectory('lines');
    const path = await directory.write('program.log', '');
    const writer = new LineWriter({ target: path });
    await writer.open();
    for (let i = 0; i < 50; i++) writer.write(`line ${i}\n`);
    writer.flushSync();
    await eventually(async () => (await readFile(path, 'utf8')).split('\n').length === 51);
    expect(new Set((await readFile(path, 'utf8')).split('\n')).size).toBe(51);
    await writer.close();
  });
});

describe('AccessLogSink', () => {
  it.skipIf(!existsSync('/dev/full'))(
    'counts what a full disk costs against the listener and still acknowledges',
    async () => {
      const { log, lines } = quietLog();
      const sink = new AccessLogSink({ target: '/dev/full', log });
      const cells = new ListenerCells(3);
      await sink.open();
      let acknowledged = 0;
      for (let i = 0; i < 4; i++) {
        sink.write('a\nb\n', 2, cells, () => {
          acknowledged++;
        });
      }
      await eventually(() => acknowledged === 4);
      expect(cells.logDroppedTotal).toBe(8);
      expect(lines.map((line) => line.msg)).toEqual(['access log loses lines']);
      await sink.close();
    },
  );

  it('goes on with the old file when the new one cannot be opened', async () => {
    await using directory = await temporaryDirectory('lines');
    const { log, lines } = quietLog();
    const folder = join(directory.path, 'logs');
    const path = await directory.write('logs/access.log', '');
    const sink = new AccessLogSink({ target: path, log });
    await sink.open();
    await rename(folder, `${folder}-moved`);
    await writeFile(folder, 'a file where the folder was');
    await sink.reopen();
    expect(lines.map((line) => line.msg)).toEqual(['access log not reopened']);
    sink.write('line\n', 1, new ListenerCells(1), () => {});
    await sink.close();
    expect(await readFile(join(`${folder}-moved`, 'access.log'), 'utf8')).toBe('line\n');
  });
});
