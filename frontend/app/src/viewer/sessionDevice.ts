/** The microphone or the camera of whoever sits here, for the programs of the session: published, and had by them while it is on. */

import type { OrielClient } from "@oriel/client";
import { t } from "../i18n/words";
import { type Device, LocalMedia } from "../room/localMedia";

export type DeviceKind = "camera" | "microphone";

/** What is to be said of a device that is not on, and perhaps was. Pure. */
function troubleOf(kind: DeviceKind, device: Device, ended: string | null): string | null {
  if (device.kind === "failed") return device.message;
  if (device.kind === "off" && ended !== null) {
    return t(kind === "camera" ? "camera-ended" : "microphone-ended", { reason: ended });
  }
  return null;
}

/** Opens the device and gives it to the session, in one. Owns the device and the publication. */
export class SessionDevice {
  readonly #client: OrielClient;
  readonly #kind: DeviceKind;
  readonly #media = new LocalMedia();
  readonly #listeners = new Set<() => void>();
  #track: MediaStreamTrack | null = null;
  #ended: string | null = null;

  constructor(client: OrielClient, kind: DeviceKind) {
    this.#client = client;
    this.#kind = kind;
    this.#media.subscribe(() => {
      this.#follow();
    });
    client.on(`session-${kind}`, ({ enabled, reason }) => {
      if (!enabled && reason !== null) this.#end(reason);
      else this.#changed();
    });
    client.on("unpublished", ({ kind: ended, reason }) => {
      if (ended === kind && reason !== null && client.state.kind === "connected") this.#end(reason);
    });
  }

  get device(): Device {
    return this.#media.state[this.#kind];
  }

  /** Programs have it. */
  get given(): boolean {
    const { sessionCamera, sessionMicrophone } = this.#client;
    return this.device.kind === "on" && (this.#kind === "camera" ? sessionCamera : sessionMicrophone);
  }

  /** What is to be said of it; null while there is nothing to say. */
  get trouble(): string | null {
    return troubleOf(this.#kind, this.device, this.#ended);
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
    if (kind === "off" || kind === "failed") void this.#media.open(this.#kind);
    else this.#media.close(this.#kind);
  };

  close(): void {
    this.#media.closeAll();
  }

  #end(reason: string): void {
    if (this.#track === null) return;
    this.#ended = reason;
    this.#media.close(this.#kind);
  }

  /** Publishes what is open, and nothing once it is closed. */
  #follow(): void {
    const { device } = this;
    const track = device.kind === "on" ? device.track : null;
    if (track !== this.#track) {
      this.#track = track;
      if (this.#kind === "camera") this.#client.setSessionCamera(track !== null);
      else this.#client.setSessionMicrophone(track !== null);
      if (track === null) void this.#client.unpublish(this.#kind);
      else {
        this.#client.publish(this.#kind, track).catch((error: unknown) => {
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
