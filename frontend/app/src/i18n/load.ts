/** Loads the words that a page needs, in one language: each part of each language is a file of its own. */

import type { Catalogue } from "./catalogue";
import { type Language, wantedLanguage } from "./language";
import { language, learn, type Part, speak } from "./words";

const FILES = import.meta.glob<Readonly<Record<string, Catalogue>>>("./{en,de,fr,es,zh}/*.ts");

async function load(tag: Language, part: Part): Promise<Catalogue> {
  const file = await FILES[`./${tag}/${part}.ts`]?.();
  return file?.[part] ?? {};
}

/** Speaks the language of whoever reads this page, once its words have come. */
export async function loadWords(...parts: readonly Part[]): Promise<void> {
  const wanted = wantedLanguage();
  document.documentElement.lang = wanted;
  speak(wanted, await Promise.all(parts.map((part) => load(wanted, part))));
}

/** Words of what is shown later. */
export async function moreWords(part: Part): Promise<void> {
  learn(await load(language(), part));
}
