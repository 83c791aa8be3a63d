/** Exit statuses of every command. */
export const Exit = {
  DONE: 0,
  /** Failed at run time. */
  FAILED: 1,
  /** Wrong usage. */
  USAGE: 2,
  /** The configuration is at fault; nothing was started (EX_CONFIG of sysexits.h). */
  CONFIG: 78,
} as const;
