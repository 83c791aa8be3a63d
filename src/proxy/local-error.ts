/** Errors of our own machine (no descriptors, no ports left): they say nothing about the endpoint. */
const LOCAL_ERRORS = new Set(['EMFILE', 'ENFILE', 'ENOBUFS', 'ENOMEM', 'EADDRNOTAVAIL']);

/** Whether a failed dial is our own machine's fault. */
export function isLocalError(error: NodeJS.ErrnoException): boolean {
  return LOCAL_ERRORS.has(error.code ?? '');
}
