/**
 * The three protobuf messages of Nacos's gRPC, by hand: `Payload { Metadata metadata = 2; google.protobuf.Any body = 3 }`,
 * `Metadata { string type = 3; map<string, string> headers = 7; string clientIp = 8 }`, and of `Any` only `bytes value = 2`, which holds JSON.
 * Every field of them is length-delimited; fields that are not known are passed over, as protobuf wants it.
 */
export interface NacosPayload {
  /** The name of the class the JSON stands for: `SubscribeServiceRequest`. */
  readonly type: string;
  readonly headers: Readonly<Record<string, string>>;
  /** JSON. */
  readonly body: Buffer;
}

const METADATA = 2;
const BODY = 3;
const TYPE = 3;
const HEADERS = 7;
const VALUE = 2;
const MAP_KEY = 1;
const MAP_VALUE = 2;
/** How a field's value is written: protobuf's wire type 2. */
const LENGTH_DELIMITED = 2;

export function encodeNacosPayload({ type, headers, body }: NacosPayload): Buffer {
  const metadata = [field(TYPE, Buffer.from(type))];
  for (const [name, value] of Object.entries(headers)) {
    const entry = Buffer.concat([field(MAP_KEY, Buffer.from(name)), field(MAP_VALUE, Buffer.from(value))]);
    metadata.push(field(HEADERS, entry));
  }
  return Buffer.concat([field(METADATA, Buffer.concat(metadata)), field(BODY, field(VALUE, body))]);
}

/** Throws a RangeError when the bytes are no such message. */
export function decodeNacosPayload(bytes: Buffer): NacosPayload {
  let type = '';
  let body: Buffer = Buffer.alloc(0);
  const headers: Record<string, string> = {};
  for (const [number, value] of fieldsOf(bytes)) {
    if (number === BODY) for (const [inner, content] of fieldsOf(value)) if (inner === VALUE) body = content;
    if (number !== METADATA) continue;
    for (const [inner, content] of fieldsOf(value)) {
      if (inner === TYPE) type = content.toString();
      if (inner !== HEADERS) continue;
      const entry = new Map(fieldsOf(content));
      headers[entry.get(MAP_KEY)?.toString() ?? ''] = entry.get(MAP_VALUE)?.toString() ?? '';
    }
  }
  return { type, headers, body };
}

function field(number: number, content: Buffer): Buffer {
  return Buffer.concat([varint((number << 3) | LENGTH_DELIMITED), varint(content.length), content]);
}

function varint(value: number): Buffer {
  const bytes: number[] = [];
  let rest = value;
  while (rest > 127) {
    bytes.push((rest & 127) | 128);
    rest >>>= 7;
  }
  bytes.push(rest);
  return Buffer.from(bytes);
}

/** The length-delimited fields of a message, in order; others are passed over. */
function* fieldsOf(bytes: Buffer): Generator<[number: number, content: Buffer]> {
  let at = 0;
  const next = (): number => {
    let value = 0;
    for (let shift = 0; shift < 70; shift += 7) {
      if (at >= bytes.length) throw new RangeError('a message ends within a number');
      const byte = bytes[at++];
      // Nothing we read is longer than 2 GiB, so the upper bits of a longer number do not matter.
      if (shift < 28) value |= (byte & 127) << shift;
      if (byte < 128) return value;
    }
    throw new RangeError('a number of more than ten bytes');
  };
  while (at < bytes.length) {
    const tag = next();
    const wireType = tag & 7;
    if (wireType === 0) next();
    else if (wireType === 1) at += 8;
    else if (wireType === 5) at += 4;
    else if (wireType === LENGTH_DELIMITED) {
      const length = next();
      if (at + length > bytes.length) throw new RangeError('a field is longer than its message');
      yield [tag >>> 3, bytes.subarray(at, at + length)];
      at += length;
    } else throw new RangeError(`a field of the wire type ${wireType}`);
  }
}
