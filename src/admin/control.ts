import type { ConfigProblem } from '../base/errors.ts';
import type { PoolExplanation } from '../pool/explanation.ts';
import type { RouteReason } from '../routing/route-reasons.ts';
import type { AdminState } from '../telemetry/live-state.ts';
import type { CentreActs, Judgement } from './config-acts.ts';

/** What the admin API may change about an endpoint; what is absent stays as it is. */
export interface EndpointChange {
  readonly state?: AdminState;
  /** 0…65535 with at most two decimals. */
  readonly weight?: number;
}

export type SetEndpointResult = 'done' | 'no-pool' | 'no-endpoint';

/** How a reload ended. A refused document leaves everything as it was. */
export type ReloadResult =
  | { readonly accepted: true; readonly version: string; readonly versionNumber: number; readonly isChanged: boolean }
  | { readonly accepted: false; readonly message: string; readonly problems: readonly ConfigProblem[] };

/** Which workers have a fresh thread now; `message` says why the rest has not, null when all have. */
export interface RestartResult {
  readonly restarted: readonly number[];
  readonly message: string | null;
}

/** How an upgrade ended. When the new process did not come up the old one runs on; `problems` are those of its document. */
export type UpgradeResult =
  | { readonly upgraded: true; readonly pid: number }
  | { readonly upgraded: false; readonly message: string; readonly problems: readonly ConfigProblem[] };

/** A request somebody wants explained; nobody sends it. */
export interface Question {
  readonly method: string;
  readonly url: string;
  readonly headers: readonly (readonly [string, string])[];
  /** Address of the client, for schedulers that hash on it. */
  readonly client?: string;
  /** Default: the one on the URL's port, else the first. */
  readonly listener?: string;
}

/** Where a request would go and why. */
export interface Explanation {
  readonly request: { readonly method: string; readonly url: string; readonly client: string | null };
  readonly listener: string;
  readonly route: { readonly name: string; readonly middleware: readonly string[] } | null;
  /** What the client would be answered when no route matches. */
  readonly refusal: { readonly status: number; readonly reason: string } | null;
  /** Why each of the other routes did not get it. */
  readonly others: readonly RouteReason[];
  readonly pool: PoolExplanation | null;
}

/** `fault`: what is wrong with the question. */
export type Explained = Explanation | { readonly fault: string };

/** The acts an operator may do. The composition root provides it; called on main by the admin API, never concurrently with itself. */
export interface Control {
  /**
   * In force at once; resolves when it is also in the process that this one succeeds, where that still drains. Survives registry pushes, reloads and upgrades,
   * not a restart. Never rejects.
   */
  setEndpoint(pool: string, endpoint: string, change: EndpointChange): Promise<SetEndpointResult>;
  /** Says where a request would go and why. Changes nothing, sends nothing. */
  explain(question: Question): Explained;
  /** Reads the document again and puts it in force. Resolves with a refusal for whatever is wrong with the document (also a busy port). */
  reload(): Promise<ReloadResult>;
  /** Judges a document as a reload would, and tells what it would change against another one (null: the one in force). Nothing takes effect. */
  judge(document: string, against: string | null): Promise<Judgement>;
  /** Null when the document is a file. */
  readonly centre: CentreActs | null;
  /** Puts fresh threads in place of all workers, one after the other, without losing a connection. Resolves when the last has taken over. */
  restartWorkers(): Promise<RestartResult>;
  /** Starts the program anew, as it lies on disk now, in a process that takes over every connection that waits. Resolves when it serves or has failed. */
  upgrade(): Promise<UpgradeResult>;
}
