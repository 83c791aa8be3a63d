import type { FieldSection } from '../../wire/http1/field-section.ts';
import type { ByteWriter } from '../byte-writer.ts';
import type { HeaderEdits } from './header-edits.ts';

/**
 * Copies the lines of `head` whose kind is not in `cut` and whose name is not edited, as they came. Lines that stand together are copied
 * together, so that most heads cost two or three copies.
 */
export function copyLines(
  writer: ByteWriter,
  head: FieldSection,
  buf: Buffer,
  cut: Uint8Array,
  edits: HeaderEdits,
): void {
  const { kinds, offsets, headerCount } = head;
  let runStart = -1;
  let runEnd = -1;
  for (let i = 0; i < headerCount; i++) {
    const at = i * 5;
    if (cut[kinds[i]] === 1 || (edits.size > 0 && edits.covers(buf, offsets[at], offsets[at + 1]))) continue;
    if (offsets[at] !== runEnd) {
      if (runEnd > runStart) writer.bytes(buf, runStart, runEnd);
      runStart = offsets[at];
    }
    runEnd = offsets[at + 4];
  }
  if (runEnd > runStart) writer.bytes(buf, runStart, runEnd);
}

/** Copies every line of one kind. */
export function copyKind(writer: ByteWriter, head: FieldSection, buf: Buffer, kind: number): void {
  for (let i = 0; i < head.headerCount; i++) {
    if (head.kinds[i] === kind) writer.bytes(buf, head.offsets[i * 5], head.offsets[i * 5 + 4]);
  }
}
