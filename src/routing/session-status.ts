/** How a session ended, in the numbers of a route's status cells: what HTTP would have said. */
export const SessionStatus = { OK: 200, CLIENT_GONE: 499, FAILED: 502, REFUSED: 503, TIMED_OUT: 504 } as const;
export type SessionStatus = (typeof SessionStatus)[keyof typeof SessionStatus];

/** Values of the `outcome` label of sessions. */
export const SESSION_OUTCOMES: readonly (readonly [outcome: string, status: SessionStatus])[] = [
  ['ok', SessionStatus.OK],
  ['client-gone', SessionStatus.CLIENT_GONE],
  ['failed', SessionStatus.FAILED],
  ['refused', SessionStatus.REFUSED],
  ['timed-out', SessionStatus.TIMED_OUT],
];

const BY_REASON: Readonly<Record<string, SessionStatus>> = {
  '': SessionStatus.OK,
  age: SessionStatus.OK,
  'client-gone': SessionStatus.CLIENT_GONE,
  'connect-timeout': SessionStatus.TIMED_OUT,
  'idle-timeout': SessionStatus.TIMED_OUT,
  'head-timeout': SessionStatus.TIMED_OUT,
  'pending-timeout': SessionStatus.REFUSED,
  'no-endpoint': SessionStatus.REFUSED,
  'no-route': SessionStatus.REFUSED,
  limit: SessionStatus.REFUSED,
  draining: SessionStatus.REFUSED,
  removed: SessionStatus.REFUSED,
};

/** The status a session with this reason (see SessionRecord) is counted by. */
export function sessionStatusOf(reason: string): SessionStatus {
  return BY_REASON[reason] ?? SessionStatus.FAILED;
}
