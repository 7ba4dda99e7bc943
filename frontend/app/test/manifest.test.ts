import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";

const PUBLIC = join(import.meta.dirname, "../public");

type Icon = { readonly src: string; readonly sizes: string; readonly purpose?: string };

/** Width and height of a PNG, from its first chunk. */
function sizeOf(file: string): string {
  const png = readFileSync(join(PUBLIC, file));
  return `${png.readUInt32BE(16)}x${png.readUInt32BE(20)}`;
}

describe("the manifest", () => {
  const { icons } = JSON.parse(readFileSync(join(PUBLIC, "manifest.webmanifest"), "utf8")) as { readonly icons: readonly Icon[] };

  it("has icons of the sizes that it says, whole and to be cut into any shape", () => {
    const drawn = icons.filter(({ src }) => src.endsWith(".png"));
    for (const { src, sizes } of drawn) expect(sizeOf(src), src).toBe(sizes);
    expect(drawn.map(({ sizes, purpose }) => `${purpose ?? ""} ${sizes}`)).toEqual(["any 192x192", "any 512x512", "maskable 192x192", "maskable 512x512"]);
    expect(readdirSync(PUBLIC)).toEqual(expect.arrayContaining(icons.map(({ src }) => src)));
  });
});
