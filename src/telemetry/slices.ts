/** The thread works for about this long at a time; one part should take well under a millisecond. */
const SLICE_MS = 5;

/** Joins parts of a large text into bytes, letting the thread do other work in between: a large answer must not hold main. */
export async function renderInSlices(parts: Iterable<string>): Promise<Buffer> {
  const buffers: Buffer[] = [];
  await runInSlices(parts, (part) => {
    if (part !== '') buffers.push(Buffer.from(part));
  });
  return Buffer.concat(buffers);
}

/** Runs through `steps`, letting the thread do other work in between. */
export async function runInSlices<T>(steps: Iterable<T>, take: (step: T) => void = () => {}): Promise<void> {
  let sliceEnd = performance.now() + SLICE_MS;
  for (const step of steps) {
    take(step);
    if (performance.now() < sliceEnd) continue;
    await new Promise(setImmediate);
    sliceEnd = performance.now() + SLICE_MS;
  }
}
