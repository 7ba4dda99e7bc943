/** Who and what is in a room, as tiles: from participants and slots. Pure. */

import type { Participant, PeerId, SlotView } from "@oriel/client";
import { labelOf } from "../viewer/label";
import { t } from "../i18n/words";
import { nameOf } from "../ui/person";

export type Tile = {
  /** The same for the same tile, as long as it is there. */
  readonly key: string;
  readonly kind: "person" | "screen" | "source";
  /** Who it is, or whose screen; null for what belongs to the room itself. */
  readonly peerId: PeerId | null;
  readonly name: string;
  /** The slot that shows it; null while there is none, and for one's own. */
  readonly slot: number | null;
  readonly own: boolean;
  /** It sends a picture. */
  readonly pictured: boolean;
  /** Its microphone is muted, or it has none on. */
  readonly muted: boolean;
  readonly speaking: boolean;
  readonly handRaised: boolean;
};

export type RoomTiles = {
  /**
   * All, in an order that pinning does not change: what belongs to the room, screens, people in the order of their coming, oneself
   * last.
   */
  readonly all: readonly Tile[];
  /** Keys of those that are shown large: screens and what belongs to the room, or what is pinned alone. */
  readonly stage: readonly string[];
  /** Keys of the others. */
  readonly beside: readonly string[];
};

type Slots = ReadonlyMap<number, Pick<SlotView, "slot" | "info">>;

/** The letters in place of a picture. */
export function initialsOf(name: string): string {
  const words = name.split(/[\s._-]+/u).filter((word) => word !== "");
  const [first, last] = [words[0], words.length > 1 ? words.at(-1) : undefined];
  return [first, last].map((word) => (word === undefined ? "" : String.fromCodePoint(word.codePointAt(0) ?? 0))).join("").toUpperCase();
}

/** @param pinned key of a tile that this page wants large; null for none. */
export function tilesOf(
  participants: readonly Participant[],
  slots: Slots,
  self: PeerId | null,
  pinned: string | null,
): RoomTiles {
  const shown = [...slots.values()].filter(({ info }) => info !== null);
  const people = participants
    .filter(isSeen)
    .map((participant) => person(participant, shown, self))
    .sort((a, b) => Number(a.own) - Number(b.own));
  const others = participants
    .filter(({ peerId, publishing }) => peerId !== self && publishing.includes("screen"))
    .map((participant) => screen(participant, shown));
  const sources = shown.flatMap(({ slot, info }) =>
    info === null || publisherOf(info) !== null ? [] : [source(slot, labelOf(info), info.source)],
  );
  const large = [...sources, ...others];
  const all = [...large, ...people];
  const keys = all.map(({ key }) => key);
  const stage = pinned !== null && keys.includes(pinned) ? [pinned] : large.map(({ key }) => key);
  return { all, stage, beside: keys.filter((key) => !stage.includes(key)) };
}

/** The tiles beside that get the places there are: those with a picture before those without, in their order. */
export function seenOf({ all, beside }: RoomTiles, places: number): readonly string[] {
  if (beside.length <= places) return beside;
  const pictured = new Set(all.filter((tile) => tile.pictured).map(({ key }) => key));
  const first = [...beside.filter((key) => pictured.has(key)), ...beside.filter((key) => !pictured.has(key))];
  const chosen = new Set(first.slice(0, places));
  return beside.filter((key) => chosen.has(key));
}

/** Whoever may be seen has a tile, also with the camera off; an audience has none. */
function isSeen({ rights, publishing }: Participant): boolean {
  return rights.includes("publish") || publishing.length > 0;
}

type Info = NonNullable<SlotView["info"]>;
type Shown = Pick<SlotView, "slot" | "info">;

function publisherOf(info: Info): PeerId | null {
  return info.publisher ?? null;
}

/** The slots of a peer's camera and of its screen, which is a source of its own: the peer's name with an ending. */
function slotsOf({ peerId, publishing }: Participant, shown: readonly Shown[]): { readonly face: number | null; readonly screen: number | null } {
  const own = shown.flatMap(({ slot, info }) => (info !== null && publisherOf(info) === peerId ? [{ slot, name: info.source }] : []));
  const screens = publishing.includes("screen") ? own.filter(({ name }) => /-screen(?:-\d+)?$/.test(name)) : [];
  // Somebody may be called so: the name with one ending more is the screen's.
  const [screen] = screens.sort((a, b) => b.name.length - a.name.length);
  const face = own.find((one) => one !== screen);
  return { face: face?.slot ?? null, screen: screen?.slot ?? null };
}

function person(participant: Participant, shown: readonly Shown[], self: PeerId | null): Tile {
  const { peerId, publishing, muted, speaking, handRaised } = participant;
  const own = peerId === self;
  return {
    key: peerId,
    kind: "person",
    peerId,
    name: nameOf(participant),
    slot: own ? null : slotsOf(participant, shown).face,
    own,
    pictured: publishing.includes("camera"),
    muted: muted || !publishing.includes("microphone"),
    speaking,
    handRaised,
  };
}

function screen(participant: Participant, shown: readonly Shown[]): Tile {
  const { peerId } = participant;
  return {
    key: `${peerId} screen`,
    kind: "screen",
    peerId,
    name: t("screen-of", { name: nameOf(participant) }),
    slot: slotsOf(participant, shown).screen,
    own: false,
    pictured: true,
    muted: true,
    speaking: false,
    handRaised: false,
  };
}

function source(slot: number, name: string, key: string): Tile {
  return {
    key: `source ${key}`,
    kind: "source",
    peerId: null,
    name,
    slot,
    own: false,
    pictured: true,
    muted: false,
    speaking: false,
    handRaised: false,
  };
}

/** What has changed among the people, for who cannot see it. Nothing is said of oneself, nor of those who are found on coming. */
export function newsOf(before: readonly Participant[], after: readonly Participant[], self: PeerId | null): readonly string[] {
  if (before.length === 0) return [];
  const known = new Map(before.map((participant) => [participant.peerId, participant]));
  const present = new Set(after.map(({ peerId }) => peerId));
  const others = after.filter(({ peerId }) => peerId !== self);
  const came = others.filter(({ peerId }) => !known.has(peerId)).map((one) => t("has-joined", { name: nameOf(one) }));
  const left = before
    .filter(({ peerId }) => peerId !== self && !present.has(peerId))
    .map((one) => t("has-left", { name: nameOf(one) }));
  const hands = others
    .filter(({ peerId, handRaised }) => handRaised && known.get(peerId)?.handRaised === false)
    .map((one) => t("has-raised-hand", { name: nameOf(one) }));
  const screens = others
    .filter(({ peerId, publishing }) => publishing.includes("screen") && known.get(peerId)?.publishing.includes("screen") === false)
    .map((one) => t("shows-a-screen", { name: nameOf(one) }));
  return [...came, ...left, ...hands, ...screens];
}
