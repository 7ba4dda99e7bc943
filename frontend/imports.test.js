/** No module imports itself by way of others, in any of the packages. */

import { readdirSync, readFileSync } from "node:fs";
import { dirname, join, normalize } from "node:path";
import { expect, test } from "vitest";

const PACKAGES = {
  "@oriel/client": "client/src/index.ts",
  "@oriel/client/api": "client/src/rest.ts",
  "@oriel/client/multistream": "client/src/multistream/index.ts",
  "@oriel/react": "react/src/index.ts",
};

function sources(dir) {
  return readdirSync(dir, { withFileTypes: true }).flatMap((entry) => {
    const path = join(dir, entry.name);
    if (entry.isDirectory()) return sources(path);
    return /\.tsx?$/.test(entry.name) ? [path] : [];
  });
}

/** Which modules of `known` each imports, types included. */
function imports(known) {
  const resolve = (from, name) => {
    if (name in PACKAGES) return PACKAGES[name];
    const path = normalize(join(dirname(from), name));
    return [path, `${path}.ts`, `${path}.tsx`, join(path, "index.ts")].find((file) => known.has(file));
  };
  return new Map(
    [...known].map((file) => {
      const names = readFileSync(file, "utf8").matchAll(/^(?:import|export)\s[^;"]*"([^"]+)";$/gm);
      return [file, [...names].map(([, name]) => resolve(file, name)).filter((found) => found !== undefined)];
    }),
  );
}

/** The first cycle that is found, as the files on it; empty when there is none. */
function cycle(graph) {
  const done = new Set();
  const visit = (file, path) => {
    if (path.includes(file)) return [...path.slice(path.indexOf(file)), file];
    if (done.has(file)) return [];
    for (const next of graph.get(file) ?? []) {
      const found = visit(next, [...path, file]);
      if (found.length > 0) return found;
    }
    done.add(file);
    return [];
  };
  for (const file of graph.keys()) {
    const found = visit(file, []);
    if (found.length > 0) return found;
  }
  return [];
}

test("no module imports itself by way of others", () => {
  const graph = imports(new Set(["client/src", "react/src", "app/src"].flatMap((dir) => sources(dir))));
  expect(graph.size).toBeGreaterThan(50);
  expect(cycle(graph)).toEqual([]);
});

test("a cycle is found", () => {
  const graph = new Map([
    ["a", ["b"]],
    ["b", ["c", "d"]],
    ["c", []],
    ["d", ["b"]],
  ]);
  expect(cycle(graph)).toEqual(["b", "d", "b"]);
});
