/** What a catalogue of words is made of, and what a language's must have. Types only. */

/** A text in the forms that the language has for numbers (CLDR); `{count}` is the number. */
export type Plural = { readonly other: string } & Readonly<Partial<Record<Exclude<Intl.LDMLPluralRule, "other">, string>>>;

/** A text, with places for values: `"{name} has joined"`. */
export type Message = string | Plural;

/** A part of the words of a language. */
export type Catalogue = Readonly<Record<string, Message>>;

/** What another language has to translate: the same keys, and plurals where English has them. */
export type Translation<English extends Catalogue> = {
  readonly [K in keyof English]: English[K] extends string ? string : Plural;
};

/** Names of the places in a text. */
type Places<S extends string> = S extends `${string}{${infer Name}}${infer Rest}` ? Name | Places<Rest> : never;

/** Names of the values that a message needs. */
export type ValuesOf<M> = M extends string ? Places<M> : M extends { readonly other: infer Other extends string } ? Places<Other> | "count" : never;
