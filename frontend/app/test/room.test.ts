import type { Participant, StreamInfo } from "@oriel/client";
import { describe, expect, it } from "vitest";
import { levelOf } from "../src/room/level";
import { initialsOf, newsOf, seenOf, tilesOf } from "../src/room/people";
import { nameOf } from "../src/ui/person";
import { changes } from "../src/room/publishing";
import { devices } from "../src/i18n/en/devices";
import { explain } from "../src/room/trouble";
import { fieldOf, NEW_ROOM, requestOf } from "../src/rooms/form";
import { occupancy } from "../src/rooms/occupancy";

function participant(peerId: string, part: Partial<Participant> = {}): Participant {
  return {
    peerId,
    role: "viewer",
    displayName: peerId.toUpperCase(),
    rights: ["publish", "chat"],
    publishing: [],
    muted: false,
    speaking: false,
    sessionMicrophone: false,
    sessionCamera: false,
    handRaised: false,
    holdsControl: false,
    ...part,
  };
}

function slot(index: number, source: string, publisher?: string) {
  const info: StreamInfo = {
    trackId: `video${index}`,
    mid: String(2 * index),
    audioMid: null,
    slot: index,
    source,
    windowName: null,
    appName: null,
    isFocused: false,
    width: 640,
    height: 360,
    codec: "VP8",
    fps: 30,
    cursor: "client",
    input: false,
    microphone: false,
    camera: false,
    ...(publisher === undefined ? {} : { publisher }),
  };
  return [index, { slot: index, info }] as const;
}

describe("the tiles of a room", () => {
  const ada = participant("ada", { publishing: ["camera", "microphone"] });
  const bob = participant("bob", { publishing: ["microphone", "screen"], muted: true, handRaised: true });
  const cyd = participant("cyd", { rights: ["chat"] });
  const slots = new Map([slot(0, "main"), slot(1, "ada", "ada"), slot(2, "bob-screen", "bob"), slot(3, "bob", "bob")]);

  it("are what belongs to the room, screens, people, and oneself last", () => {
    const { all, stage, beside } = tilesOf([ada, bob, cyd], slots, "ada", null);
    expect(all.map(({ kind, name, slot, own }) => [kind, name, slot, own])).toEqual([
      ["source", "Main picture", 0, false],
      ["screen", "Screen of BOB", 2, false],
      ["person", "BOB", 3, false],
      ["person", "ADA", null, true],
    ]);
    expect(stage).toEqual(["source main", "bob screen"]);
    expect(beside).toEqual(["bob", "ada"]);
  });

  it("say who has a picture, a microphone and a raised hand", () => {
    const { all } = tilesOf([ada, bob], slots, null, null);
    const facts = new Map(all.map((tile) => [tile.key, [tile.pictured, tile.muted, tile.handRaised]]));
    expect(facts.get("ada")).toEqual([true, false, false]);
    expect(facts.get("bob")).toEqual([false, true, true]);
  });

  it("show what is pinned alone, and everything else beside it, in an order that does not change", () => {
    const plain = tilesOf([ada, bob], slots, "bob", null);
    const pinned = tilesOf([ada, bob], slots, "bob", "ada");
    expect(pinned.all).toEqual(plain.all);
    expect(pinned.stage).toEqual(["ada"]);
    expect(pinned.beside).toEqual(["source main", "bob"]);
    expect(tilesOf([ada, bob], slots, "bob", "gone").stage).toEqual(plain.stage);
  });

  it("with a picture get the places that there are before those without", () => {
    const eve = participant("eve", { publishing: ["camera"] });
    const tiles = tilesOf([cyd, participant("dan"), ada, participant("fay"), eve], new Map(), null, null);
    expect(seenOf(tiles, 9)).toEqual(["dan", "ada", "fay", "eve"]);
    expect(seenOf(tiles, 3)).toEqual(["dan", "ada", "eve"]);
    expect(seenOf(tiles, 1)).toEqual(["ada"]);
  });

  it("tell a screen from somebody who is called so", () => {
    const eve = participant("eve", { publishing: ["camera", "screen"] });
    const { all } = tilesOf([eve], new Map([slot(0, "big-screen", "eve"), slot(1, "big-screen-screen", "eve")]), null, null);
    expect(all.map(({ kind, slot }) => [kind, slot])).toEqual([
      ["screen", 1],
      ["person", 0],
    ]);
    const faceAlone = tilesOf([{ ...eve, publishing: ["camera"] }], new Map([slot(0, "big-screen", "eve")]), null, null);
    expect(faceAlone.all.map(({ kind, slot }) => [kind, slot])).toEqual([["person", 0]]);
  });

  it("hide nobody who waits for a slot", () => {
    const { all } = tilesOf([ada], new Map(), null, null);
    expect(all).toMatchObject([{ key: "ada", slot: null, pictured: true }]);
  });
});

describe("names", () => {
  it("fall back to a mark that tells guests apart", () => {
    expect(nameOf({ displayName: "Ada", peerId: "p" })).toBe("Ada");
    expect(nameOf({ peerId: "0123-abcd" })).toBe("Guest abcd");
    expect(nameOf({ displayName: "", peerId: "0123-abcd" })).toBe("Guest abcd");
  });

  it("have initials, in any script", () => {
    expect(["Ada Lovelace", "bob", "x.y_z", "  ", "Ødegård, Åse", "😀 smile", "李 小龙"].map(initialsOf)).toEqual([
      "AL",
      "B",
      "XZ",
      "",
      "ØÅ",
      "😀S",
      "李小",
    ]);
  });
});

describe("news for a screen reader", () => {
  const ada = participant("ada");
  const bob = participant("bob");

  it("tell of others who come, leave, raise a hand and show a screen", () => {
    expect(newsOf([ada], [ada, bob], "ada")).toEqual(["BOB has joined"]);
    expect(newsOf([ada, bob], [ada], "ada")).toEqual(["BOB has left"]);
    expect(newsOf([ada, bob], [ada, { ...bob, handRaised: true }], "ada")).toEqual(["BOB has raised a hand"]);
    expect(newsOf([ada, bob], [ada, { ...bob, publishing: ["screen"] }], "ada")).toEqual(["BOB shows a screen"]);
  });

  it("are silent about oneself, about who speaks, and about those who are found on coming", () => {
    expect(newsOf([ada, bob], [{ ...ada, handRaised: true }, { ...bob, speaking: true }], "ada")).toEqual([]);
    expect(newsOf([], [ada, bob], "ada")).toEqual([]);
  });
});

describe("trouble with devices", () => {
  const error = (name: string): DOMException => new DOMException("x", name);

  it("is explained with what to do about it", () => {
    expect(explain("camera", error("NotAllowedError"), true)).toMatch(/does not allow .*camera.*Allow it/);
    expect(explain("microphone", error("NotFoundError"), true)).toMatch(/No microphone was found/);
    expect(explain("camera", error("NotReadableError"), true)).toMatch(/another program/);
    expect(explain("camera", error("OverconstrainedError"), true)).toMatch(/Choose another/);
    expect(explain("camera", error("SomethingNew"), true)).toMatch(/SomethingNew/);
    expect(explain("microphone", "not even an error", true)).toMatch(/cannot be used/);
  });

  it("on a page that did not come by https is that", () => {
    expect(explain("camera", error("NotFoundError"), false)).toBe(devices["device-insecure"]);
    expect(explain("microphone", new TypeError("mediaDevices is undefined"), true)).toBe(devices["device-insecure"]);
  });

  it("is none where the choice of a screen was cancelled", () => {
    expect(explain("screen", error("NotAllowedError"), true)).toBeNull();
  });
});

describe("the level of a microphone", () => {
  it("is nothing in silence, all at full scale, and half at half of the decibels", () => {
    expect(levelOf(new Float32Array(512))).toBe(0);
    expect(levelOf(new Float32Array(0))).toBe(0);
    expect(levelOf(new Float32Array(512).fill(1))).toBe(1);
    expect(levelOf(new Float32Array(512).fill(10 ** (-30 / 20)))).toBeCloseTo(0.5);
  });
});

describe("what is to be published", () => {
  it("is what has changed: begun, replaced or ended", () => {
    const published = new Map([["camera", "a"], ["microphone", "m"]] as const);
    expect(changes(published, published)).toEqual([]);
    expect(changes(published, new Map([["camera", "b"], ["screen", "s"]] as const))).toEqual([
      { kind: "camera", track: "b" },
      { kind: "microphone", track: null },
      { kind: "screen", track: "s" },
    ]);
  });
});

describe("the form for a room", () => {
  it("needs a name, and takes a number of people or none", () => {
    expect(requestOf(NEW_ROOM)).toMatchObject({ kind: "invalid", field: "name" });
    expect(requestOf({ name: " Stand-up ", most: "" })).toEqual({ kind: "request", request: { name: "Stand-up" } });
    expect(requestOf({ name: "a", most: "12" })).toEqual({ kind: "request", request: { name: "a", max_participants: 12 } });
    for (const most of ["0", "-1", "1.5", "many"]) {
      expect(requestOf({ name: "a", most }), most).toMatchObject({ kind: "invalid", field: "most" });
    }
  });

  it("shows a refusal at its field", () => {
    const problem = { type: "", title: "", status: 400, detail: "", code: "invalid_field", request_id: "" };
    expect(fieldOf({ ...problem, field: "name" })).toBe("name");
    expect(fieldOf({ ...problem, field: "room.max_participants" })).toBe("most");
    expect(fieldOf({ ...problem, field: "slots" })).toBeNull();
  });

  it("says how many are in", () => {
    const texts = [0, 1, 3].map((participants) => occupancy({ participants, max_participants: 8 }));
    expect(texts).toEqual(["nobody in it, up to 8 can be", "1 of 8 in it", "3 of 8 in it"]);
    // At another node.
    expect(occupancy({ max_participants: 8 })).toBe("up to 8 can be in it");
  });
});
