/**
 * This client's own settings: which slots are paused or show another stream than everybody sees, and what it has told the others
 * about itself. A new peer of the streamer does not know them, so they are sent again after a reconnection. Pure.
 */

import type { ClientMessage } from "../generated";
import type { SeenStream } from "./slots";

/** What the session's programs can have of this client, by the message that says it. */
export type SessionDevice = "session-camera" | "session-microphone";

export class SlotWishes {
  readonly #paused = new Set<number>();
  readonly #choices = new Map<number, SeenStream>();
  /** This client has raised its hand. */
  handRaised = false;
  /** This client has muted its microphone. */
  muted = false;
  /** What the session's programs are to have of this client. */
  readonly devices = new Set<SessionDevice>();

  isPaused(slot: number): boolean {
    return this.#paused.has(slot);
  }

  /** Notes it; false when it was so already. */
  setPaused(slot: number, paused: boolean): boolean {
    if (this.#paused.has(slot) === paused) return false;
    if (paused) this.#paused.add(slot);
    else this.#paused.delete(slot);
    return true;
  }

  /** The chosen stream instead of what everybody sees; null for none. */
  choice(slot: number): SeenStream | null {
    return this.#choices.get(slot) ?? null;
  }

  /** @param stream empty: what everybody sees. */
  choose(slot: number, stream: string, quality: string): void {
    if (stream === "") this.#choices.delete(slot);
    else this.#choices.set(slot, { stream, quality });
  }

  /** The messages for a new peer. */
  messages(): ClientMessage[] {
    const switches = [...this.#choices].map(([slot, seen]): ClientMessage => ({
      type: "switch",
      slot,
      ...seen,
      // Tells a refusal of it from an error of the slot.
      requestId: "again",
    }));
    const pauses = [...this.#paused].map((slot): ClientMessage => ({ type: "pause", slot }));
    const said: ClientMessage[] = [];
    if (this.handRaised) said.push({ type: "raise-hand", raised: true });
    if (this.muted) said.push({ type: "set-muted", muted: true });
    for (const type of this.devices) said.push({ type, enabled: true });
    return [...switches, ...pauses, ...said];
  }
}
