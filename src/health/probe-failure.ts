import { OperationError } from '../base/errors.ts';

/** Why a check failed, for the log and the API: the operating system's word (`ECONNREFUSED`) or the reason of the abort. */
export function probeFailure(error: Error, signal: AbortSignal): OperationError {
  if (signal.aborted && signal.reason instanceof OperationError) return signal.reason;
  const code = (error as NodeJS.ErrnoException).code;
  return new OperationError('PROBE_FAILED', code ?? error.message, { retryable: true, cause: error });
}
