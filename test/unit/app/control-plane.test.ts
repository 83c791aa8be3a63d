import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { catalogs } from '../../../src/app/catalogs.ts';
import { ControlPlane } from '../../../src/app/control-plane.ts';
import { readDocument, withFiles } from '../../../src/app/document.ts';
import { createLog } from '../../../src/telemetry/log.ts';
import { freePort } from '../../helpers/ports.ts';
import { type TemporaryDirectory, temporaryDirectory } from '../../helpers/temporary-directory.ts';

describe('a control plane that is closed while it starts', () => {
  let state: TemporaryDirectory;

  beforeEach(async () => {
    state = await temporaryDirectory('control-plane');
  });
  afterEach(() => state.close());

  it('leaves nothing open that was on its way', async () => {
    const bind = `127.0.0.1:${await freePort()}`;
    const text = JSON.stringify({
      runtime: { workers: 1, state: state.path },
      admin: { bind },
      log: { level: 'error' },
      listeners: [{ name: 'web', bind: '127.0.0.1:0', pool: 'web' }],
      pools: { web: { endpoints: [{ address: '127.0.0.1:9' }] } },
    });
    const document = await withFiles(readDocument(text, 'e.yaml', {}, catalogs));
    const { log } = await createLog(document.document.log);
    const reread = async () => document;
    const plane = new ControlPlane({ document, reread, read: () => expect.fail(), log, version: '0' });
    const started = plane.start();
    started.catch(() => {});
    await plane.close();
    await expect(started).rejects.toThrow('ended before it was ready');
    expect(plane.workers.rows()).toEqual([]);
    await expect(fetch(`http://${bind}/healthz`)).rejects.toThrow();
  });
});
