/** The modules of the pages, for tests that read them. */

import { existsSync, readdirSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";

/** All modules below a folder. */
export function sources(dir: string): string[] {
  return readdirSync(dir, { recursive: true, encoding: "utf8" })
    .filter((name) => /\.tsx?$/.test(name))
    .map((name) => join(dir, name));
}

/** A module of the pages and all that it imports, directly or not, also on demand. */
export function imported(entry: string, found = new Set<string>()): Set<string> {
  if (found.has(entry)) return found;
  found.add(entry);
  const text = readFileSync(entry, "utf8").replace(/^import type [^;]*;/gm, "");
  for (const [, name = ""] of text.matchAll(/(?:from|import)\s*\(?\s*"(\.[^"]+)"/g)) {
    const path = join(dirname(entry), name);
    const file = [`${path}.ts`, `${path}.tsx`, join(path, "index.ts")].find((candidate) => existsSync(candidate));
    if (file !== undefined) imported(file, found);
  }
  return found;
}
