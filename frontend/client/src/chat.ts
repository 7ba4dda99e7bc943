/** The chat as a client knows it: what was written before it came and since, each message once, the newest few hundred. Pure. */

import type { ChatMessage } from "./signaling/room";

/** As many as the server keeps for those who come later. */
export const CHAT_KEPT = 200;

/**
 * Takes over messages, in the order of their ids. The history comes again after a reconnection, so most of it may be known.
 * The same list when there is nothing new.
 */
export function withChat(known: readonly ChatMessage[], news: readonly ChatMessage[]): readonly ChatMessage[] {
  const ids = new Set(known.map(({ id }) => id));
  const fresh = news.filter(({ id }) => !ids.has(id));
  if (fresh.length === 0) return known;
  return [...known, ...fresh].sort((a, b) => a.id - b.id).slice(-CHAT_KEPT);
}
