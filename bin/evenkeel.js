#!/usr/bin/env node
/* Plain old JavaScript, so that a Node too old for evenkeel can still read it and say so. */
import { existsSync } from 'fs';

var needed = [26, 10];
var found = process.versions.node.split('.').map(Number);

if (found[0] < needed[0] || (found[0] === needed[0] && found[1] < needed[1])) {
  console.error('evenkeel needs Node ' + needed.join('.') + ' or newer; this is Node ' + process.versions.node);
  process.exit(1);
} else {
  var built = new URL('../dist/cli/main.js', import.meta.url);
  /* A checkout that was not built runs from its sources. */
  var main = existsSync(built) ? built : new URL('../src/cli/main.ts', import.meta.url);
  import(main.href).catch(function (error) {
    console.error(error);
    process.exit(1);
  });
}
