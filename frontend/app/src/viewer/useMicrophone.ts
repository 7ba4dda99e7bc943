/** The microphone of whoever sits here, for the programs of the session: published, and heard by them while it is on. */

import type { OrielClient } from "@oriel/client";
import { useEffect, useState, useSyncExternalStore } from "react";
import { type Device, LocalMedia } from "../room/localMedia";
import { t } from "../i18n/words";

export type Microphone = {
  readonly device: Device;
  /** Programs hear it. */
  readonly heard: boolean;
  readonly toggle: () => void;
};

/** What is to be said of a microphone that is not on, and perhaps was; null while there is nothing to say. Pure. */
export function troubleOf(device: Device, ended: string | null): string | null {
  if (device.kind === "failed") return device.message;
  if (device.kind === "off" && ended !== null) return t("microphone-ended", { reason: ended });
  return null;
}

/** Opens the microphone and speaks to the session by it, in one. Owns the device and the publication. */
class SessionMicrophone {
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

  get ended(): string | null {
    return this.#ended;
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

/** The microphone, and what stands in its way. */
export function useMicrophone(client: OrielClient): Microphone & { readonly trouble: string | null } {
  const [microphone] = useState(() => new SessionMicrophone(client));
  useEffect(() => {
    return () => {
      microphone.close();
    };
  }, [microphone]);
  const device = useSyncExternalStore(microphone.subscribe, () => microphone.device);
  const ended = useSyncExternalStore(microphone.subscribe, () => microphone.ended);
  const heard = useSyncExternalStore(microphone.subscribe, () => client.sessionMicrophone);
  return { device, heard: heard && device.kind === "on", toggle: microphone.toggle, trouble: troubleOf(device, ended) };
}
