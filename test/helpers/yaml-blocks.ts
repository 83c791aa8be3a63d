/** A YAML block of a documentation page. */
export interface YamlBlock {
  readonly text: string;
  /** 1-based line of the page on which the block's text begins. */
  readonly line: number;
  /**
   * Where the block stands in a document: null for a whole one, else the dotted path after `fragment=` in the block's info string
   * (```yaml fragment=pools.web). `fragment` alone is some of the top-level sections.
   */
  readonly fragment: readonly string[] | null;
}

/** Every block of a Markdown page whose info string begins with `yaml`. */
export function yamlBlocks(markdown: string): YamlBlock[] {
  const blocks: YamlBlock[] = [];
  const fence = /^( *)```yaml([^\n]*)\n([\s\S]*?)^\1```/gm;
  for (const found of markdown.matchAll(fence)) {
    const [, indent, info, body] = found;
    const fragment = /\bfragment(?:=([\w.-]+))?/.exec(info);
    blocks.push({
      text: body.replaceAll(new RegExp(`^${indent}`, 'gm'), ''),
      line: markdown.slice(0, found.index).split('\n').length + 1,
      fragment: fragment === null ? null : (fragment[1]?.split('.') ?? []),
    });
  }
  return blocks;
}

/** A whole document around a fragment: what the fragment leaves out stands there in its smallest form. */
export function documentAround({ text, fragment }: YamlBlock): string {
  if (fragment === null) return text;
  const indented = fragment.reduceRight(
    (inner, key) => `${key}:\n${inner.replaceAll(/^(?=.)/gm, '  ')}`,
    text.endsWith('\n') ? text : `${text}\n`,
  );
  const has = (section: string) => new RegExp(`^${section}:`, 'm').test(indented);
  const listeners = 'listeners: [{ name: some, bind: "127.0.0.1:18080", pool: some }]\n';
  return has('listeners') ? indented : indented + listeners;
}
