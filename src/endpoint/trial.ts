/**
 * The one request that tells whether an ejected endpoint is well again, as one shared word of its slot. Main opens it when the ejection's time is
 * over and reads the result; one worker at a time holds it. From HELD on: HELD plus the row of the thread whose request it is.
 */
export const Trial = { NONE: 0, OPEN: 1, PASSED: 2, FAILED: 3, HELD: 16 } as const;
