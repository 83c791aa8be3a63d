import type { Clock } from '../base/clock.ts';
import type { Endpoint } from '../endpoint/endpoint.ts';
import { Damping, type DampingOptions } from '../health/damping.ts';
import type { Member } from './member.ts';

/** What holding an endpoint down needs of its pool. */
export interface FlappingContext {
  readonly clock: Clock;
  readonly members: ReadonlyMap<string, Member>;
  readonly onFlapping: (endpoint: Endpoint, forMs: number) => void;
  /** It need not be held any longer: what its probe and registry say counts again. */
  readonly onReleased: (member: Member) => void;
}

/** Keeps a pool's endpoints down that probe or registry take out and bring back too often, unless nobody else is up. On main, one per pool. */
export class Flapping {
  readonly #damping: Damping;
  readonly #context: FlappingContext;

  constructor(options: DampingOptions, context: FlappingContext) {
    this.#damping = new Damping(options, context.clock);
    this.#context = context;
  }

  /** An endpoint that was up went down by its probe or its registry. */
  wentDown({ endpoint }: Member): void {
    const forMs = this.#damping.wentDown(endpoint.id);
    if (forMs > 0) this.#context.onFlapping(endpoint, forMs);
  }

  /** Whether it must stay down although `who` finds it fit again; marks it then. */
  holds(member: Member, who: 'probe' | 'registry'): boolean {
    if (!this.#damping.isHeld(member.endpoint.id) || !this.#isAnyUp()) return false;
    member.isHeld = true;
    member.downReason = `${who}: flapping, held down for a while`;
    return true;
  }

  /** Called about once a second: those whose time is over come back, or all when nobody else is up. */
  sweep(): void {
    this.#damping.sweep();
    let isAnyUp: boolean | null = null;
    for (const [id, member] of this.#context.members) {
      if (!member.isHeld) continue;
      isAnyUp ??= this.#isAnyUp();
      if (!isAnyUp) this.#damping.release(id);
      if (!this.#damping.isHeld(id)) this.#context.onReleased(member);
    }
  }

  #isAnyUp(): boolean {
    for (const { endpoint } of this.#context.members.values())
      if (endpoint.down === 0 && endpoint.weight > 0) return true;
    return false;
  }
}
