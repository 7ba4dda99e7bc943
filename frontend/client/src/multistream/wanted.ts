/**
 * The wanted content of the slots of a multistream session. Owned by the client, so that a session that has to be
 * begun anew begins where the last one was. Pure.
 */

import type { MultistreamClientMessage } from "../generated";
import type { SlotConfig, SlotStatus } from "./messages";

/** All slots, where a message or a call names one. */
export const ALL_SLOTS = -1;

type Wanted = { readonly stream: string; readonly quality: string; readonly paused: boolean };

export class WantedSlots {
  readonly #slots: Wanted[];
  /** Changed since the last message to the server, because there was no connection. */
  readonly #untold = new Set<number>();

  /** @throws {RangeError} unless the slots are 0, 1, 2 … in any order, each of them once. */
  constructor(configs: readonly SlotConfig[]) {
    const inOrder = [...configs].sort((a, b) => a.slot - b.slot);
    if (inOrder.length === 0 || inOrder.some(({ slot }, i) => slot !== i)) {
      const named = configs.map(({ slot }) => slot).join(", ");
      throw new RangeError(`slots must be numbered 0, 1, 2 … without a gap, not: ${named}`);
    }
    this.#slots = inOrder.map(({ stream, quality }) => ({ stream, quality: quality ?? "", paused: false }));
  }

  get count(): number {
    return this.#slots.length;
  }

  get configs(): Required<SlotConfig>[] {
    return this.#slots.map(({ stream, quality }, slot) => ({ slot, stream, quality }));
  }

  /** A status with the requested names, if it is about the requested stream: the server combines both names. */
  asAsked(status: SlotStatus): SlotStatus {
    const wanted = this.#slots[status.slot];
    if (wanted === undefined) return status;
    const { stream, quality } = wanted;
    const name = quality === "" || quality === "native" ? stream : `${stream}-${quality}`;
    return name === status.stream ? { ...status, stream, quality } : status;
  }

  isPaused(slot: number): boolean {
    return this.#slots[slot]?.paused ?? false;
  }

  /** @throws {RangeError} when there is no such slot. */
  switch(slot: number, stream: string, quality: string): void {
    this.#change(slot, { stream, quality });
  }

  /** @throws {RangeError} when there is no such slot. */
  setPaused(slot: number, paused: boolean): void {
    for (const one of this.indices(slot)) this.#change(one, { paused });
  }

  /**
   * The slots that a number means.
   * @throws {RangeError} when there is no such slot.
   */
  indices(slot: number): number[] {
    if (slot === ALL_SLOTS) return [...this.#slots.keys()];
    this.require(slot);
    return [slot];
  }

  /** @throws {RangeError} when there is no such slot. */
  require(slot: number): void {
    if (this.#slots[slot] !== undefined) return;
    throw new RangeError(`there is no slot ${slot}; this session has ${this.#slots.length}`);
  }

  /** The last change of a slot could not be sent to the server. */
  noteUntold(slot: number): void {
    for (const one of this.indices(slot)) this.#untold.add(one);
  }

  /** The changes that a resumed session has missed. */
  missed(requestId: () => string): MultistreamClientMessage[] {
    const messages = [...this.#untold].flatMap((slot): MultistreamClientMessage[] => {
      const wanted = this.#slots[slot];
      if (wanted === undefined) return [];
      const { stream, quality, paused } = wanted;
      return [
        { type: "multistream/switch", request_id: requestId(), slot, stream, quality },
        { type: paused ? "multistream/pause" : "multistream/resume", slot },
      ];
    });
    this.#untold.clear();
    return messages;
  }

  /** The messages for a new session after its `init`, which names the streams. */
  afterInit(): MultistreamClientMessage[] {
    this.#untold.clear();
    return this.#slots.flatMap(({ paused }, slot): MultistreamClientMessage[] =>
      paused ? [{ type: "multistream/pause", slot }] : [],
    );
  }

  #change(slot: number, change: Partial<Wanted>): void {
    const old = this.#slots[slot];
    if (old === undefined) {
      throw new RangeError(`there is no slot ${slot}; this session has ${this.#slots.length}`);
    }
    this.#slots[slot] = { ...old, ...change };
  }
}
