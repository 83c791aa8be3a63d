import { readFileSync } from 'node:fs';
import { pathToFileURL } from 'node:url';

/** What is read of Vitest's JSON report. */
export interface TestReport {
  readonly success: boolean;
  readonly testResults: readonly {
    readonly name: string;
    readonly status: string;
    /** Why the file itself failed. */
    readonly message?: string;
    readonly assertionResults: readonly {
      readonly fullName: string;
      readonly status: string;
      /** Of a test that passed: of the try before. */
      readonly failureMessages?: readonly string[];
    }[];
  }[];
}

/** Lines of a failure's message that are repeated in the summary: enough for what was expected and where. */
const LINES_TOLD = 12;
/** A run in which more tests than this needed a second try has failed: it is no accident any more. */
const SECOND_TRIES = 2;

export interface TestSummary {
  readonly passed: number;
  readonly failed: number;
  readonly skipped: number;
  /** `FILE: TEST` of each failure, and on the lines behind it why. */
  readonly failures: readonly string[];
  /** The same of what failed once and then passed. */
  readonly secondTries: readonly string[];
}

/**
 * Counts a run. A file that fails without a failing test (it could not be loaded, a hook failed) counts as one failure, and so does a
 * run that ended with an error although every test passed (`exitStatus`): a fault outside tests must not look like success. A test that
 * passed at its second try counts as passed and is told; too many of them fail the run.
 */
export function summarize(report: TestReport, exitStatus: number): TestSummary {
  let passed = 0;
  let skipped = 0;
  const failures: string[] = [];
  const secondTries: string[] = [];
  for (const { name, status, message, assertionResults } of report.testResults) {
    const before = failures.length;
    for (const test of assertionResults) {
      const { fullName, failureMessages = [] } = test;
      if (test.status === 'failed') failures.push(told(`${name}: ${fullName}`, failureMessages));
      else if (test.status !== 'passed') skipped++;
      else {
        passed++;
        if (failureMessages.length > 0) secondTries.push(told(`${name}: ${fullName}`, failureMessages));
      }
    }
    if (status === 'failed' && failures.length === before) {
      failures.push(told(`${name}: the file itself`, message === undefined ? [] : [message]));
    }
  }
  if (failures.length === 0 && (exitStatus !== 0 || !report.success)) {
    failures.push(`the run ended with status ${exitStatus} though no test failed`);
  }
  if (failures.length === 0 && passed === 0) failures.push('no test has run');
  if (secondTries.length > SECOND_TRIES) failures.push(`${secondTries.length} tests needed a second try`);
  return { passed, failed: failures.length, skipped, failures, secondTries };
}

function told(what: string, messages: readonly string[]): string {
  const lines = messages.flatMap((message) => message.trim().split('\n').slice(0, LINES_TOLD));
  return [what, ...lines.filter((line) => line !== '').map((line) => `  ${line}`)].join('\n');
}

/** `12 passed, 0 failed`, and `, 3 skipped` when there are any. */
export function summaryLine({ passed, failed, skipped }: TestSummary): string {
  return `${passed} passed, ${failed} failed${skipped > 0 ? `, ${skipped} skipped` : ''}`;
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) {
  const [, , file, exitStatus] = process.argv;
  const summary = summarize(JSON.parse(readFileSync(file, 'utf8')) as TestReport, Number(exitStatus));
  for (const test of summary.secondTries) console.log(`PASSED AT THE SECOND TRY ${test}`);
  for (const failure of summary.failures) console.log(`FAILED ${failure}`);
  console.log(summaryLine(summary));
  process.exitCode = summary.failed === 0 ? 0 : 1;
}
