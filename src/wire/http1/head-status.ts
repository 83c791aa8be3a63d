/**
 * What `read` says of the bytes at hand. INCOMPLETE: so far they could begin a valid head within the limits; call again with the same
 * start and more bytes. After COMPLETE the next `read` begins another head; after ERROR only `reset` leads on.
 */
export const HeadStatus = { COMPLETE: 0, INCOMPLETE: 1, ERROR: 2 } as const;
export type HeadStatus = (typeof HeadStatus)[keyof typeof HeadStatus];

/** What a head may take: bytes from its start to the end of the empty line, header lines, bytes of the request target. */
export interface HeadLimits {
  readonly headBytes: number;
  readonly headers: number;
  readonly target: number;
}

/** How far a head is read. From FRESH to LINES while bytes are missing; COMPLETE and FAILED are the two ends. */
export const Phase = { FRESH: 0, START_LINE: 1, LINES: 2, COMPLETE: 3, FAILED: 4 } as const;
export type Phase = (typeof Phase)[keyof typeof Phase];

/** What evenkeel answers with when a head is refused; a subset of the listeners' reasons. */
export type HeadReason =
  | 'bad-request'
  | 'head-too-large'
  | 'uri-too-long'
  | 'not-implemented'
  | 'version-not-supported';

/** Where the reading of a head stands once `read` has looked at all there is. */
export function statusOf(phase: Phase): HeadStatus {
  if (phase === Phase.COMPLETE) return HeadStatus.COMPLETE;
  return phase === Phase.FAILED ? HeadStatus.ERROR : HeadStatus.INCOMPLETE;
}
