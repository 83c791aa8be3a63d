import { setFlagsFromString } from 'node:v8';

/**
 * Lets V8's optimising compiler inline more: by default it stops at 920 bytes of bytecode for each function it compiles, and a request passes through some
 * hundred small ones. For all threads of this process, from the next compilation on; called by a process that is evenkeel's own, never where it is embedded.
 */
export function inlineMore(): void {
  setFlagsFromString('--max-inlined-bytecode-size-cumulative=3000');
}
