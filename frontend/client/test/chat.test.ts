import { describe, expect, it } from "vitest";
import { CHAT_KEPT, withChat } from "../src/chat";
import { SlotWishes } from "../src/peer/wishes";
import type { ChatMessage } from "../src/generated";
import { parseServerMessage } from "../src/signaling/messages";


const START = Date.parse("2026-11-29T12:00:00Z");

function message(id: number, at = id): ChatMessage {
  return { id, peerId: "p", text: `message ${id}`, at: new Date(START + 1000 * at).toISOString() };
}

describe("a chat", () => {
  it("has each message once, in order, also when the history comes again", () => {
    const first = withChat([], [message(1), message(2)]);
    const later = withChat(first, [message(4)]);
    const again = withChat(later, [message(1), message(2), message(3), message(4)]);
    expect(again.map(({ id }) => id)).toEqual([1, 2, 3, 4]);
    expect(withChat(again, [message(2)])).toBe(again);
  });

  it("goes on after another process of the streamer has begun to count anew", () => {
    const all = withChat([message(1), message(2)], [message(1, 60)]);
    expect(all.map(({ at }) => Date.parse(at) - START)).toEqual([1000, 2000, 60_000]);
  });

  it("forgets the oldest", () => {
    const many = Array.from({ length: CHAT_KEPT + 5 }, (_, id) => message(id));
    expect(withChat([], many).map(({ id }) => id)).toEqual(many.slice(5).map(({ id }) => id));
  });
});

describe("messages of rooms", () => {
  it("are known, and refused without what they promise", () => {
    const parse = (value: object): string => parseServerMessage(JSON.stringify(value)).kind;
    expect(parse({ type: "chat", ...message(1) })).toBe("message");
    expect(parse({ type: "chat-history", messages: [] })).toBe("message");
    expect(parse({ type: "reaction", peerId: "p", emoji: "👍" })).toBe("message");
    expect(parse({ type: "muted-by", peerId: "p", kind: "camera" })).toBe("message");
    expect(parse({ type: "session-camera", enabled: false, reason: "taken" })).toBe("message");
    expect(parse({ type: "session-camera" })).toBe("malformed");
    expect(parse({ type: "chat", text: "no id" })).toBe("malformed");
  });
});

describe("what a client has said of itself", () => {
  it("is said again to a new peer", () => {
    const wishes = new SlotWishes();
    expect(wishes.messages()).toEqual([]);
    wishes.handRaised = true;
    wishes.muted = true;
    wishes.devices.add("session-camera");
    expect(wishes.messages()).toEqual([
      { type: "raise-hand", raised: true },
      { type: "set-muted", muted: true },
      { type: "session-camera", enabled: true },
    ]);
    wishes.devices.delete("session-camera");
    expect(wishes.messages()).toHaveLength(2);
  });
});
