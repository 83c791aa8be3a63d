import { stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { affinityKey } from '../../../src/app/affinity-key.ts';
import { createLog } from '../../../src/telemetry/log.ts';
import { logOptions } from '../../../src/telemetry/options.ts';
import { eventually } from '../../helpers/eventually.ts';
import { temporaryDirectory } from '../../helpers/temporary-directory.ts';

describe('the key of affinity cookies', () => {
  it('is kept over restarts, for its owner alone, and made anew when what is there is none', async () => {
    const { log } = await createLog(logOptions.parse({ level: 'silent' }));
    await using directory = await temporaryDirectory('affinity-key');
    const path = join(directory.path, 'state', 'affinity.key');
    const key = affinityKey(path, log);
    expect(key.length).toBe(32);
    const size = () =>
      stat(path).then(
        ({ size }) => size,
        () => 0,
      );
    await eventually(async () => (await size()) === 65);
    expect((await stat(path)).mode & 0o777).toBe(0o600);
    expect(affinityKey(path, log)).toEqual(key);
    await writeFile(path, 'no key');
    const other = affinityKey(path, log);
    expect(other).not.toEqual(key);
    await eventually(async () => (await size()) === 65);
    expect(affinityKey(path, log)).toEqual(other);
  });
});
