import type { Judgement } from '../admin/config-acts.ts';
import { OperationError } from '../base/errors.ts';
import type { ConfigCentre } from '../centre/config-centre.ts';
import { askAdmin } from './admin-client.ts';
import { replayText } from './replay-text.ts';
import type { Terminal } from './terminal.ts';

/** Living proxies that are asked at once; the first to answer has judged. One that has just died does not hold everybody up. */
const ASKED = 3;
/** A proxy asks registries that are new to it for 3 s. */
const PATIENCE_MS = 5000;

export interface LiveFlags {
  /** Ask this proxy by its admin API. */
  readonly admin?: string;
  /** Go on although the proxy would refuse the document. */
  readonly force?: boolean;
}

/**
 * Has a living proxy judge a document as a reload there would, says who it was, and what would become of its last requests; says so when there is none.
 * Rejects with an OperationError when the proxy would refuse it, unless forced.
 */
export async function judgeAlive(
  centre: ConfigCentre,
  document: string,
  flags: LiveFlags,
  terminal: Terminal,
): Promise<void> {
  const judged = await ask(centre, document, flags, terminal);
  if (judged === null) {
    terminal.error('evenkeel: no living proxy could be asked: judged without ports, registries and traffic\n');
    return;
  }
  const { by, judgement } = judged;
  terminal.out(`judged by ${by}, as a reload there would\n${unjudgedText(judgement)}${replayText(judgement.replay)}`);
  if (judgement.problems.length === 0) return;
  terminal.error(judgement.problems.map((problem) => `${problem}\n`).join(''));
  if (flags.force !== true) throw new OperationError('refused', `${by} would refuse it; --force goes on all the same`);
}

async function ask(
  centre: ConfigCentre,
  document: string,
  { admin }: LiveFlags,
  terminal: Terminal,
): Promise<{ readonly by: string; readonly judgement: Judgement } | null> {
  if (admin !== undefined)
    return { by: `the proxy at ${admin}`, judgement: await askByAdmin(admin, { document }, terminal) };
  const living = (await centre.living()).slice(0, ASKED);
  const answer = await centre.questions.ask(living, document, PATIENCE_MS);
  return answer === null ? null : { by: `the proxy ${answer.proxy}`, judgement: answer.judgement };
}

export function unjudgedText({ unjudged }: Judgement): string {
  return unjudged.map((what) => `not judged: ${what}\n`).join('');
}

/** The same by the admin API of one proxy. */
export async function askByAdmin(admin: string, body: object, terminal: Terminal): Promise<Judgement> {
  const answer = await askAdmin({ admin }, terminal, 'POST', '/api/v1/config/check', body);
  if (answer.status === 200) return answer.body as Judgement;
  throw new OperationError('not-judged', `${admin} answered ${answer.status}: ${answer.body?.error?.message}`);
}
