import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { ManualClock } from '../../../../src/base/clock.ts';
import { type EmbeddedRegistry, startRegistry } from '../../../helpers/embedded-registry.ts';
import { eventually } from '../../../helpers/eventually.ts';

describe('checks of the embedded registry', () => {
  const clock = new ManualClock();
  let registry: EmbeddedRegistry;
  const register = (body: object) => registry.ask('PUT', '/v1/agent/service/register', body);
  const check = async (id: string) => (await registry.ask('GET', '/v1/agent/checks')).json[id];
  const status = async (id: string) => (await check(id)).Status;

  beforeEach(async () => {
    registry = await startRegistry({ clock });
  });
  afterEach(() => registry.close());

  it('lets a TTL run out by the clock, not before, and starts it again with every heartbeat', async () => {
    await register({ Name: 'a', Check: { TTL: '10s', Status: 'passing' } });
    await register({ Name: 'b', Check: { TTL: '5s', Status: 'passing' } });
    clock.advance(9000);
    await eventually(async () => (await status('service:b')) === 'critical');
    expect(await status('service:a')).toBe('passing');
    await registry.ask('PUT', '/v1/agent/check/pass/service:a');
    clock.advance(9000);
    await registry.ask('PUT', '/v1/agent/check/pass/service:b');
    clock.advance(4000);
    await eventually(async () => (await status('service:a')) === 'critical');
    expect(await check('service:a')).toMatchObject({ Output: 'TTL expired' });
    expect(await status('service:b')).toBe('passing');
  });

  it('deregisters a service that stayed critical for a minute at least, however little it asks for', async () => {
    const short = { TTL: '1s', DeregisterCriticalServiceAfter: '5s' };
    await register({ Name: 'a', Check: short });
    await register({ Name: 'b', Check: { ...short, Status: 'passing' } });
    await register({ Name: 'never', Check: { TTL: '1s' } });
    const names = async () => Object.keys((await registry.ask('GET', '/v1/agent/services')).json);
    clock.advance(500);
    const beat = setInterval(() => void registry.ask('PUT', '/v1/agent/check/pass/service:b').catch(() => {}), 5);
    try {
      for (let seconds = 0; seconds < 59; seconds++) clock.advance(1000);
      await eventually(async () => (await status('service:never')) === 'critical');
      expect(await names()).toContain('a');
      clock.advance(31_000);
      await eventually(async () => !(await names()).includes('a'));
      expect(await names()).toContain('never');
    } finally {
      clearInterval(beat);
    }
    expect(registry.log.join()).toContain('deregistered a service that stayed critical');
  });

  describe('over HTTP', () => {
    let server: Server;
    let origin: string;
    let requests = 0;
    let answer: (request: IncomingMessage, response: ServerResponse) => void;

    beforeEach(async () => {
      requests = 0;
      server = createServer((request, response) => {
        requests++;
        answer(request, response);
      });
      await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
      origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    });
    afterEach(() => {
      server.closeAllConnections();
      server.close();
    });
    /** Lets one interval go by and waits for its run. */
    const nextRun = async () => {
      const before = requests;
      clock.advance(1100);
      await eventually(() => requests > before);
    };

    it('need as many results in a row as they ask for', async () => {
      let code = 200;
      answer = (_, response) => response.writeHead(code).end();
      const Check = { HTTP: origin, Interval: '1s', SuccessBeforePassing: 2, FailuresBeforeCritical: 3 };
      await register({ Name: 'a', Check });
      const seen: string[] = [];
      // The result of a run is there at the latest when the next one comes.
      for (const next of [200, 200, 200, 500, 500, 200, 500, 500, 500, 500]) {
        code = next;
        await nextRun();
        seen.push(await status('service:a'));
      }
      expect(seen.slice(2, 8)).toEqual(Array(6).fill('passing'));
      expect(seen[0]).toBe('critical');
      await eventually(async () => (await status('service:a')) === 'critical');
    });

    it('do not follow redirects and keep 4 KB of what is said', async () => {
      answer = (request, response) => {
        if (request.url === '/') response.writeHead(302, { location: '/elsewhere' }).end('x'.repeat(100_000));
        else response.end('followed');
      };
      await register({ Name: 'a', Check: { HTTP: `${origin}/`, Interval: '1s' } });
      await nextRun();
      await eventually(async () => (await check('service:a')).Output !== '');
      const { Status, Output } = await check('service:a');
      expect(Status).toBe('critical');
      expect(Output).toMatch(/: 302 Found Output: x{4096}$/);
    });

    it('give up after their timeout', async () => {
      answer = () => {};
      await register({ Name: 'a', Check: { HTTP: origin, Interval: '1s', Timeout: '100ms' } });
      await nextRun();
      await eventually(async () => (await check('service:a')).Output === `Get "${origin}": context deadline exceeded`);
    });

    it('go on undisturbed while their service is registered again and again', async () => {
      answer = (_, response) => response.end();
      const body = { Name: 'a', Check: { HTTP: origin, Interval: '1s' } };
      await register(body);
      for (let i = 0; i < 30; i++) {
        clock.advance(100);
        await register(body);
        await new Promise((resolve) => setTimeout(resolve, 55));
      }
      expect(requests).toBeGreaterThanOrEqual(2);
    });
  });

  it('go nowhere but to their registrant', async () => {
    await register({
      Name: 'a',
      Checks: [
        { HTTP: 'http://169.254.169.254/latest', Interval: '1s' },
        { TCP: '169.254.169.254:80', Interval: '1s' },
        { HTTP: 'file:///etc/passwd', Interval: '1s' },
        { TCP: 'nowhere', Interval: '1s' },
      ],
    });
    clock.advance(1100);
    await eventually(
      async () => (await check('service:a:4')).Output !== '' && (await check('service:a:3')).Output !== '',
    );
    await eventually(
      async () => (await check('service:a:1')).Output !== '' && (await check('service:a:2')).Output !== '',
    );
    expect((await check('service:a:1')).Output).toContain('check target 169.254.169.254 is not allowed');
    expect((await check('service:a:2')).Output).toContain('check target 169.254.169.254 is not allowed');
    expect((await check('service:a:3')).Output).toContain('unsupported protocol scheme "file"');
    expect((await check('service:a:4')).Output).toContain('missing port in address');
  });
});
