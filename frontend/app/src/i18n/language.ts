/** Which language the pages speak: the address' (`?lang=de`), else the one that was chosen, else the browser's. */

import { keep, kept } from "../ui/kept";

/** Those that there are words in, by what they call themselves. */
export const LANGUAGES = {
  en: "English",
  de: "Deutsch",
  fr: "Français",
  es: "Español",
  zh: "中文",
} as const;

export type Language = keyof typeof LANGUAGES;

const KEY = "oriel.language";

export function isLanguage(tag: string): tag is Language {
  return Object.hasOwn(LANGUAGES, tag);
}

/** The first of the wishes that there are words for, `de-AT` being as good as `de`; English if there is none. Pure. */
export function languageOf(wishes: readonly (string | null)[]): Language {
  for (const wish of wishes) {
    const primary = (wish ?? "").toLowerCase().split("-")[0] ?? "";
    if (isLanguage(primary)) return primary;
  }
  return "en";
}

/** What this page is to speak. */
export function wantedLanguage(): Language {
  return languageOf([new URLSearchParams(location.search).get("lang"), kept(KEY), ...navigator.languages]);
}

/** Speaks a language from now on, on all pages of this browser. */
export function chooseLanguage(language: Language): void {
  // Where the browser keeps nothing, the address alone does.
  keep(KEY, language);
  const url = new URL(location.href);
  url.searchParams.set("lang", language);
  location.replace(url);
}
