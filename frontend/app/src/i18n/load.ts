/** Loads the words that a page needs, in one language: each part of each language is a file of its own. */

import type { Catalogue } from "./catalogue";
import { wantedLanguage } from "./language";
import { type Part, speak } from "./words";

const FILES = import.meta.glob<Readonly<Record<string, Catalogue>>>("./{en,de,fr,es,zh}/*.ts");

/** Speaks the language of whoever reads this page, once its words have come. */
export async function loadWords(...parts: readonly Part[]): Promise<void> {
  const language = wantedLanguage();
  document.documentElement.lang = language;
  const loaded = await Promise.all(
    parts.map(async (part) => {
      const file = await FILES[`./${language}/${part}.ts`]?.();
      return file?.[part] ?? {};
    }),
  );
  speak(language, loaded);
}
