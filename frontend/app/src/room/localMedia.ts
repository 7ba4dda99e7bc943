/**
 * The camera, the microphone and the screen of whoever sits here: opened and closed, chosen, and lost when they are unplugged. It
 * owns their tracks; whoever publishes them is told of each change.
 */

import { type DeviceKind, explain } from "./trouble";
import { t } from "../i18n/words";

export type Device =
  | { readonly kind: "off" }
  /** The browser asks, or the device starts. */
  | { readonly kind: "opening" }
  | { readonly kind: "on"; readonly track: MediaStreamTrack }
  | { readonly kind: "failed"; readonly message: string };

/** A device that can be chosen. */
export type Choice = { readonly id: string; readonly label: string };

export type LocalState = {
  readonly camera: Device;
  readonly microphone: Device;
  readonly screen: Device;
  /** The microphone is on, and sends silence. */
  readonly muted: boolean;
  readonly cameras: readonly Choice[];
  readonly microphones: readonly Choice[];
  /** Null: whichever the browser takes. */
  readonly cameraId: string | null;
  readonly microphoneId: string | null;
};

const OFF: Device = { kind: "off" };
const CAMERA = { width: { ideal: 1280 }, height: { ideal: 720 }, frameRate: { ideal: 30 } };
const MICROPHONE = { echoCancellation: true, noiseSuppression: true, autoGainControl: true };
const SCREEN = { frameRate: { ideal: 30 } };

export class LocalMedia {
  #state: LocalState = {
    camera: OFF,
    microphone: OFF,
    screen: OFF,
    muted: false,
    cameras: [],
    microphones: [],
    cameraId: null,
    microphoneId: null,
  };
  readonly #listeners = new Set<() => void>();
  /** Numbers what is opened: what comes late is closed again. */
  readonly #turns: Record<DeviceKind, number> = { camera: 0, microphone: 0, screen: 0 };

  constructor() {
    if (!isSecureContext) return;
    navigator.mediaDevices.addEventListener("devicechange", () => void this.#list());
    void this.#list();
  }

  get state(): LocalState {
    return this.#state;
  }

  subscribe(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => {
      this.#listeners.delete(listener);
    };
  }

  /** Opens a device, unless it is on already. */
  async open(kind: DeviceKind): Promise<void> {
    const present = this.#state[kind].kind;
    if (present === "on" || present === "opening") return;
    const turn = (this.#turns[kind] += 1);
    this.#set({ [kind]: { kind: "opening" } });
    try {
      const track = await this.#ask(kind);
      if (turn !== this.#turns[kind]) {
        track.stop();
        return;
      }
      this.#opened(kind, track);
      await this.#list();
    } catch (error) {
      if (turn !== this.#turns[kind]) return;
      const message = explain(kind, error, isSecureContext);
      this.#set({ [kind]: message === null ? OFF : { kind: "failed", message } });
    }
  }

  /** Turns a device off, also its light. */
  close(kind: DeviceKind): void {
    this.#turns[kind] += 1;
    const device = this.#state[kind];
    if (device.kind === "on") device.track.stop();
    this.#set(kind === "microphone" ? { microphone: OFF, muted: false } : { [kind]: OFF });
  }

  /** Takes another camera or microphone from now on. */
  async choose(kind: "camera" | "microphone", id: string): Promise<void> {
    const name = kind === "camera" ? "cameraId" : "microphoneId";
    this.#set({ [name]: id === "" ? null : id });
    const muted = this.#state.muted;
    if (this.#state[kind].kind === "off") return;
    this.close(kind);
    await this.open(kind);
    if (kind === "microphone" && muted) this.setMuted(true);
  }

  /** Sends silence, or sound again. The microphone itself stays open, so that it is heard at once. */
  setMuted(muted: boolean): void {
    const { microphone } = this.#state;
    if (microphone.kind !== "on") return;
    microphone.track.enabled = !muted;
    this.#set({ muted });
  }

  closeAll(): void {
    for (const kind of ["camera", "microphone", "screen"] as const) this.close(kind);
  }

  async #ask(kind: DeviceKind): Promise<MediaStreamTrack> {
    if (!isSecureContext) throw new DOMException("not a secure context", "SecurityError");
    const devices = navigator.mediaDevices;
    const { cameraId, microphoneId } = this.#state;
    let stream: MediaStream;
    switch (kind) {
      case "camera":
        stream = await devices.getUserMedia({ video: { ...CAMERA, ...exactly(cameraId) } });
        break;
      case "microphone":
        stream = await devices.getUserMedia({ audio: { ...MICROPHONE, ...exactly(microphoneId) } });
        break;
      case "screen":
        stream = await devices.getDisplayMedia({ video: SCREEN });
        break;
    }
    const track = stream.getTracks().find((candidate) => candidate.kind === (kind === "microphone" ? "audio" : "video"));
    if (track === undefined) throw new DOMException("there is no such track", "NotFoundError");
    if (kind === "screen") track.contentHint = "detail";
    return track;
  }

  #opened(kind: DeviceKind, track: MediaStreamTrack): void {
    // Unplugged, or the person has stopped to show the screen by a button of the browser's own.
    track.addEventListener("ended", () => {
      const device = this.#state[kind];
      if (device.kind !== "on" || device.track !== track) return;
      this.#set({ [kind]: kind === "screen" ? OFF : { kind: "failed", message: t(kind === "camera" ? "camera-gone" : "microphone-gone") } });
    });
    this.#set({ [kind]: { kind: "on", track } });
  }

  async #list(): Promise<void> {
    try {
      const devices = await navigator.mediaDevices.enumerateDevices();
      const of = (kind: MediaDeviceKind): Choice[] =>
        devices
          // Before anything was allowed, devices have neither names nor ids.
          .filter((device) => device.kind === kind && device.deviceId !== "")
          .map(({ deviceId, label }, index) => ({ id: deviceId, label: label === "" ? t("device-number", { number: index + 1 }) : label }));
      this.#set({ cameras: of("videoinput"), microphones: of("audioinput") });
    } catch {
      // Without a list there is nothing to choose from; the device that the browser takes can be had anyway.
    }
  }

  #set(change: Partial<LocalState>): void {
    this.#state = { ...this.#state, ...change };
    for (const listener of [...this.#listeners]) listener();
  }
}

function exactly(id: string | null): MediaTrackConstraints {
  return id === null ? {} : { deviceId: { exact: id } };
}
