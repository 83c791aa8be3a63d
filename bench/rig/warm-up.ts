/** Load before anything is counted: connections open, and JavaScript is not compiled to its end before some ten thousand requests. */
const ENOUGH = 40_000;
const NO_ANSWER_SECONDS = 20;

/** Resolves when enough was asked, or `maxSeconds` are over. `second` makes a second of load and says how much was answered. */
export async function warmUp(maxSeconds: number, second: () => Promise<number>): Promise<void> {
  let answered = 0;
  for (let seconds = 0; answered === 0 || (seconds < maxSeconds && answered < ENOUGH); seconds++) {
    if (seconds === NO_ANSWER_SECONDS) throw new Error(`no answer within ${NO_ANSWER_SECONDS} s of load`);
    answered += await second();
  }
}
