import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { LineWriter } from '../../../src/telemetry/line-writer.ts';
import { createLog } from '../../../src/telemetry/log.ts';
import { temporaryDirectory } from '../../helpers/temporary-directory.ts';

async function logged(format: 'json' | 'pretty', write: (log: Awaited<ReturnType<typeof createLog>>['log']) => void) {
  await using directory = await temporaryDirectory('log');
  const path = join(directory.path, 'program.log');
  const writer = new LineWriter({ target: path });
  await writer.open();
  const { log } = await createLog({ level: 'info', format, writer, colour: false });
  write(log);
  await writer.close();
  return readFile(path, 'utf8');
}

describe('createLog', () => {
  it('writes JSON lines with the level as a word, and nothing below the level', async () => {
    const text = await logged('json', (log) => {
      log.debug('hidden');
      log.warn({ pool: 'web' }, 'ejected');
    });
    expect(JSON.parse(text)).toMatchObject({ level: 'warn', pool: 'web', msg: 'ejected' });
    expect(JSON.parse(text).time).toMatch(/^\d{4}-\d\d-\d\dT.*Z$/);
  });

  it('never writes a token or a password', async () => {
    const text = await logged('json', (log) => {
      log.info({ token: 'sesame', registry: { password: 'sesame', address: 'http://127.0.0.1' } }, 'registry');
    });
    expect(text).not.toContain('sesame');
    expect(text).toContain('http://127.0.0.1');
  });

  it('writes for people when asked to', async () => {
    const text = await logged('pretty', (log) => log.error({ worker: 1 }, 'worker-died'));
    expect(text).toMatch(/^\[\d\d:\d\d:\d\d\.\d{3}\] ERROR: worker-died \{"worker":1\}\n$/);
  });
});
