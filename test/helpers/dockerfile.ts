/** One instruction of a Dockerfile, lines joined: `RUN npm ci` is `{ name: 'RUN', value: 'npm ci', flags: {} }`. */
export interface Instruction {
  readonly name: string;
  readonly value: string;
  /** `--from=build` is `{ from: 'build' }`. */
  readonly flags: Readonly<Record<string, string>>;
}

export interface Stage {
  /** Its name, or its number as text. */
  readonly name: string;
  /** The image it starts from, build arguments filled in with their defaults. */
  readonly image: string;
  readonly instructions: readonly Instruction[];
}

/** Reads what this project's Dockerfile uses: no heredocs, no parser directives. */
export function parseDockerfile(text: string): Stage[] {
  const stages: { name: string; image: string; instructions: Instruction[] }[] = [];
  const defaults = new Map<string, string>();
  for (const instruction of instructionsOf(text)) {
    const stage = stages.at(-1);
    if (instruction.name === 'FROM') {
      const [image, , name] = instruction.value.split(/\s+/);
      stages.push({ name: name ?? String(stages.length), image: fillIn(image, defaults), instructions: [] });
    } else if (stage !== undefined) stage.instructions.push(instruction);
    else if (instruction.name === 'ARG') {
      const [name, value = ''] = instruction.value.split('=');
      defaults.set(name, value);
    } else throw new Error(`${instruction.name} before the first FROM`);
  }
  return stages;
}

/** The words of the JSON form (`["node", "-e"]`); throws for the shell form. */
export function jsonForm(value: string): string[] {
  const words: unknown = JSON.parse(value);
  if (!Array.isArray(words) || !words.every((word) => typeof word === 'string'))
    throw new Error(`no JSON form: ${value}`);
  return words;
}

function instructionsOf(text: string): Instruction[] {
  const lines = text.split('\n').filter((line) => !/^\s*#/.test(line));
  const joined = lines.join('\n').replace(/\\\n/g, ' ').split('\n');
  return joined.filter((line) => line.trim() !== '').map(instruction);
}

function instruction(line: string): Instruction {
  const match = /^\s*([A-Za-z]+)\s+(.*\S)\s*$/.exec(line);
  if (match === null) throw new Error(`no instruction: ${line}`);
  let value = match[2];
  const flags: Record<string, string> = {};
  for (
    let flag = /^--([a-z-]+)(?:=(\S+))?\s+/.exec(value);
    flag !== null;
    flag = /^--([a-z-]+)(?:=(\S+))?\s+/.exec(value)
  ) {
    flags[flag[1]] = flag[2] ?? '';
    value = value.slice(flag[0].length);
  }
  return { name: match[1].toUpperCase(), value, flags };
}

function fillIn(text: string, values: ReadonlyMap<string, string>): string {
  return text.replace(/\$\{(\w+)\}|\$(\w+)/g, (_, braced, bare) => values.get(braced ?? bare) ?? '');
}
