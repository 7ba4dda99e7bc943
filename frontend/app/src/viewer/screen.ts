/**
 * The video element of the viewer and what belongs to it: the stream that it plays, the last picture of the
 * connection before, the meter of its frames and the input taken from it.
 *
 * A new connection brings a new stream, and a video without frames is black: until its first frame the last
 * picture of the old one stays, drawn on a canvas above.
 */

import type { InputController, OrielClient } from "@oriel/client";
import type { FrameMeter } from "./meter";

/** The slot that the page shows. */
export const SHOWN_SLOT = 0;

export class Screen {
  readonly #client: OrielClient;
  readonly #meter: FrameMeter;
  readonly #listeners = new Set<() => void>();
  #video: HTMLVideoElement | null = null;
  #still: HTMLCanvasElement | null = null;
  #input: InputController | null = null;
  #muted = true;

  constructor(client: OrielClient, meter: FrameMeter) {
    this.#client = client;
    this.#meter = meter;
    client.on("slots", () => {
      this.#showStream();
    });
    meter.onFrame(() => {
      this.#hideStill();
    });
    client.on("media-closing", () => {
      this.#keepPicture();
      // A video whose tracks have ended presents a black frame, which is none of the session.
      this.#meter.detach();
    });
  }

  /** Takes the element that shows the picture; null when it is going. */
  readonly setVideo = (video: HTMLVideoElement | null): void => {
    this.#meter.detach();
    this.#input?.detach();
    this.#video = video;
    this.#input = video === null ? null : this.#client.attachInput(video, { slot: SHOWN_SLOT });
    if (video !== null) {
      video.muted = this.#muted;
      this.#showStream();
    }
    for (const listener of [...this.#listeners]) listener();
  };

  /** Takes the canvas for the last picture. */
  readonly setStill = (canvas: HTMLCanvasElement | null): void => {
    this.#still = canvas;
    this.#hideStill();
  };

  /** Keyboard, pointer and clipboard of the shown slot; null while there is no element. */
  get input(): InputController | null {
    return this.#input;
  }

  /** Calls back when {@link input} has changed. */
  onInputChange(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => {
      this.#listeners.delete(listener);
    };
  }

  setMuted(muted: boolean): void {
    this.#muted = muted;
    if (this.#video !== null) this.#video.muted = muted;
  }

  #showStream(): void {
    const video = this.#video;
    const stream = this.#client.slots.get(SHOWN_SLOT)?.stream ?? null;
    if (video === null || stream === null || video.srcObject === stream) return;
    this.#keepPicture();
    video.srcObject = stream;
    this.#meter.attach(video);
    void play(video);
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

  #hideStill(): void {
    if (this.#still !== null) this.#still.hidden = true;
  }
}

async function play(video: HTMLVideoElement): Promise<void> {
  try {
    await video.play();
  } catch {
    // Sound without a click is not allowed everywhere; the picture always is.
    video.muted = true;
    await video.play().catch(() => undefined);
  }
}
