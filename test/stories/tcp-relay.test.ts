import { createHash, randomBytes } from 'node:crypto';
import { connect, type Socket } from 'node:net';
import { setTimeout as pause } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { echo, type TcpOrigin, tcpOrigin } from '../helpers/echo.ts';
import { eventually } from '../helpers/eventually.ts';
import { type RunningProxy, startProxy } from '../helpers/proxy.ts';
import { refusingPort } from '../helpers/refusing-port.ts';

/** Everything a connection of a test heard, and how it ended. */
class Talk {
  readonly socket: Socket;
  text = '';
  isEnded = false;
  error = '';
  isClosed = false;

  constructor(port: number) {
    this.socket = connect({ port, host: '127.0.0.1', allowHalfOpen: true });
    this.socket.on('data', (bytes) => {
      this.text += bytes.toString('latin1');
    });
    this.socket.on('end', () => {
      this.isEnded = true;
    });
    this.socket.on('error', (error: NodeJS.ErrnoException) => {
      this.error = error.code ?? '';
    });
    this.socket.on('close', () => {
      this.isClosed = true;
    });
  }
}

describe('a TCP listener carries bytes as they are', () => {
  let handle: (socket: Socket) => void = echo;
  let origin: TcpOrigin;
  let proxy: RunningProxy;

  beforeAll(async () => {
    origin = await tcpOrigin((socket) => handle(socket));
    proxy = await startProxy({
      listeners: [{ name: 'redis', bind: '127.0.0.1:0', protocol: 'tcp', pool: 'redis' }],
      pools: { redis: { endpoints: [{ address: origin.address }] } },
      log: { access: 'stdout' },
    });
  });

  afterAll(async () => {
    await proxy.stop();
    await origin.close();
  });

  it('50 MiB both ways at once arrive whole, and both ends are told of the end', async () => {
    handle = echo;
    const sent = createHash('sha256');
    const heard = createHash('sha256');
    const socket = connect({ port: proxy.port(), host: '127.0.0.1', allowHalfOpen: true });
    let bytes = 0;
    socket.on('data', (piece) => {
      heard.update(piece);
      bytes += piece.length;
    });
    const ended = new Promise((resolve) => socket.once('end', resolve));
    const block = randomBytes(1024 * 1024);
    for (let i = 0; i < 50; i++) {
      block.writeUInt32BE(i, 0);
      const piece = Buffer.from(block.subarray(0, block.length - i * 1013));
      sent.update(piece);
      if (!socket.write(piece)) await new Promise((resolve) => socket.once('drain', resolve));
    }
    socket.end();
    await ended;
    expect(bytes).toBe(socket.bytesWritten);
    expect(heard.digest('hex')).toBe(sent.digest('hex'));
    await eventually(() => origin.open === 0);
  });

  it('an end of the client reaches the endpoint, whose answer still comes', async () => {
    handle = (socket) => {
      let heard = '';
      socket.on('data', (bytes) => {
        heard += bytes.toString();
      });
      socket.on('end', () => socket.end(`you said ${heard}`));
    };
    const talk = new Talk(proxy.port());
    talk.socket.end('all of it');
    await eventually(() => talk.isClosed);
    expect(talk).toMatchObject({ text: 'you said all of it', isEnded: true, error: '' });
  });

  it('an end of the endpoint reaches the client, which may go on speaking', async () => {
    const heard: string[] = [];
    handle = (socket) => {
      socket.on('data', (bytes) => heard.push(bytes.toString()));
      socket.end('bye');
    };
    const talk = new Talk(proxy.port());
    await eventually(() => talk.isEnded);
    expect(talk.text).toBe('bye');
    talk.socket.write('one more thing');
    await eventually(() => heard.join('') === 'one more thing');
    talk.socket.end();
    await eventually(() => talk.isClosed && origin.open === 0);
    expect(talk.error).toBe('');
  });

  it('an end without a byte before it reaches the endpoint', async () => {
    let isEnded = false;
    handle = (socket) => {
      socket.resume();
      socket.on('end', () => {
        isEnded = true;
        socket.end();
      });
    };
    const talk = new Talk(proxy.port());
    talk.socket.end();
    await eventually(() => isEnded && talk.isClosed);
    expect(talk.error).toBe('');
  });

  it('a reset of the endpoint is a reset for the client', async () => {
    handle = (socket) => socket.once('data', () => socket.resetAndDestroy());
    const talk = new Talk(proxy.port());
    talk.socket.write('x');
    await eventually(() => talk.isClosed);
    expect(talk).toMatchObject({ error: 'ECONNRESET', isEnded: false });
  });

  it('a reset of the client is a reset for the endpoint', async () => {
    let error = '';
    handle = (socket) => {
      socket.on('data', () => socket.write('y'));
      socket.on('error', (one: NodeJS.ErrnoException) => {
        error = one.code ?? '';
      });
    };
    const talk = new Talk(proxy.port());
    talk.socket.write('x');
    await eventually(() => talk.text === 'y');
    talk.socket.resetAndDestroy();
    await eventually(() => error !== '');
    expect(error).toBe('ECONNRESET');
    await eventually(() => proxy.accessLines().at(-1)?.reason === 'client-gone');
  });

  it('a server that speaks first is heard', async () => {
    handle = (socket) => {
      socket.write('220 ready\r\n');
      socket.on('end', () => socket.end()).resume();
    };
    const talk = new Talk(proxy.port());
    await eventually(() => talk.text === '220 ready\r\n');
    talk.socket.destroy();
  });

  it('a slow reader holds the endpoint back, and memory stays bounded', async () => {
    const block = Buffer.alloc(256 * 1024, 7);
    let written = 0;
    handle = (socket) => {
      const more = () => {
        while (written < 200 * 1024 * 1024 && !socket.destroyed) {
          written += block.length;
          if (!socket.write(block)) return void socket.once('drain', more);
        }
      };
      more();
    };
    const before = await proxy.memory();
    const talks = Array.from({ length: 4 }, () => connect({ port: proxy.port(), host: '127.0.0.1' }).pause());
    let last = -1;
    await eventually(
      () => {
        const isStill = written === last && written > 0;
        last = written;
        return isStill;
      },
      { intervalMs: 300 },
    );
    // What waits is in the kernel's buffers; here it is at most a read and a write buffer a connection.
    expect(written).toBeLessThan(100 * 1024 * 1024);
    expect((await proxy.memory()) - before).toBeLessThan(48 * 1024 * 1024);
    for (const talk of talks) talk.destroy();
    await eventually(() => origin.open === 0);
  });

  it('writes one line for a connection and counts it', async () => {
    handle = echo;
    const ended = await proxy.metric('evenkeel_sessions_total', { outcome: 'ok', pool: 'redis' });
    const talk = new Talk(proxy.port());
    talk.socket.write('12345');
    await eventually(() => talk.text === '12345');
    talk.socket.end();
    const line = await eventually(() => proxy.accessLines().findLast(({ bytesIn }) => bytesIn === 5));
    expect(line).toMatchObject({
      listener: 'redis',
      route: '/',
      pool: 'redis',
      endpoint: origin.address,
      client: '127.0.0.1',
      protocol: 'tcp',
      reason: null,
      bytesIn: 5,
      bytesOut: 5,
      attempts: 1,
    });
    for (const phase of ['queue', 'connect', 'response', 'total']) expect(line[phase]).toBeGreaterThanOrEqual(0);
    await eventually(
      async () => (await proxy.metric('evenkeel_sessions_total', { outcome: 'ok', pool: 'redis' })) > ended,
    );
    const timed = () => proxy.metric('evenkeel_session_duration_seconds_count', { pool: 'redis' });
    await eventually(async () => (await timed()) > ended);
    await eventually(
      async () => (await proxy.metric('evenkeel_bytes_total', { listener: 'redis', direction: 'in' })) > 5,
    );
    expect(await proxy.metric('evenkeel_requests_total')).toBe(0);
  });

  it('nothing is left over', async () => {
    await eventually(async () => (await proxy.metric('evenkeel_connections_active')) === 0);
    await eventually(async () => (await proxy.metric('evenkeel_endpoint_active')) === 0);
  });
});

describe('a TCP listener finds an endpoint or says there is none', () => {
  it('tries another endpoint while nothing was sent, and the refusing one is ejected', async () => {
    await using refusing = await refusingPort();
    await using origin = await tcpOrigin(echo);
    await using proxy = await startProxy({
      listeners: [{ name: 'l4', bind: '127.0.0.1:0', protocol: 'tcp', pool: 'l4' }],
      pools: {
        l4: {
          endpoints: [{ address: refusing.address }, { address: origin.address }],
          scheduler: 'weighted-round-robin',
          ejection: { consecutiveFailures: 2 },
        },
      },
    });
    for (let i = 0; i < 6; i++) {
      const talk = new Talk(proxy.port());
      talk.socket.end(`n${i}`);
      await eventually(() => talk.isClosed);
      expect(talk).toMatchObject({ text: `n${i}`, error: '' });
    }
    expect((await proxy.endpoint('l4', refusing.address)).down).toEqual(['ejected']);
  });

  it('gives an ejected endpoint one connection when its time is over, which brings it back, whether bytes come or not', async () => {
    await using refusing = await refusingPort();
    await using origin = await tcpOrigin(echo);
    await using proxy = await startProxy({
      listeners: [{ name: 'l4', bind: '127.0.0.1:0', protocol: 'tcp', pool: 'l4' }],
      pools: {
        l4: {
          endpoints: [{ address: refusing.address }, { address: origin.address }],
          scheduler: 'weighted-round-robin',
          ejection: { consecutiveFailures: 1, base: '400ms' },
        },
      },
    });
    const first = new Talk(proxy.port());
    const second = new Talk(proxy.port());
    await eventually(async () => (await proxy.endpoint('l4', refusing.address)).down.includes('ejected'));
    await using back = await tcpOrigin(echo, { port: refusing.port });
    const talks = [first, second];
    await eventually(
      () => {
        // Nobody says a word: the trial is the connection.
        talks.push(new Talk(proxy.port()));
        return back.sockets.length > 0;
      },
      { intervalMs: 50 },
    );
    await eventually(async () => (await proxy.endpoint('l4', refusing.address)).available);
    await eventually(() => proxy.events('restored').length === 1);
    const { length } = back.sockets;
    for (let i = 0; i < 4; i++) talks.push(new Talk(proxy.port()));
    await eventually(() => back.sockets.length > length);
    for (const { socket } of talks) socket.destroy();
  });

  it('resets the client when no endpoint can be reached, and says why in the log', async () => {
    await using refusing = await refusingPort();
    await using proxy = await startProxy({
      listeners: [{ name: 'l4', bind: '127.0.0.1:0', protocol: 'tcp', pool: 'l4' }],
      pools: { l4: { endpoints: [{ address: refusing.address }] } },
      log: { access: 'stdout' },
    });
    const talk = new Talk(proxy.port());
    await eventually(() => talk.isClosed);
    expect(talk).toMatchObject({ error: 'ECONNRESET', isEnded: false });
    await eventually(() => proxy.accessLines().at(-1)?.reason === 'connect-failed');
    expect(proxy.accessLines().at(-1)).toMatchObject({ attempts: 2, endpoint: refusing.address });
    await eventually(async () => (await proxy.metric('evenkeel_rejected_total', { reason: 'connect-failed' })) === 1);
  });

  it('holds the limit of connections to an endpoint: one waits, and gets its turn', async () => {
    await using origin = await tcpOrigin(echo);
    await using proxy = await startProxy({
      listeners: [{ name: 'l4', bind: '127.0.0.1:0', protocol: 'tcp', pool: 'l4' }],
      pools: {
        l4: { endpoints: [{ address: origin.address }], limits: { active: 2, pending: 1, pendingTimeout: '10s' } },
      },
    });
    const talks = [1, 2].map(() => new Talk(proxy.port()));
    await eventually(() => origin.open === 2);
    const third = new Talk(proxy.port());
    third.socket.write('waiting');
    await eventually(async () => (await proxy.metric('evenkeel_connections_active')) === 3);
    const fourth = new Talk(proxy.port());
    await eventually(() => fourth.isClosed);
    expect(fourth.error).toBe('ECONNRESET');
    expect(origin.open).toBe(2);
    talks[0].socket.end();
    await eventually(() => third.text === 'waiting');
    for (const { socket } of [...talks, third]) socket.destroy();
  });

  it('ends a connection that is idle, old, or whose endpoint is gone', async () => {
    await using origin = await tcpOrigin(echo);
    await using other = await tcpOrigin(echo);
    const document = (endpoints: TcpOrigin[]) => ({
      listeners: [
        { name: 'idle', bind: '127.0.0.1:0', protocol: 'tcp', pool: 'idle', timeouts: { tunnel: '200ms' } },
        { name: 'mute', bind: '127.0.0.1:0', protocol: 'tcp', pool: 'mute', timeouts: { tunnel: '200ms' } },
        { name: 'aged', bind: '127.0.0.1:0', protocol: 'tcp', pool: 'aged' },
        { name: 'gone', bind: '127.0.0.1:0', protocol: 'tcp', pool: 'gone' },
      ],
      pools: {
        idle: { endpoints: [{ address: origin.address }] },
        mute: { endpoints: [{ address: origin.address }], timeouts: { response: 'off' } },
        aged: { endpoints: [{ address: origin.address }], maxAge: '300ms' },
        gone: { endpoints: endpoints.map(({ address }) => ({ address })), onRemoval: '100ms' },
      },
    });
    await using proxy = await startProxy(document([origin]));
    const [idle, aged, gone] = ['idle', 'aged', 'gone'].map((name) => new Talk(proxy.port(name)));
    const mute = new Talk(proxy.port('mute'));
    for (const { socket } of [idle, aged, gone]) socket.write('x');
    aged.socket.on('end', () => aged.socket.end());
    await eventually(() => idle.isClosed && aged.isClosed && mute.isClosed);
    expect([idle.error, aged.error, aged.isEnded]).toEqual(['ECONNRESET', '', true]);
    expect(gone.isClosed).toBe(false);
    await proxy.write(document([other]));
    await proxy.reload();
    await eventually(() => gone.isClosed);
    expect(gone.error).toBe('ECONNRESET');
  });
});

describe('TCP connections outlive what changes around them', () => {
  it('a reload, a restart of the workers; a drain waits for them, and cuts at its deadline', async () => {
    await using origin = await tcpOrigin(echo);
    const document = {
      runtime: { workers: 2 },
      listeners: [{ name: 'l4', bind: '127.0.0.1:0', protocol: 'tcp', pool: 'l4' }],
    };
    const pools = { l4: { endpoints: [{ address: origin.address }] } };
    const proxy = await startProxy({ ...document, pools });
    const talk = new Talk(proxy.port());
    const say = async (word: string) => {
      talk.socket.write(word);
      await eventually(() => talk.text.endsWith(word));
    };
    await say('one');
    await proxy.write({ ...document, pools: { l4: { ...pools.l4, scheduler: 'random' } } });
    expect(await proxy.reload()).toBe('reloaded');
    await say('two');
    await proxy.api('/api/v1/workers/restart', { method: 'POST' });
    await say('three');
    const late = new Talk(proxy.port());
    late.socket.write('late');
    await eventually(() => late.text === 'late');
    const stopped = proxy.stop();
    await pause(200);
    await say('four');
    late.socket.end();
    await eventually(() => late.isClosed);
    expect(late.error).toBe('');
    await stopped;
    await eventually(() => talk.isClosed);
    expect(talk).toMatchObject({ text: 'onetwothreefour', error: 'ECONNRESET' });
  });
});
