import { type Addresses, placeKey } from './addresses.ts';
import type { ListenerSet } from './listener-set.ts';
import type { Predecessor } from './predecessor.ts';
import type { Workers } from './workers.ts';

/**
 * Every worker gets a socket on every address, at the start: one that the process before this one listened on, as long as there are any, else one of its
 * own. Resolves when all listen; rejects with an OperationError when one cannot.
 */
export async function listenEverywhere(
  { listeners, workers, addresses }: { listeners: ListenerSet; workers: Workers; addresses: Addresses },
  predecessor: Predecessor | null,
): Promise<void> {
  const places = listeners.binds();
  const rows = workers.serving();
  const streams = places.filter(({ transport }) => transport === 'tcp');
  const given = new Map<string, number>(streams.map((place) => [placeKey(place), 0]));
  await predecessor?.takeListeners([...given.keys()], (key, server) => {
    const place = streams.find((one) => placeKey(one) === key)!;
    const count = given.get(key) ?? 0;
    given.set(key, count + 1);
    workers.post(rows[count % rows.length], { kind: 'adopt', ...place, server });
  });
  for (const [i, row] of rows.entries())
    for (const place of places) {
      if (place.transport === 'udp') workers.post(row, { kind: 'listen-udp', place, at: addresses.reserved(place) });
      else if (given.get(placeKey(place))! <= i)
        workers.post(row, { kind: 'listen', ...place, socket: addresses.socket(place) });
    }
  await listeners.allListening(rows.length);
}
