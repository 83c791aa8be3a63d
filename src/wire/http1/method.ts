/** Request methods as small integers, in the order of routing's METHOD_LABELS. OTHER is every other token: method names are case-sensitive. */
export const Method = {
  GET: 0,
  HEAD: 1,
  POST: 2,
  PUT: 3,
  DELETE: 4,
  PATCH: 5,
  OPTIONS: 6,
  TRACE: 7,
  CONNECT: 8,
  OTHER: 9,
} as const;
export type Method = (typeof Method)[keyof typeof Method];

const SAFE = Uint8Array.of(1, 1, 0, 0, 0, 0, 1, 1, 0, 0);
const IDEMPOTENT = Uint8Array.of(1, 1, 0, 1, 1, 0, 1, 1, 0, 0);

/** RFC 9110 §9.2.1: asks for no change. OTHER is not known to be safe. */
export function isSafe(method: number): boolean {
  return SAFE[method] === 1;
}

/** RFC 9110 §9.2.2: may be sent again without asking the client. OTHER is not known to be idempotent. */
export function isIdempotent(method: number): boolean {
  return IDEMPOTENT[method] === 1;
}

/** The method whose name is buf[start, end). Hot path: compares the first letters, then the rest. */
export function methodOf(buf: Uint8Array, start: number, end: number): Method {
  const word = (buf[start] << 16) | (buf[start + 1] << 8) | buf[start + 2];
  switch (end - start) {
    case 3:
      return word === 0x474554 ? Method.GET : word === 0x505554 ? Method.PUT : Method.OTHER;
    case 4:
      if (word === 0x504f53 && buf[start + 3] === 0x54) return Method.POST;
      return word === 0x484541 && buf[start + 3] === 0x44 ? Method.HEAD : Method.OTHER;
    case 5:
      if (word === 0x504154) return spells(buf, start, 'PATCH') ? Method.PATCH : Method.OTHER;
      return spells(buf, start, 'TRACE') ? Method.TRACE : Method.OTHER;
    case 6:
      return spells(buf, start, 'DELETE') ? Method.DELETE : Method.OTHER;
    case 7:
      if (word === 0x4f5054) return spells(buf, start, 'OPTIONS') ? Method.OPTIONS : Method.OTHER;
      return spells(buf, start, 'CONNECT') ? Method.CONNECT : Method.OTHER;
    default:
      return Method.OTHER;
  }
}

function spells(buf: Uint8Array, start: number, word: string): boolean {
  for (let i = 0; i < word.length; i++) if (buf[start + i] !== word.charCodeAt(i)) return false;
  return true;
}
