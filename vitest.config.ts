import { defineConfig } from 'vitest/config';

/**
 * The stages in the order they run: each starts when the one before it has ended, so that a broken floor or law is seen before
 * the stories that fail because of it. What measures time or takes the machine for itself runs one file at a time. In CI, on a machine
 * nobody knows, a test that failed gets one more try, which the summary tells (tools/test-summary.ts).
 */
const stages = [
  { name: 'house', include: ['test/house.test.ts'] },
  { name: 'laws', include: ['test/laws/**/*.test.ts'] },
  // Every file no other stage takes, so that none is ever left out.
  { name: 'unit', include: ['test/**/*.test.ts'] },
  { name: 'conformance', include: ['test/conformance/**/*.test.ts'] },
  { name: 'stories', include: ['test/stories/**/*.test.ts'], serial: true },
  // What the two ways to read and write sockets do differently, told once more over the documented one.
  {
    name: 'documented',
    include: [
      'keep-alive',
      'pipelining',
      'web-sockets',
      'client-aborts',
      'early-responses',
      'slow-clients',
      'streaming',
      'tcp-relay',
    ].map((story) => `test/stories/${story}.test.ts`),
    serial: true,
    env: { EVENKEEL_STORIES_FAST_PATH: 'off' },
  },
  { name: 'servers', include: ['test/servers/**/*.test.ts'], serial: true },
  { name: 'package', include: ['test/package.test.ts', 'test/dockerfile.test.ts'], serial: true },
];

const claimed = stages.filter(({ name }) => name !== 'unit').flatMap(({ include }) => include);

export default defineConfig({
  test: {
    pool: 'forks',
    maxWorkers: 2,
    setupFiles: ['./test/helpers/leave-nothing-behind.ts'],
    testTimeout: 30_000,
    hookTimeout: 60_000,
    teardownTimeout: 10_000,
    slowTestThreshold: 2_000,
    reporters: ['default', './test/helpers/slow-report.ts', ...(process.env.CI ? ['json'] : [])],
    // .ci/run reads it.
    outputFile: { json: 'coverage/report.json' },
    projects: stages.map(({ name, include, serial, env }, index) => ({
      extends: true,
      test: {
        name,
        include,
        ...(env === undefined ? {} : { env }),
        exclude: ['**/node_modules/**', ...(name === 'unit' ? claimed : [])],
        fileParallelism: serial !== true,
        retry: process.env.CI ? 1 : 0,
        sequence: { groupOrder: index },
      },
    })),
  },
});
