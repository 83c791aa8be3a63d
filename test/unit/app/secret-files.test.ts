import { describe, expect, it } from 'vitest';
import { catalogs } from '../../../src/app/catalogs.ts';
import { isSameDocument, loadDocument } from '../../../src/app/document.ts';
import { temporaryDirectory } from '../../helpers/temporary-directory.ts';

describe('a secret that stands in a file', () => {
  const document = (token: string) =>
    `admin: { token: "${token}" }\nlisteners: [{ bind: "127.0.0.1:0", name: a, pool: file }]\npools: { file: { endpoints: [{ address: "127.0.0.1:1" }] } }\n`;

  it('is read with the document and anew at every reload, without the newline at its end', async () => {
    await using place = await temporaryDirectory('secrets');
    const secret = await place.write('token', 'hunter2hunter2\n');
    const file = await place.write('doc.yaml', document(`file:${secret}`));
    const first = await loadDocument(file, {}, catalogs);
    expect(first.document.admin.token).toBe('hunter2hunter2');
    expect(JSON.stringify(first.masked)).not.toContain('hunter2');
    await place.write('token', 'another-one-now\n');
    const second = await loadDocument(file, {}, catalogs);
    expect(second.document.admin.token).toBe('another-one-now');
    expect(isSameDocument(first, second)).toBe(false);
  });

  it('is a fault of the document when it cannot be read or is empty, with the place', async () => {
    await using place = await temporaryDirectory('secrets');
    const file = await place.write('doc.yaml', document(`file:${place.path}/none`));
    await expect(loadDocument(file, {}, catalogs)).rejects.toThrow(
      /doc\.yaml:1:\d+ {2}admin\.token {2}cannot read .*none: there is no such file/,
    );
    await place.write('none', '\n');
    await expect(loadDocument(file, {}, catalogs)).rejects.toThrow(/it is empty/);
    // Read no further than a secret can be long.
    await place.write('doc.yaml', document('file:/dev/zero'));
    await expect(loadDocument(file, {}, catalogs)).rejects.toThrow(/it is longer than the 65536 bytes/);
  });
});
