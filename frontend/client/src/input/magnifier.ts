/** Enlarges the picture of one slot for this viewer alone: nothing of it goes to the session. Owns what is seen of it. */

import type { Size } from "./geometry";
import { bounded, nativeScale, placementOf, WHOLE, type Zoom, zoomed } from "./zoom";

/** For what else the page draws over the picture. */
const PROPERTY = "--picture-transform";

export class Magnifier {
  readonly #surface: HTMLElement;
  readonly #video: HTMLVideoElement;
  readonly #picture: () => Size;
  #zoom: Zoom = WHOLE;

  /** @param picture the size of the picture in pixels. */
  constructor(surface: HTMLElement, video: HTMLVideoElement, picture: () => Size) {
    this.#surface = surface;
    this.#video = video;
    this.#picture = picture;
    video.style.transformOrigin = "0 0";
  }

  get scale(): number {
    return this.#zoom.scale;
  }

  /** Enlarges by `factor` around a point on the page, which has moved by `dx` and `dy`. Returns whether anything has changed. */
  pinch(at: { readonly x: number; readonly y: number }, factor: number, dx: number, dy: number): boolean {
    const { left, top } = this.#surface.getBoundingClientRect();
    const to = { x: at.x - left, y: at.y - top };
    const from = { x: to.x - dx, y: to.y - dy };
    const next = zoomed(this.#zoom, { factor, from, to }, this.#box(), this.#picture());
    const changed = next.scale !== this.#zoom.scale || next.x !== this.#zoom.x || next.y !== this.#zoom.y;
    this.#zoom = next;
    if (changed) this.layout();
    return changed;
  }

  /** Shows the picture so much larger than it fits, or smaller; its middle stays. */
  setScale(scale: number): void {
    this.#zoom = { ...this.#zoom, scale: bounded(scale) };
    this.layout();
  }

  /** The scale at which a pixel of the picture is one of the screen. */
  nativeScale(devicePixelRatio: number): number {
    return nativeScale(this.#box(), this.#picture(), devicePixelRatio);
  }

  lookAt(x: number, y: number): void {
    this.#zoom = { ...this.#zoom, x, y };
    this.layout();
  }

  /** Shows the whole picture again. */
  reset(): void {
    this.#zoom = WHOLE;
    this.layout();
  }

  /** Places the picture, whose box or size may have changed. */
  layout(): void {
    const { style } = this.#video;
    if (this.#zoom.scale === 1) {
      style.transform = "";
      this.#surface.style.removeProperty(PROPERTY);
      return;
    }
    const { left, top, scale } = placementOf(this.#zoom, this.#box(), this.#picture());
    style.transform = `translate(${left}px, ${top}px) scale(${scale})`;
    this.#surface.style.setProperty(PROPERTY, style.transform);
  }

  #box(): Size {
    return { width: this.#surface.clientWidth, height: this.#surface.clientHeight };
  }
}
