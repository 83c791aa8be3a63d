import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { PidFile } from '../../../src/app/pid-file.ts';
import type { Logger } from '../../../src/telemetry/log.ts';
import { temporaryDirectory } from '../../helpers/temporary-directory.ts';

const log = { warn: () => expect.fail() } as unknown as Logger;

it('a pid file that is still being written as the process ends is gone after it', async () => {
  await using directory = await temporaryDirectory('pid');
  const path = join(directory.path, 'evenkeel.pid');
  const file = new PidFile(path, log);
  const written = file.write();
  await file.remove();
  await written;
  await expect(readFile(path)).rejects.toThrow('ENOENT');
});

it('that of another process stays', async () => {
  await using directory = await temporaryDirectory('pid');
  const path = await directory.write('evenkeel.pid', `${process.pid + 1}\n`);
  await new PidFile(path, log).remove();
  expect(await readFile(path, 'utf8')).toBe(`${process.pid + 1}\n`);
});
