/** Counts the frames that a video really presents, and knows when the first one came. */

/** The period over which the rate of presented frames is measured. */
const WINDOW_MS = 1_000;

export class FrameMeter {
  /** Frames presented since the page was opened. */
  presented = 0;
  /** `performance.now()` of the last one; null before the first. */
  lastAt: number | null = null;
  readonly #recent: number[] = [];
  readonly #listeners = new Set<() => void>();
  #handle: number | null = null;
  #video: HTMLVideoElement | null = null;
  /** The browser's own count at the last callback, which may skip frames that the callback missed. */
  #browserCount: number | null = null;

  attach(video: HTMLVideoElement): void {
    this.detach();
    this.#video = video;
    this.#next(video);
  }

  detach(): void {
    if (this.#handle !== null) this.#video?.cancelVideoFrameCallback(this.#handle);
    this.#handle = null;
    this.#video = null;
  }

  /** Calls back on each presented frame. */
  onFrame(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => {
      this.#listeners.delete(listener);
    };
  }

  /** Frames presented per second, over the last second. */
  fps(now: number): number {
    return this.#recent.filter((at) => now - at <= WINDOW_MS).length / (WINDOW_MS / 1000);
  }

  #next(video: HTMLVideoElement): void {
    this.#handle = video.requestVideoFrameCallback((now, metadata) => {
      // A new stream begins its count again.
      const before = this.#browserCount ?? 0;
      const fresh = metadata.presentedFrames > before ? metadata.presentedFrames - before : 1;
      this.#browserCount = metadata.presentedFrames;
      this.#count(now, fresh);
      this.#next(video);
    });
  }

  #count(now: number, frames: number): void {
    if (this.lastAt === null) performance.mark("oriel:first-frame");
    this.presented += frames;
    this.lastAt = now;
    for (let i = 0; i < frames; i++) this.#recent.push(now);
    while (this.#recent[0] !== undefined && now - this.#recent[0] > WINDOW_MS) this.#recent.shift();
    for (const listener of [...this.#listeners]) listener();
  }
}
