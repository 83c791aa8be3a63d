import { mkdir, mkdtemp, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { Core } from '../rig/machine.ts';
import { Running } from '../rig/running.ts';
import { instant } from './behaviour.ts';
import { Endpoints } from './endpoints.ts';
import { type LoadPlan, Records } from './load-plan.ts';
import { LossyNetwork } from './lossy-network.ts';
import { monotonicMs } from './monotonic.ts';
import type { PoolSetting, Scenario } from './scenario.ts';
import type { RunningSubject, Subject } from './subject.ts';
import { type Summary, summarise } from './summary.ts';

/** Endpoints answer at once meanwhile: what is in JavaScript is compiled, connections are open. */
const WARM_UP = { rate: 4000, seconds: 2.5 };
/** The same arrivals and service times for everybody. */
const SEED = 20_26;
/** Paths, so that what hashes has something to spread. */
const KEYS = 1000;

/** Plays one scenario against one subject, each in new processes. One summary for each of its windows. */
export async function playCell(scenario: Scenario, subject: Subject, folder: string): Promise<Summary[]> {
  const directory = await mkdtemp(join(folder, 'cell-'));
  await using stack = new AsyncDisposableStack();
  const network = scenario.packetLoss > 0 ? stack.use(LossyNetwork.open(scenario.packetLoss)) : null;
  const count = scenario.endpoints.length;
  const endpoints = stack.use(await Endpoints.start(count, network?.host ?? '127.0.0.1', SEED, network?.prefix));
  await endpoints.tell({ act: 'behave', indexes: [...scenario.endpoints.keys()], behaviour: instant });
  await mkdir(join(directory, 'subject'));
  const running = await subject.start(join(directory, 'subject'), settingOf(scenario, endpoints.addresses));
  stack.use(running.process);
  const file = join(directory, 'records');
  const plan: LoadPlan = {
    ...{ host: '127.0.0.1', port: running.port, warmUp: WARM_UP, keys: KEYS, file },
    ...{ rate: scenario.rate, seconds: scenario.seconds, seed: SEED },
  };
  const program = new URL('./load-program.ts', import.meta.url).pathname;
  const load = stack.use(Running.start(Core.LOAD, [process.execPath, program, JSON.stringify(plan)]));
  await load.printed(/warm/);
  await Promise.all(
    scenario.endpoints.map((behaviour, index) => endpoints.tell({ act: 'behave', indexes: [index], behaviour })),
  );
  const beganMs = Number((await load.printed(/begins (\S+)\n/))[1]);
  await act(scenario, beganMs, endpoints, running);
  await sleep(Math.max(0, beganMs + scenario.seconds * 1000 - monotonicMs()));
  await load.printed(/done/);
  const report = await endpoints.report();
  const records = new Records(await readFile(file));
  return scenario.windows.map((window) => summarise(window, beganMs, records, report));
}

function settingOf({ joining, limit, slowStartSeconds }: Scenario, addresses: readonly string[]): PoolSetting {
  const first = addresses.length - joining;
  return { addresses: addresses.slice(0, first), joining: addresses.slice(first), limit, slowStartSeconds };
}

async function act(scenario: Scenario, beganMs: number, endpoints: Endpoints, running: RunningSubject): Promise<void> {
  const inOrder = scenario.acts.toSorted((a, b) => a.atMs - b.atMs);
  for (const { atMs, act: one } of inOrder) {
    await sleep(Math.max(0, beganMs + atMs - monotonicMs()));
    if (one === 'join') await running.join();
    else await endpoints.tell(one);
  }
}
