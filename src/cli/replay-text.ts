import type { Replay, ReplayGroup } from '../admin/config-acts.ts';

/** What would become of a proxy's last requests, a line for each sort of them. */
export function replayText(replay: Replay | null): string {
  if (replay === null) return '';
  const { sampled, moved, failing, unknown } = replay;
  if (sampled === 0) return 'the proxy has sampled no request yet (log.sample)\n';
  const told = (word: string) => (group: ReplayGroup) =>
    `${word} ${group.requests} of ${sampled} sampled requests: ${group.from} ⇒ ${group.to}, such as ${group.example}\n`;
  const lines = [...failing.map(told('FAIL')), ...moved.map(told('move'))];
  if (unknown > 0)
    lines.push(`${unknown} of ${sampled} sampled requests: unknown, a route asks for what was not kept\n`);
  return lines.join('') || `all of ${sampled} sampled requests would go where they went\n`;
}
