import { seededRandom } from '../../src/base/random.ts';
import { type Behaviour, type EndpointCommand, healthy, type State } from './behaviour.ts';
import type { Act, Scenario, Window } from './scenario.ts';

const RATE = 1200;
/** Before the first window: estimates have formed. */
const SETTLE_MS = 2000;
/** The one that goes wrong. */
const BAD = [0];
const RESTART_MS = 600;
const FLAP_MS = 3000;

const many = (count: number, behaviour: Behaviour = healthy) => new Array<Behaviour>(count).fill(behaviour);
const from = (first: number, count: number) => Array.from({ length: count }, (_, i) => first + i);

const behave = (atMs: number, indexes: readonly number[], change: Partial<Behaviour>): Act => ({
  atMs,
  act: { act: 'behave', indexes, behaviour: { ...healthy, ...change } },
});
const become = (atMs: number, indexes: readonly number[], state: State): Act => ({
  atMs,
  act: { act: 'become', indexes, state } satisfies EndpointCommand,
});

/** Every scenario, with windows of `lengthMs`. */
export function makeScenarios(lengthMs: number): readonly Scenario[] {
  const end = SETTLE_MS + lengthMs;
  const base = {
    endpoints: many(5),
    joining: 0,
    limit: null,
    slowStartSeconds: 0,
    rate: RATE,
    seconds: end / 1000,
    packetLoss: 0,
    acts: [],
  };
  const window: Omit<Window, 'name' | 'title'> = {
    fromMs: SETTLE_MS,
    toMs: end,
    marked: [],
    capacity: 0,
    timesFairness: false,
    target: {},
    hedgedTarget: {},
  };
  return [
    {
      ...base,
      name: 'brownout',
      title: 'healthy, then one endpoint 25 × slower, then recovered',
      seconds: (SETTLE_MS + 3 * lengthMs) / 1000,
      acts: [behave(end, BAD, { meanMs: 25 * healthy.meanMs }), behave(end + lengthMs, BAD, {})],
      windows: [
        {
          ...window,
          name: 'healthy',
          title: 'all healthy',
          target: { asBestPeer: true, errors: 0 },
          hedgedTarget: { p99Ms: 15, p999Ms: 22, errors: 0 },
        },
        {
          ...window,
          name: 'slower',
          title: 'one endpoint 25 × slower',
          fromMs: end,
          toMs: end + lengthMs,
          marked: BAD,
          target: { p99Ms: 30, p999Ms: 120, errors: 0 },
          hedgedTarget: { p99Ms: 22, p999Ms: 40, errors: 0 },
        },
        {
          ...window,
          name: 'recovered',
          title: 'recovered',
          fromMs: end + lengthMs,
          toMs: end + 2 * lengthMs,
          marked: BAD,
          timesFairness: true,
          target: { asBestPeer: true, fairAgainMs: 5000, errors: 0 },
          hedgedTarget: { fairAgainMs: 5000, errors: 0 },
        },
      ],
    },
    {
      ...base,
      name: 'silence',
      title: 'one endpoint accepts and never answers',
      acts: [behave(SETTLE_MS, BAD, { answers: 'silence' })],
      windows: [
        {
          ...window,
          name: 'silence',
          title: 'one accepts and never answers',
          marked: BAD,
          target: { p99Ms: 25, p999Ms: 60, errors: 0 },
          hedgedTarget: { p99Ms: 20, p999Ms: 35, errors: 0 },
        },
      ],
    },
    {
      ...base,
      name: 'errors',
      title: 'one endpoint answers 500 in 1 ms',
      acts: [behave(SETTLE_MS, BAD, { meanMs: 1, answers: 'error' })],
      windows: [
        {
          ...window,
          name: 'errors',
          title: 'one answers 500 in 1 ms',
          marked: BAD,
          target: { share: 0.01 },
          hedgedTarget: { share: 0.01 },
        },
      ],
    },
    {
      ...base,
      name: 'flapping',
      title: 'one endpoint is killed and comes back every 3 s',
      seconds: (SETTLE_MS + 3 * FLAP_MS) / 1000,
      acts: [
        become(SETTLE_MS, BAD, 'killed'),
        become(SETTLE_MS + FLAP_MS, BAD, 'up'),
        become(SETTLE_MS + 2 * FLAP_MS, BAD, 'killed'),
      ],
      windows: [
        {
          ...window,
          name: 'flapping',
          title: 'one dies and returns every 3 s',
          toMs: SETTLE_MS + 3 * FLAP_MS,
          marked: BAD,
          target: { errors: 0 },
          hedgedTarget: { errors: 0 },
        },
      ],
    },
    {
      ...base,
      name: 'joining',
      title: 'a sixth endpoint joins cold; each serves four at once',
      endpoints: [...many(5, { ...healthy, parallel: 4 }), ...many(1, { ...healthy, parallel: 4, coldRequests: 300 })],
      joining: 1,
      slowStartSeconds: 10,
      acts: [{ atMs: SETTLE_MS, act: 'join' }],
      windows: [{ ...window, name: 'joining', title: 'a cold one joins', marked: [5], target: { errors: 0 } }],
    },
    {
      ...base,
      name: 'halved',
      title: 'three of six endpoints are killed at once',
      endpoints: many(6),
      acts: [become(SETTLE_MS, from(0, 3), 'killed')],
      windows: [
        {
          ...window,
          name: 'halved',
          title: 'half are killed at once',
          marked: from(0, 3),
          target: { errors: 0 },
          hedgedTarget: { errors: 0 },
        },
      ],
    },
    {
      ...base,
      name: 'overload',
      title: 'each endpoint serves one at a time; 130 % of what they can',
      endpoints: many(5, { ...healthy, parallel: 1 }),
      // Whoever waits longer than 100 ms is refused.
      limit: { active: 4, queue: 256, queueMs: 100 },
      rate: 1.3 * 1250,
      windows: [
        {
          ...window,
          name: 'overload',
          title: 'overload, 130 %',
          capacity: 1250,
          target: { goodput: 0.95, p99Ms: 250 },
          hedgedTarget: { goodput: 0.95, p99Ms: 250 },
        },
      ],
    },
    {
      ...base,
      name: 'lossy',
      title: 'the network to the endpoints loses 1 % of the packets',
      packetLoss: 0.01,
      windows: [{ ...window, name: 'lossy', title: '1 % packet loss', target: { errors: 0 } }],
    },
    {
      ...base,
      name: 'restarts',
      title: 'every endpoint restarts in turn',
      acts: from(0, 5).flatMap((index) => {
        const atMs = SETTLE_MS + (index * lengthMs) / 5;
        return [become(atMs, [index], 'restarting'), become(atMs + RESTART_MS, [index], 'up')];
      }),
      windows: [
        {
          ...window,
          name: 'restarts',
          title: 'rolling restart',
          target: { errors: 0 },
          hedgedTarget: { errors: 0 },
        },
      ],
    },
    {
      ...base,
      name: 'zipf',
      title: '500 endpoints with a zipf of speeds, two at once each',
      endpoints: zipf(500),
      windows: [{ ...window, name: 'zipf', title: '500, zipf of speeds', target: { errors: 0 } }],
    },
  ];
}

/** The k-th fastest takes 2 ms × k^0.8 (2 ms … 288 ms), in an order that is the same every time. */
function zipf(count: number): Behaviour[] {
  const random = seededRandom(500);
  return from(1, count)
    .map((rank) => ({ rank, order: random() }))
    .sort((a, b) => a.order - b.order)
    .map(({ rank }) => ({ ...healthy, meanMs: 2 * rank ** 0.8, parallel: 2 }));
}
