import { GONE_MS } from './config-centre.ts';
import type { Head, ProxyReport } from './version.ts';

/** How a proxy stands to what the head has for it. `behind`: it has not said yet that it runs that. */
export type ProxyState = 'as it should' | 'behind' | 'gone' | `refused ${number}`;

/** `ageMs`: time since it spoke. */
export function proxyState({ name, id, refused }: ProxyReport, ageMs: number, head: Head | null): ProxyState {
  if (ageMs > GONE_MS) return 'gone';
  if (refused !== null) return `refused ${refused.number}`;
  const wanted = head?.stage?.proxies.includes(name) === true ? head.stage.key : head?.key;
  return wanted?.split('-')[1] === id ? 'as it should' : 'behind';
}
