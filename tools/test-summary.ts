import { readFileSync } from 'node:fs';
import { pathToFileURL } from 'node:url';

/** What is read of Vitest's JSON report. */
export interface TestReport {
  readonly success: boolean;
  readonly testResults: readonly {
    readonly name: string;
    readonly status: string;
    readonly assertionResults: readonly { readonly fullName: string; readonly status: string }[];
  }[];
}

export interface TestSummary {
  readonly passed: number;
  readonly failed: number;
  readonly skipped: number;
  /** `FILE: TEST` of each failure. */
  readonly failures: readonly string[];
}

/**
 * Counts a run. A file that fails without a failing test (it could not be loaded, a hook failed) counts as one failure, and so does a
 * run that ended with an error although every test passed (`exitStatus`): a fault outside tests must not look like success.
 */
export function summarize(report: TestReport, exitStatus: number): TestSummary {
  let passed = 0;
  let skipped = 0;
  const failures: string[] = [];
  for (const { name, status, assertionResults } of report.testResults) {
    const before = failures.length;
    for (const test of assertionResults) {
      if (test.status === 'passed') passed++;
      else if (test.status === 'failed') failures.push(`${name}: ${test.fullName}`);
      else skipped++;
    }
    if (status === 'failed' && failures.length === before) failures.push(`${name}: the file itself`);
  }
  if (failures.length === 0 && (exitStatus !== 0 || !report.success)) {
    failures.push(`the run ended with status ${exitStatus} though no test failed`);
  }
  if (failures.length === 0 && passed === 0) failures.push('no test has run');
  return { passed, failed: failures.length, skipped, failures };
}

/** `12 passed, 0 failed`, and `, 3 skipped` when there are any. */
export function summaryLine({ passed, failed, skipped }: TestSummary): string {
  return `${passed} passed, ${failed} failed${skipped > 0 ? `, ${skipped} skipped` : ''}`;
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) {
  const [, , file, exitStatus] = process.argv;
  const summary = summarize(JSON.parse(readFileSync(file, 'utf8')) as TestReport, Number(exitStatus));
  for (const failure of summary.failures) console.log(`FAILED ${failure}`);
  console.log(summaryLine(summary));
  process.exitCode = summary.failed === 0 ? 0 : 1;
}
