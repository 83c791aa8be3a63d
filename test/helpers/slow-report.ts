import type { Reporter, TestCase, TestModule } from 'vitest/node';

const SHOWN = 10;
const SLOW_FILE_MS = 10_000;

/** Vitest loads it (vitest.config.ts): after a run it prints the slowest of the tests that are over `slowTestThreshold`. */
class SlowReport implements Reporter {
  readonly #slow: { test: TestCase; ms: number }[] = [];
  readonly #files: { module: TestModule; ms: number }[] = [];

  onTestCaseResult(test: TestCase): void {
    const diagnostic = test.diagnostic();
    if (diagnostic?.slow) this.#slow.push({ test, ms: diagnostic.duration });
  }

  onTestModuleEnd(module: TestModule): void {
    const ms = module.diagnostic().duration;
    if (ms > SLOW_FILE_MS) this.#files.push({ module, ms });
  }

  onTestRunEnd(): void {
    const lines = [
      ...this.#files
        .sort((a, b) => b.ms - a.ms)
        .slice(0, SHOWN)
        .map(({ module, ms }) => `${seconds(ms)}  ${module.relativeModuleId} (whole file)`),
      ...this.#slow
        .sort((a, b) => b.ms - a.ms)
        .slice(0, SHOWN)
        .map(({ test, ms }) => `${seconds(ms)}  ${test.module.relativeModuleId}: ${test.fullName}`),
    ];
    if (lines.length > 0) process.stdout.write(`\nSlowest\n${lines.join('\n')}\n`);
  }
}

function seconds(ms: number): string {
  return `${(ms / 1000).toFixed(1)} s`.padStart(8);
}

// Vitest takes a reporter as the default export of its file.
export default SlowReport;
