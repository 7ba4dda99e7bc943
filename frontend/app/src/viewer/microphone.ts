/** The microphone of whoever sits here, for the programs of the session: published, and heard by them while it is on. Loaded when it is first wanted. */

import type { OrielClient } from "@oriel/client";
import { t } from "../i18n/words";
import { type Device, LocalMedia } from "../room/localMedia";

/** What is to be said of a microphone that is not on, and perhaps was. Pure. */
function troubleOf(device: Device, ended: string | null): string | null {
  if (device.kind === "failed") return device.message;
  if (device.kind === "off" && ended !== null) return t("microphone-ended", { reason: ended });
  return null;
}

/** Opens the microphone and speaks to the session by it, in one. Owns the device and the publication. */
export class SessionMicrophone {
  readonly #client: OrielClient;
  readonly #media = new LocalMedia();
  readonly #listeners = new Set<() => void>();
  #track: MediaStreamTrack | null = null;
  #ended: string | null = null;

  constructor(client: OrielClient) {
    this.#client = client;
    this.#media.subscribe(() => {
      this.#follow();
    });
    client.on("session-microphone", ({ enabled, reason }) => {
      if (!enabled && reason !== null) this.#end(reason);
      else this.#changed();
    });
    client.on("unpublished", ({ kind, reason }) => {
      if (kind === "microphone" && reason !== null && client.state.kind === "connected") this.#end(reason);
    });
  }

  get device(): Device {
    return this.#media.state.microphone;
  }

  /** What is to be said of it; null while there is nothing to say. */
  get trouble(): string | null {
    return troubleOf(this.device, this.#ended);
  }

  subscribe = (listener: () => void): (() => void) => {
    this.#listeners.add(listener);
    return () => {
      this.#listeners.delete(listener);
    };
  };

  toggle = (): void => {
    this.#ended = null;
    const { kind } = this.device;
    if (kind === "off" || kind === "failed") void this.#media.open("microphone");
    else this.#media.close("microphone");
  };

  close(): void {
    this.#media.closeAll();
  }

  #end(reason: string): void {
    if (this.#track === null) return;
    this.#ended = reason;
    this.#media.close("microphone");
  }

  /** Publishes what is open, and nothing once it is closed. */
  #follow(): void {
    const { device } = this;
    const track = device.kind === "on" ? device.track : null;
    if (track !== this.#track) {
      this.#track = track;
      this.#client.setSessionMicrophone(track !== null);
      if (track === null) void this.#client.unpublish("microphone");
      else {
        this.#client.publish("microphone", track).catch((error: unknown) => {
          // What was given up meanwhile is none of the person's troubles.
          const refused = error instanceof Error && "reason" in error && error.reason === "refused";
          if (refused) this.#end(error.message);
        });
      }
    }
    this.#changed();
  }

  #changed(): void {
    for (const listener of [...this.#listeners]) listener();
  }
}
