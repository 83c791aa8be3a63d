import { mkdirSync, writeFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { runFuzz } from '../test/conformance/fuzz.ts';

// A million mutated messages, or as many as --messages says: all of them through the readers, in random pieces, each held against llhttp in strict
// mode; every fiftieth request through a running proxy too. Prints the seed, what it came to and the memory; what fails is kept in a file.
const { values } = parseArgs({
  options: {
    messages: { type: 'string', default: '1000000' },
    seed: { type: 'string', default: `${Math.floor(Math.random() * 2 ** 31)}` },
    from: { type: 'string', default: '0' },
    proxied: { type: 'string', default: '50' },
    failures: { type: 'string', default: 'bench/results/fuzz-failures' },
  },
});
console.log(`seed ${values.seed}; again: npm run fuzz -- --seed ${values.seed} --messages ${values.messages}`);
const failures = await runFuzz({
  messages: Number(values.messages),
  seed: Number(values.seed),
  from: Number(values.from),
  proxiedEvery: Number(values.proxied),
  say: (line) => console.log(line),
  keep: (index, kind, bytes, why) => {
    mkdirSync(values.failures, { recursive: true });
    writeFileSync(`${values.failures}/${values.seed}-${index}.${kind}`, bytes);
    console.error(`FAILED ${kind} ${index}: ${why}\n  ${JSON.stringify(bytes.toString('latin1'))}`);
  },
});
process.exitCode = failures === 0 ? 0 : 1;
