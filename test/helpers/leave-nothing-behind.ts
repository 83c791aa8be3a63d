import { afterAll, expect } from 'vitest';
import { endStrayProcesses } from './processes.ts';
import { removeStrayDirectories } from './temporary-directory.ts';

// Vitest runs this before each test file (vitest.config.ts), so this hook is the last to run after it.
afterAll(() => {
  expect(
    { processes: endStrayProcesses(), directories: removeStrayDirectories() },
    'a test left something behind',
  ).toEqual({
    processes: [],
    directories: [],
  });
});
