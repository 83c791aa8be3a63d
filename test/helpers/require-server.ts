/**
 * Whether a suite for a real server has to be skipped: for `describe.skipIf(requireServer('consul', findConsul()))`. Says by name what
 * is skipped; with EVENKEEL_REQUIRE_SERVERS=1 a missing server is a failure of the file instead.
 */
export function requireServer(name: string, found: unknown): boolean {
  const missing = found === null || found === undefined || found === false || found === '';
  if (!missing) return false;
  const how = 'sh test/servers/install.sh brings it on Debian';
  if (process.env.EVENKEEL_REQUIRE_SERVERS === '1') throw new Error(`${name} is required and was not found; ${how}`);
  console.warn(`skipped: ${name} was not found; ${how}`);
  return true;
}
