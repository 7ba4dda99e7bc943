/**
 * The video element of one slot and what belongs to it: the stream that it plays, the last picture of the
 * connection before, the meter of its frames.
 *
 * A new connection brings a new stream, and a video without frames is black: until its first frame the last
 * picture of the old one stays, drawn on a canvas above. Each slot keeps its element wherever on the page it is
 * shown, since an element that begins to play a stream at rest would be black until its next frame.
 */

import { type OrielClient, playStream } from "@oriel/client";
import { FrameMeter } from "./meter";

export class Screen {
  readonly slot: number;
  readonly meter = new FrameMeter();
  readonly #client: OrielClient;
  readonly #changed: () => void;
  #video: HTMLVideoElement | null = null;
  #still: HTMLCanvasElement | null = null;
  #hasPicture = false;
  #muted = true;
  #volume = 1;
  #stopMeasuring: (() => void) | null = null;

  /** @param changed called when {@link video} or {@link hasPicture} has changed. */
  constructor(client: OrielClient, slot: number, changed: () => void) {
    this.slot = slot;
    this.#client = client;
    this.#changed = changed;
    client.on("slots", () => {
      this.#showStream();
    });
    client.on("state", (state) => {
      if (state.kind === "connecting" || (state.kind === "reconnecting" && !state.mediaFlows))
        this.#setHasPicture(false);
    });
    client.on("media-closing", () => {
      this.#keepPicture();
      // A video whose tracks have ended presents a black frame, which is not of the session.
      this.#detach();
    });
    this.meter.onFrame(() => {
      if (this.#video !== null) this.#stopMeasuring ??= this.#client.measureLatency(this.#video, this.slot);
      if (this.#still !== null) this.#still.hidden = true;
      this.#setHasPicture(true);
    });
  }

  /** Null while the slot is not on the page. */
  get video(): HTMLVideoElement | null {
    return this.#video;
  }

  /** A picture of the present connection has been on screen. */
  get hasPicture(): boolean {
    return this.#hasPicture;
  }

  /** Sets the element that shows the picture; null when it is removed. */
  readonly setVideo = (video: HTMLVideoElement | null): void => {
    this.#detach();
    this.#video = video;
    if (video === null) {
      this.#hasPicture = false;
    } else {
      video.muted = this.#muted;
      video.volume = this.#volume;
      this.#showStream();
    }
    this.#changed();
  };

  /** Sets the canvas for the last picture. */
  readonly setStill = (canvas: HTMLCanvasElement | null): void => {
    this.#still = canvas;
    if (canvas !== null) canvas.hidden = true;
  };

  setMuted(muted: boolean): void {
    this.#muted = muted;
    if (this.#video !== null) this.#video.muted = muted;
  }

  /** @param volume from 0 to 1. */
  setVolume(volume: number): void {
    this.#volume = volume;
    if (this.#video !== null) this.#video.volume = volume;
  }

  #setHasPicture(has: boolean): void {
    if (has === this.#hasPicture) return;
    this.#hasPicture = has;
    this.#changed();
  }

  #showStream(): void {
    const video = this.#video;
    const stream = this.#client.slots.get(this.slot)?.stream ?? null;
    if (video === null || stream === null || video.srcObject === stream) return;
    this.#keepPicture();
    video.srcObject = stream;
    this.#detach();
    this.meter.attach(video);
    void playStream(video, stream);
  }

  #detach(): void {
    this.meter.detach();
    this.#stopMeasuring?.();
    this.#stopMeasuring = null;
  }

  #keepPicture(): void {
    const [video, canvas] = [this.#video, this.#still];
    // Shown already: the video has had no frame since, and has nothing better.
    if (video === null || canvas?.hidden !== true) return;
    if (video.videoWidth === 0 || video.readyState < HTMLMediaElement.HAVE_CURRENT_DATA) return;
    canvas.width = video.videoWidth;
    canvas.height = video.videoHeight;
    canvas.getContext("2d")?.drawImage(video, 0, 0);
    canvas.hidden = false;
  }
}
