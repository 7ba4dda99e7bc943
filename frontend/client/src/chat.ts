/** The chat as a client knows it: what was written before it came and since, each message once, the newest few hundred. Pure. */

import type { ChatMessage } from "./generated";

/** As many as the server keeps for those who come later. */
export const CHAT_KEPT = 200;

/**
 * Takes over messages, in the order of their coming. The history comes again after a reconnection, so most of it may be known;
 * another process of the streamer counts its messages anew. The same list when there is nothing new.
 */
export function withChat(known: readonly ChatMessage[], news: readonly ChatMessage[]): readonly ChatMessage[] {
  const keys = new Set(known.map(keyOf));
  const fresh = news.filter((message) => !keys.has(keyOf(message)));
  if (fresh.length === 0) return known;
  return [...known, ...fresh].sort(inOrder).slice(-CHAT_KEPT);
}

/** What no two messages have in common. */
export function keyOf({ id, at }: Pick<ChatMessage, "id" | "at">): string {
  return `${id} ${at}`;
}

function inOrder(a: ChatMessage, b: ChatMessage): number {
  return Date.parse(a.at) - Date.parse(b.at) || a.id - b.id;
}
