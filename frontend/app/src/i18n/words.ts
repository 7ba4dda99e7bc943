/**
 * The words of the pages, in the language of whoever reads them. They are loaded once, before a page is shown: a page in another
 * language is another page.
 */

import type { Message, Plural, ValuesOf } from "./catalogue";
import type { common } from "./en/common";
import type { devices } from "./en/devices";
import type { lists } from "./en/lists";
import type { panels } from "./en/panels";
import type { room } from "./en/room";
import type { streams } from "./en/streams";
import type { viewer } from "./en/viewer";
import type { Language } from "./language";

/** All words, each by the part of the catalogue that it stands in. */
type Parts = {
  readonly common: typeof common;
  readonly devices: typeof devices;
  readonly lists: typeof lists;
  readonly panels: typeof panels;
  readonly room: typeof room;
  readonly streams: typeof streams;
  readonly viewer: typeof viewer;
};

export type Part = keyof Parts;

type Words = Parts["common"] & Parts["devices"] & Parts["lists"] & Parts["panels"] & Parts["room"] & Parts["streams"] & Parts["viewer"];

export type Key = keyof Words;

/** Keys of texts that need no values. */
export type PlainKey = { [K in Key]: [ValuesOf<Words[K]>] extends [never] ? K : never }[Key];

type Values<K extends Key> = [ValuesOf<Words[K]>] extends [never]
  ? []
  : [{ readonly [Name in ValuesOf<Words[K]>]: Name extends "count" ? number : string | number }];

let spoken: Language = "en";
let words: Readonly<Record<string, Message>> = {};
let numbers = new Intl.NumberFormat("en");
let plurals = new Intl.PluralRules("en");

/** From now on, {@link t} speaks so. */
export function speak(language: Language, parts: readonly Readonly<Record<string, Message>>[]): void {
  spoken = language;
  words = Object.assign({}, ...parts) as Readonly<Record<string, Message>>;
  numbers = new Intl.NumberFormat(language);
  plurals = new Intl.PluralRules(language);
}

/** Further words of the language that is spoken. */
export function learn(part: Readonly<Record<string, Message>>): void {
  words = { ...words, ...part };
}

/** The language that is spoken, for `Intl`. */
export function language(): Language {
  return spoken;
}

/** A text, with its values in it; numbers are written as the language writes them. */
export function t<K extends Key>(key: K, ...[values]: Values<K>): string {
  return filled(words[key] ?? key, values ?? {});
}

function filled(message: Message, values: Readonly<Record<string, string | number>>): string {
  const text = typeof message === "string" ? message : formOf(message, Number(values.count));
  return text.replace(/\{(\w+)\}/g, (place, name: string) => {
    const value = values[name];
    if (value === undefined) return place;
    return typeof value === "number" ? numbers.format(value) : value;
  });
}

function formOf(plural: Plural, count: number): string {
  return plural[plurals.select(count)] ?? plural.other;
}
