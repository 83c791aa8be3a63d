import type { ChildProcess } from 'node:child_process';
import type { EndpointChange, UpgradeResult } from '../admin/control.ts';
import { ConfigError } from '../base/errors.ts';
import type { EventLog } from '../telemetry/event-log.ts';
import type { DocumentOptions } from './document.ts';
import type { Ending } from './ending.ts';
import type { HealthFile } from './health-file.ts';
import type { Predecessor } from './predecessor.ts';
import type { ReloadParts } from './reload.ts';
import type { RunningState } from './running-state.ts';
import type { Turns } from './turns.ts';
import { Upgrade } from './upgrade.ts';
import type { Inheritance } from './upgrade-messages.ts';

export interface SuccessionParts
  extends Pick<ReloadParts, 'pools' | 'sources' | 'addresses' | 'admin' | 'lent' | 'ticketKeys'> {
  readonly events: EventLog;
  readonly state: RunningState;
  readonly turns: Turns;
  readonly ending: Ending;
  readonly health: HealthFile;
  readonly runtime: () => DocumentOptions['runtime'];
  /** The process whose place this one takes. */
  readonly predecessor: Predecessor | null;
  /** Starts the program once more, as a process with an IPC channel; null where that is not possible. */
  readonly startSuccessor: (() => ChildProcess) | null;
}

/** The processes before and after this one, on main: what goes from one to the next, and what operators ask of one that concerns the others. */
export class Succession {
  readonly #parts: SuccessionParts;
  /** The attempt under way, or the one that came to something. */
  #upgrade: Upgrade | null = null;
  /** An attempt waits for its turn, is under way, or came to something. */
  #isAsked = false;

  constructor(parts: SuccessionParts) {
    this.#parts = parts;
  }

  /** Whether another process is coming up, or has taken over. */
  get hasBegun(): boolean {
    return this.#upgrade !== null;
  }

  /** Takes over what the process before this one knows; without one, what is on disk. Resolves with what it told. Before anything is started. */
  async inherit(): Promise<Inheritance | null> {
    const { predecessor, addresses, health, pools, ticketKeys } = this.#parts;
    const inheritance = (await predecessor?.inheritance()) ?? null;
    if (inheritance === null) health.load();
    else {
      addresses.inherit(inheritance.addresses);
      health.inherit(inheritance.health);
      pools.inherit(inheritance.overrides);
      ticketKeys.inherit(inheritance.ticketKeys);
    }
    predecessor?.follow({
      endpoint: (pool, endpoint, change) => {
        pools.followEndpoint(pool, endpoint, change);
        void this.#upgrade?.tell(pool, endpoint, change);
      },
      active: (counts) => pools.countElsewhere(counts),
    });
    return inheritance;
  }

  /** An operator changed an endpoint here. Resolves when that is in force in the other processes too. */
  async tellEndpoint(pool: string, endpoint: string, change: EndpointChange): Promise<void> {
    await this.#upgrade?.tell(pool, endpoint, change);
    await this.#parts.predecessor?.tell(pool, endpoint, change);
  }

  /** Resolves when the new process serves, or when it is sure that it will not. One at a time: a second one is refused at once. */
  async upgrade(): Promise<UpgradeResult> {
    const refusal = this.#refusal();
    if (refusal !== null) return { upgraded: false, message: refusal, problems: [] };
    this.#isAsked = true;
    return this.#parts.turns.take(() => this.#run());
  }

  /** A signal that found this process succeeded: the one that serves gets it. */
  passOn(signal: NodeJS.Signals): void {
    if (this.#parts.ending.isSucceeded) this.#upgrade?.passOn(signal);
  }

  /** The process ends: nobody is to come in its place any more. */
  abort(reason: string): void {
    this.#upgrade?.abort(reason);
  }

  #upgradeParts() {
    const { lent, sources, admin, pools, predecessor } = this.#parts;
    return {
      lent,
      sources,
      admin,
      inheritance: () => this.#inheritance(),
      active: () => pools.active(),
      // The process that took over was asked for it.
      setEndpoint: async (pool: string, endpoint: string, change: EndpointChange) => {
        pools.followEndpoint(pool, endpoint, change);
        await predecessor?.tell(pool, endpoint, change);
      },
    };
  }

  #inheritance(): Inheritance {
    const { addresses, admin, pools, ticketKeys } = this.#parts;
    return {
      addresses: addresses.all,
      admin: admin.bind,
      health: pools.remember(),
      overrides: pools.overrides(),
      ticketKeys: Buffer.from(ticketKeys.current).toString('base64'),
    };
  }

  async #run(): Promise<UpgradeResult> {
    const { events, ending, runtime, startSuccessor } = this.#parts;
    let pid = 0;
    try {
      ending.refuseActs();
      const upgrade = new Upgrade(this.#upgradeParts(), startSuccessor!());
      pid = upgrade.pid;
      this.#upgrade = upgrade;
      events.publish({ type: 'upgrading', pid });
      await upgrade.run(runtime().upgradeTimeout);
    } catch (error) {
      this.#isAsked = false;
      const problems = error instanceof ConfigError ? error.problems : [];
      const message = error instanceof Error ? error.message : String(error);
      this.#upgrade = null;
      events.publish({ type: 'upgrade-failed', reason: message });
      return { upgraded: false, message, problems };
    }
    ending.succeeded();
    events.publish({ type: 'upgraded', pid });
    return { upgraded: true, pid };
  }

  /** Why there can be no upgrade now; null when there can. */
  #refusal(): string | null {
    const { startSuccessor, ending, state } = this.#parts;
    if (startSuccessor === null) return 'this program cannot be upgraded while it runs';
    // With the first process of a container all others end.
    if (process.pid === 1)
      return 'this process is the first of its container, which would end with it; replace the container';
    if (ending.hasBegun) return 'this process is shutting down';
    if (this.#isAsked) return `an upgrade is under way: process ${this.#upgrade?.pid ?? 'not started yet'}`;
    return state.wasReady ? null : 'this process is not ready yet';
  }
}
