import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { channels, contrast } from "./colours";

const THEME = readFileSync(join(import.meta.dirname, "../src/ui/theme.css"), "utf8");

/** A colour of the theme, in light and in dark. */
function colour(name: string): { readonly light: string; readonly dark: string } {
  const [, light, dark] = new RegExp(`--${name}: light-dark\\((#\\w+), (#\\w+)\\)`).exec(THEME) ?? [];
  if (light === undefined || dark === undefined) throw new Error(`the theme has no --${name}`);
  return { light, dark };
}

/** What a colour that lets something through makes of what lies under it. */
function over(top: string, under: string): readonly number[] {
  const [upper, lower] = [channels(top), channels(under)];
  const share = (upper[3] ?? 255) / 255;
  return [0, 1, 2].map((at) => (upper[at] ?? 0) * share + (lower[at] ?? 0) * (1 - share));
}

const GROUNDS = ["ground", "raised", "raised-2"] as const;

describe("the colours of the pages", () => {
  it("can be read on every ground, in light and in dark: 4.5:1", () => {
    for (const ink of ["text", "quiet", "accent", "bad"]) {
      for (const ground of GROUNDS) {
        for (const scheme of ["light", "dark"] as const) {
          const found = contrast(channels(colour(ink)[scheme]), channels(colour(ground)[scheme]));
          expect(found, `--${ink} on --${ground}, ${scheme}`).toBeGreaterThanOrEqual(4.5);
        }
      }
    }
  });

  it("can be read on what is tinted, and on buttons", () => {
    for (const scheme of ["light", "dark"] as const) {
      const ground = colour("ground")[scheme];
      const raised = colour("raised")[scheme];
      const pairs: readonly (readonly [string, readonly number[]])[] = [
        ["bad", over(colour("bad-tint")[scheme], ground)],
        ["text", over(colour("bad-tint")[scheme], ground)],
        ["text", over(colour("over")[scheme], raised)],
        ["quiet", over(colour("over")[scheme], raised)],
        ["accent", over(colour("tint")[scheme], raised)],
        ["accent-ink", channels(colour("accent")[scheme])],
        ["accent-ink", channels(colour("accent-2")[scheme])],
      ];
      for (const [ink, under] of pairs) {
        expect(contrast(channels(colour(ink)[scheme]), under), `--${ink}, ${scheme}`).toBeGreaterThanOrEqual(4.5);
      }
    }
  });

  it("show what can be filled in, and the focus: 3:1", () => {
    for (const line of ["edge", "accent"]) {
      for (const ground of GROUNDS) {
        for (const scheme of ["light", "dark"] as const) {
          const found = contrast(channels(colour(line)[scheme]), channels(colour(ground)[scheme]));
          expect(found, `--${line} on --${ground}, ${scheme}`).toBeGreaterThanOrEqual(3);
        }
      }
    }
  });
});
