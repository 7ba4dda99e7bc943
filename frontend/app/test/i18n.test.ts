import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import ts from "typescript";
import { describe, expect, it } from "vitest";
import type { Catalogue, Message } from "../src/i18n/catalogue";
import { type Language, LANGUAGES, languageOf } from "../src/i18n/language";
import { type Part, speak, t } from "../src/i18n/words";
import { ago, bitrate, bytes, duration, listed } from "../src/ui/format";
import { sources, imported } from "./modules";

const SRC = join(import.meta.dirname, "../src");
const PARTS: readonly Part[] = ["common", "devices", "lists", "panels", "room", "streams", "viewer"];
const TAGS = Object.keys(LANGUAGES) as Language[];

/** Which parts each page loads: those of `loadWords(…)` in its entry. */
const PAGES = ["list", "hosts", "nodes", "rooms", "grid", "stream", "room", "viewer"];

async function part(language: Language, name: Part): Promise<Catalogue> {
  const file = (await import(`../src/i18n/${language}/${name}.ts`)) as Record<string, Catalogue>;
  const words = file[name];
  if (words === undefined) throw new Error(`${language}/${name}.ts has no ${name}`);
  return words;
}

async function all(language: Language): Promise<Map<string, Message>> {
  const parts = await Promise.all(PARTS.map((name) => part(language, name)));
  return new Map(parts.flatMap((words) => Object.entries(words)));
}

function forms(message: Message): readonly string[] {
  return typeof message === "string" ? [message] : Object.values(message);
}

function places(text: string): string {
  return [...new Set([...text.matchAll(/\{(\w+)\}/g)].map(([, name]) => name))].sort().join();
}

describe("the catalogue", () => {
  it("has every part in every language, and no key twice", async () => {
    for (const language of TAGS) {
      expect(readdirSync(join(SRC, "i18n", language)).sort()).toEqual(PARTS.map((name) => `${name}.ts`));
      const keys = (await Promise.all(PARTS.map((name) => part(language, name)))).flatMap((words) => Object.keys(words));
      expect(keys.filter((key, at) => keys.indexOf(key) !== at)).toEqual([]);
    }
  });

  it("has no holes: the same keys, values and plural forms as English, and no text left out", async () => {
    const english = await all("en");
    for (const language of TAGS) {
      const words = await all(language);
      expect([...words.keys()].sort()).toEqual([...english.keys()].sort());
      // Millions have a form of their own in French and Spanish, which nothing here counts up to.
      const needed = new Intl.PluralRules(language).resolvedOptions().pluralCategories.filter((form) => form !== "many");
      for (const [key, message] of words) {
        const original = english.get(key) ?? "";
        for (const text of forms(message)) {
          expect(text.trim(), `${language} ${key}`).not.toBe("");
          expect(places(text), `${language} ${key}`).toBe(places(forms(original)[0] ?? ""));
        }
        expect(typeof message, `${language} ${key}`).toBe(typeof original);
        if (typeof message !== "string") expect(Object.keys(message).sort(), `${language} ${key}`).toEqual([...needed].sort());
      }
    }
  });

  it("is translated: few texts are the same as in English", async () => {
    const english = await all("en");
    for (const language of TAGS.filter((tag) => tag !== "en")) {
      const same = [...(await all(language))].filter(([key, message]) => forms(message)[0] === forms(english.get(key) ?? "")[0]);
      expect(same.length, `${language}: ${same.map(([key]) => key).join(" ")}`).toBeLessThan(english.size * 0.08);
    }
  });

  it("has what is written on a button in what is said of it, for those who steer by voice", async () => {
    for (const language of TAGS) {
      const words = await all(language);
      for (const [written, spoken] of [
        ["enter", "enter-room"],
        ["drain", "drain-named"],
        ["undrain", "undrain-named"],
        ["files-save", "files-save-of"],
      ] as const) {
        const [text = "", name = ""] = [written, spoken].map((key) => forms(words.get(key) ?? "")[0]?.toLowerCase());
        expect(name, `${language} ${spoken}`).toContain(text);
      }
    }
  });

  it("has nothing that no page says", async () => {
    const text = sources(SRC)
      .filter((file) => !/i18n\/\w\w\//.test(file))
      .map((file) => readFileSync(file, "utf8"))
      .join("\n");
    const unused = [...(await all("en")).keys()].filter((key) => !text.includes(`"${key}"`));
    expect(unused).toEqual([]);
  });

  it("is loaded with each page as far as its modules use it", async () => {
    const keys = new Map<string, Part>();
    for (const name of PARTS) for (const key of Object.keys(await part("en", name))) keys.set(key, name);
    for (const page of PAGES) {
      const entry = join(SRC, `${page}.tsx`);
      const modules = [...imported(entry)];
      const all = modules.map((file) => readFileSync(file, "utf8")).join("\n");
      const loaded = [...all.matchAll(/(?:loadWords|moreWords|withWords|onDemand)\(([^)]*)\)/g)].map(([, parts = ""]) => parts).join();
      for (const file of modules) {
        for (const key of said(file)) {
          const where = keys.get(key);
          if (where !== undefined) expect(loaded, `${page}: "${key}" of ${file}`).toContain(`"${where}"`);
        }
      }
    }
  });
});

/** Keys that a module says: what `t` is called with, and what stands in its tables of keys. */
function said(file: string): readonly string[] {
  const text = readFileSync(file, "utf8");
  return text.includes("i18n/words") ? [...text.matchAll(/\bt\(\s*(?:[^"()]*\? )?"([\w-]+)"/g)].map(([, key = ""]) => key) : [];
}

/** Attributes that are read to people, or by them. */
const SPOKEN = new Set(["title", "alt", "placeholder", "label", "hint", "text", "detail", "action", "aria-label", "aria-description", "what", "why"]);
/** Texts that are the same in every language. */
const SAME = new Set(["Oriel", "Mbit/s", "Esc", "Tab", "·"]);

/** Operators whose operands are shown; those of comparisons are not. */
const SHOWING = new Set([
  ts.SyntaxKind.AmpersandAmpersandToken,
  ts.SyntaxKind.BarBarToken,
  ts.SyntaxKind.QuestionQuestionToken,
  ts.SyntaxKind.PlusToken,
]);

/** Words that stand in a component instead of in the catalogue, with their lines. */
function hardCoded(file: string): string[] {
  const source = ts.createSourceFile(file, readFileSync(file, "utf8"), ts.ScriptTarget.Latest, true, ts.ScriptKind.TSX);
  const found: string[] = [];
  const note = (node: ts.Node, text: string): void => {
    const words = text.trim();
    if (!/\p{L}{2}/u.test(words) || SAME.has(words)) return;
    found.push(`${file.slice(SRC.length + 1)}:${source.getLineAndCharacterOfPosition(node.getStart()).line + 1}: ${words}`);
  };
  const visit = (node: ts.Node): void => {
    if (ts.isJsxText(node)) note(node, node.text);
    if (ts.isJsxAttribute(node) && SPOKEN.has(node.name.getText())) {
      const { initializer } = node;
      if (initializer !== undefined && ts.isStringLiteral(initializer)) note(node, initializer.text);
      if (initializer !== undefined && ts.isJsxExpression(initializer) && initializer.expression !== undefined)
        shown(initializer.expression, note);
    }
    if (ts.isJsxExpression(node) && (ts.isJsxElement(node.parent) || ts.isJsxFragment(node.parent))) {
      // What is shown, whichever way a condition goes; not what is called.
      if (node.expression !== undefined) shown(node.expression, note);
    }
    ts.forEachChild(node, visit);
  };
  visit(source);
  return found;
}

function shown(node: ts.Expression, note: (node: ts.Node, text: string) => void): void {
  if (ts.isStringLiteral(node) || ts.isNoSubstitutionTemplateLiteral(node)) note(node, node.text);
  else if (ts.isTemplateExpression(node)) note(node, [node.head, ...node.templateSpans.map(({ literal }) => literal)].map(({ text }) => text).join(" "));
  else if (ts.isConditionalExpression(node)) {
    shown(node.whenTrue, note);
    shown(node.whenFalse, note);
  }
  else if (ts.isParenthesizedExpression(node)) shown(node.expression, note);
  else if (ts.isBinaryExpression(node) && SHOWING.has(node.operatorToken.kind)) {
    if (node.operatorToken.kind !== ts.SyntaxKind.AmpersandAmpersandToken) shown(node.left, note);
    shown(node.right, note);
  }
}

describe("the pages", () => {
  it("have no words of their own", () => {
    expect(sources(SRC).filter((file) => file.endsWith(".tsx")).flatMap(hardCoded)).toEqual([]);
  });

  it("speak the first language of the wishes that there are words for", () => {
    expect(languageOf([null, "pt-BR", "fr-CA", "de"])).toBe("fr");
    expect(languageOf(["zh-Hant-TW"])).toBe("zh");
    expect(languageOf(["toString", "ja"])).toBe("en");
  });

  it("write numbers, times and lists as the language does", async () => {
    const parts = await Promise.all(PARTS.map((name) => part("de", name)));
    speak("de", parts);
    expect(t("viewers", { count: 1234 })).toBe("1.234 Zuschauer");
    expect(bitrate(2_400_000)).toBe("2,4 Mbit/s");
    expect(bytes(1500)).toBe("1,5 kB");
    expect(bytes(2)).toMatch(/^2\sByte$/);
    expect(duration(7_500_000)).toBe("2 Std. 5 Min.");
    expect(ago(180_000)).toMatch(/^\S+ 3 Minuten$/);
    expect(listed(["Ann", "Bob", "Cyd"])).toBe("Ann, Bob und Cyd");
    speak("zh", [await part("zh", "common")]);
    expect(t("people", { count: 2 })).toBe("2 人");
    expect(t("room-occupancy", { count: 1, most: 5 })).toBe("1/5 人");
  });
});
