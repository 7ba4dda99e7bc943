/**
 * What an on-screen keyboard has done to the text area. Such keyboards tell no keys (Android reports all of them as 229): they write,
 * take back and replace words, and the session has to follow by what is different afterwards. Pure.
 */

/** In the text area from the start, so that Backspace has something to delete. */
export const FILLER = "\u200b";

export type TextEdit = {
  /** How often to press Backspace first. */
  readonly backspaces: number;
  readonly text: string;
};

/** What turns one text into another at its end, in code points: what Backspace deletes and the session types. */
export function diffText(before: string, after: string): TextEdit {
  const [old, now] = [Array.from(before), Array.from(after)];
  let same = 0;
  while (same < old.length && same < now.length && old[same] === now[same]) same += 1;
  return { backspaces: old.length - same, text: now.slice(same).join("") };
}

/** The same for the content of a text area that begins with {@link FILLER}: its loss alone is one Backspace. */
export function diffArea(before: string, after: string): TextEdit {
  const [old, now] = [before.replaceAll(FILLER, ""), after.replaceAll(FILLER, "")];
  const emptied = old === "" && now === "" && before !== "" && after === "";
  return emptied ? { backspaces: 1, text: "" } : diffText(old, now);
}
