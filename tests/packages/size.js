// How large the packages' entries are in a page, bundled and minified: what is loaded at once, compressed.

import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { gzipSync } from "node:zlib";
import { build } from "vite";

/** Bytes. */
const MOST = { "@oriel/client": 26_500, "@oriel/client/api": 2_400, "@oriel/client/multistream": 6_000 };

for (const [name, most] of Object.entries(MOST)) {
  const entry = `${import.meta.dirname}/entry.js`;
  writeFileSync(entry, `export * from ${JSON.stringify(name)};\n`);
  const { output } = await build({
    root: import.meta.dirname,
    logLevel: "error",
    build: {
      write: false,
      target: "es2022",
      modulePreload: false,
      rolldownOptions: { input: entry, preserveEntrySignatures: "strict" },
    },
  });
  const chunks = new Map(output.map((chunk) => [chunk.fileName, chunk]));
  const initial = new Set();
  const add = (chunk) => {
    if (initial.has(chunk)) return;
    initial.add(chunk);
    for (const next of chunk.imports) add(chunks.get(next));
  };
  add(output.find(({ isEntry }) => isEntry));
  const bytes = [...initial].reduce((sum, { code }) => sum + gzipSync(code, { level: 9 }).length, 0);
  console.log(`${name}: ${bytes} bytes of at most ${most}, and ${chunks.size - initial.size} files on demand`);
  assert.ok(bytes <= most, `${name} has become larger than ${most} bytes`);
}
