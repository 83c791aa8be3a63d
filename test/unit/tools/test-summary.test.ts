import { describe, expect, it } from 'vitest';
import { summarize, summaryLine, type TestReport } from '../../../tools/test-summary.ts';

function report(...files: { status?: string; tests: string[] }[]): TestReport {
  const results = files.map(({ status, tests }, index) => ({
    name: `test/${index}.test.ts`,
    status: status ?? (tests.includes('failed') ? 'failed' : 'passed'),
    assertionResults: tests.map((test) => ({ fullName: `is ${test}`, status: test })),
  }));
  return { success: results.every(({ status }) => status === 'passed'), testResults: results };
}

describe('the summary of a test run', () => {
  it('counts what passed, failed and was skipped', () => {
    const summary = summarize(
      report({ tests: ['passed', 'failed'] }, { tests: ['passed', 'skipped', 'pending', 'todo'] }),
      1,
    );
    expect(summaryLine(summary)).toBe('2 passed, 1 failed, 3 skipped');
    expect(summary.failures).toEqual(['test/0.test.ts: is failed']);
  });

  it('tells why a test failed, as far as a page holds', () => {
    const lines = Array.from({ length: 40 }, (_, i) => `line ${i}`);
    const failed = { fullName: 'is told', status: 'failed', failureMessages: [lines.join('\n')] };
    const { failures } = summarize(
      { success: false, testResults: [{ name: 'a.test.ts', status: 'failed', assertionResults: [failed] }] },
      1,
    );
    expect(failures[0].split('\n').slice(0, 2)).toEqual(['a.test.ts: is told', '  line 0']);
    expect(failures[0]).not.toMatch(/line 30/);
  });

  it('tells what passed at its second try, and fails a run in which many did', () => {
    const again = (count: number) =>
      summarize(
        {
          success: true,
          testResults: [
            {
              name: 'a.test.ts',
              status: 'passed',
              assertionResults: Array.from({ length: count }, (_, i) => ({
                fullName: `test ${i}`,
                status: 'passed',
                failureMessages: ['too late'],
              })),
            },
          ],
        },
        0,
      );
    expect(again(1)).toMatchObject({ passed: 1, failed: 0, secondTries: ['a.test.ts: test 0\n  too late'] });
    expect(again(2)).toMatchObject({ passed: 2, failed: 0 });
    expect(again(3)).toMatchObject({ passed: 3, failed: 1, failures: ['3 tests needed a second try'] });
  });

  it('says nothing of skips when there are none', () => {
    expect(summaryLine(summarize(report({ tests: ['passed'] }), 0))).toBe('1 passed, 0 failed');
  });

  it('counts a file that could not be loaded', () => {
    expect(summaryLine(summarize(report({ tests: ['passed'] }, { status: 'failed', tests: [] }), 1))).toBe(
      '1 passed, 1 failed',
    );
  });

  it('counts a run that ended with an error though every test passed', () => {
    expect(summarize(report({ tests: ['passed'] }), 1).failed).toBe(1);
    expect(summarize({ ...report({ tests: ['passed'] }), success: false }, 0).failed).toBe(1);
  });

  it('counts a run without any test as failed', () => {
    expect(summarize(report(), 0).failed).toBe(1);
  });
});
