import type { AccessRecord } from '../proxy/access-sink.ts';
import type { SessionRecord } from '../proxy/session-record.ts';

/** `.001` … `.999` without trailing zeros, '' for 0: formatting a fraction through Number costs 100 ns more, four times a line. */
const FRACTIONS: readonly string[] = Array.from({ length: 1000 }, (_, thousandths) =>
  thousandths === 0 ? '' : `.${String(thousandths).padStart(3, '0').replace(/0+$/, '')}`,
);

/** `000` … `999`. */
const MILLISECONDS: readonly string[] = Array.from({ length: 1000 }, (_, ms) => String(ms).padStart(3, '0'));

/** What JSON must escape, and lone surrogates, which it should. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what is looked for
const UNSAFE = /["\\\u0000-\u001f\ud800-\udfff]/;

let stampSecond = -1;
let stampPrefix = '';

/**
 * One access-log line, ended by a line feed: a JSON object with the fields of the contract, in its order. Called once per exchange in a
 * worker. Phases are ms with at most 3 decimals; `null` stands where there was no endpoint, no reason or no such phase; `hedge` and `traceId` are
 * there only when there is one. `wallMs` is the wall clock's ms since 1970, when the exchange ended.
 */
export function formatAccessLine(x: AccessRecord, wallMs: number, withQuery: boolean): string {
  const path = withQuery && x.query !== '' ? `${x.path}?${x.query}` : x.path;
  // Addresses and trace identifiers are made by us or read as hex digits: nothing in them needs escaping.
  return (
    `{"time":"${timestamp(wallMs)}${place(x)}${x.endpointId === '' ? 'null' : `"${x.endpointId}"`},"client":"${x.clientAddress}",` +
    `"method":${quote(x.methodText)},"path":${quote(path)},"status":${x.status},"reason":${x.reason === '' ? 'null' : `"${x.reason}"`},` +
    `"bytesIn":${x.bytesIn},"bytesOut":${x.bytesOut},"attempts":${x.attempts},"queue":${phase(x.queueMs)},` +
    `"connect":${phase(x.connectMs)},"response":${phase(x.responseMs)},"total":${phase(x.totalMs)}` +
    (x.hedge === '' ? '' : `,"hedge":"${x.hedge}"`) +
    (x.traceId === '' ? '}\n' : `,"traceId":"${x.traceId}"}\n`)
  );
}

/** The same for a TCP connection or a UDP session: no method, path and status; `serverName` is there when a TLS client asked for one. */
export function formatSessionLine(x: SessionRecord, wallMs: number): string {
  const name = x.serverName === '' ? '' : `"serverName":${quote(x.serverName)},`;
  return (
    `{"time":"${timestamp(wallMs)}${place(x)}${x.endpointId === '' ? 'null' : `"${x.endpointId}"`},"client":"${x.clientAddress}",` +
    `"protocol":"${x.protocol}",${name}"reason":${x.reason === '' ? 'null' : `"${x.reason}"`},` +
    `"bytesIn":${x.bytesIn},"bytesOut":${x.bytesOut},"attempts":${x.attempts},"queue":${phase(x.queueMs)},` +
    `"connect":${phase(x.connectMs)},"response":${phase(x.responseMs)},"total":${phase(x.totalMs)}}\n`
  );
}

/** What stands between the time and the endpoint, for the route asked for last: a thread serves few routes, each many times in a row. */
let placeListener = '';
let placeRoute = '';
let placePool = '';
let placeText = placeOf('', '', '');

function place(x: AccessRecord | SessionRecord): string {
  if (x.routeName !== placeRoute || x.poolName !== placePool || x.listenerName !== placeListener) {
    placeListener = x.listenerName;
    placeRoute = x.routeName;
    placePool = x.poolName;
    placeText = placeOf(placeListener, placeRoute, placePool);
  }
  return placeText;
}

function placeOf(listener: string, route: string, pool: string): string {
  const text = `Z","listener":${quote(listener)},"route":${quote(route)},"pool":${quote(pool)},"endpoint":`;
  // V8 keeps a built text as a tree of pieces; read back from JSON it is one piece, which every line copies.
  return JSON.parse(JSON.stringify(text)) as string;
}

/** ISO 8601 in UTC with ms; the part up to the second is kept, because toISOString costs 300 ns. */
function timestamp(wallMs: number): string {
  const second = Math.floor(wallMs / 1000);
  if (second !== stampSecond) {
    stampSecond = second;
    stampPrefix = new Date(second * 1000).toISOString().slice(0, 20);
  }
  const ms = Math.floor(wallMs - second * 1000);
  return stampPrefix + MILLISECONDS[ms];
}

function quote(text: string): string {
  return UNSAFE.test(text) ? JSON.stringify(text) : `"${text}"`;
}

function phase(ms: number): string {
  if (!(ms >= 0)) return 'null';
  const thousandths = Math.round(ms * 1000);
  const whole = Math.floor(thousandths / 1000);
  return whole + FRACTIONS[thousandths - whole * 1000];
}
