/**
 * The mouse cursor over a slot: the session's shape as a CSS cursor, so that one's own pointer moves without
 * latency, and a sprite where somebody else has moved it.
 */

import type { CursorMode, CursorShape, Position } from "../generated";
import { fromPicture, type Rect, type Size } from "./geometry";

/** Browsers ignore larger CSS cursors. */
const LARGEST_PX = 128;
/** Below this an arrow is hard to see, however small the picture is shown. */
const SMALLEST_SCALE = 0.5;

export type CursorMetrics = {
  /** CSS pixels. */
  readonly width: number;
  readonly height: number;
  readonly hotX: number;
  readonly hotY: number;
};

/** Size and hot spot of a scaled shape, within the limits of browsers. */
export function cursorMetrics(shape: Omit<CursorShape, "png">, scale: number): CursorMetrics {
  const largest = LARGEST_PX / Math.max(shape.width, shape.height, 1);
  const used = Math.min(Math.max(scale, SMALLEST_SCALE), largest);
  const width = Math.max(1, Math.round(shape.width * used));
  const height = Math.max(1, Math.round(shape.height * used));
  return {
    width,
    height,
    hotX: Math.min(Math.round(shape.hotX * used), width - 1),
    hotY: Math.min(Math.round(shape.hotY * used), height - 1),
  };
}

/** The data URL of a shape, or null when the shape is invalid. */
export function shapeUrl(shape: CursorShape): string | null {
  return /^[A-Za-z0-9+/]+={0,2}$/.test(shape.png) ? `data:image/png;base64,${shape.png}` : null;
}

export class CursorView {
  readonly #surface: HTMLElement;
  readonly #sprite: HTMLImageElement;
  #mode: CursorMode = "client";
  /** Undefined until the streamer has sent one. */
  #shape: CursorShape | null | undefined;
  #rect: Rect = { left: 0, top: 0, width: 0, height: 0 };
  #picture: Size = { width: 0, height: 0 };
  #metrics: CursorMetrics | null = null;
  #remote: Position | null = null;
  /** Counts renderings; an image that is ready after a newer one began is left out. */
  #generation = 0;

  constructor(surface: HTMLElement) {
    this.#surface = surface;
    this.#sprite = document.createElement("img");
    this.#sprite.alt = "";
    this.#sprite.dataset.testid = "remote-cursor";
    this.#sprite.hidden = true;
    Object.assign(this.#sprite.style, { position: "absolute", left: "0", top: "0", pointerEvents: "none" });
    surface.append(this.#sprite);
  }

  /** @param rect of the picture, relative to the surface. */
  layout(rect: Rect, picture: Size, mode: CursorMode): void {
    const scaleChanged = rect.width !== this.#rect.width || picture.width !== this.#picture.width;
    const changed = scaleChanged || mode !== this.#mode;
    this.#rect = rect;
    this.#picture = picture;
    this.#mode = mode;
    if (changed) void this.#render();
    this.#placeSprite();
  }

  setShape(shape: CursorShape | null): void {
    this.#shape = shape;
    void this.#render();
  }

  /** Somebody else has moved the pointer. */
  showRemote(at: Position): void {
    this.#remote = at;
    this.#placeSprite();
  }

  /** One's own pointer has moved: there is no other. */
  hideRemote(): void {
    if (this.#remote === null) return;
    this.#remote = null;
    this.#placeSprite();
  }

  destroy(): void {
    this.#generation += 1;
    this.#surface.style.cursor = "";
    this.#sprite.remove();
  }

  async #render(): Promise<void> {
    const generation = ++this.#generation;
    // An embedded cursor is in the picture already.
    if (this.#mode === "embedded" || this.#shape === null) {
      this.#metrics = null;
      this.#surface.style.cursor = "none";
      this.#placeSprite();
      return;
    }
    const url = this.#shape === undefined ? null : shapeUrl(this.#shape);
    if (this.#shape === undefined || url === null) {
      this.#surface.style.cursor = "default";
      return;
    }
    const scale = this.#picture.width > 0 ? this.#rect.width / this.#picture.width : 1;
    const metrics = cursorMetrics(this.#shape, scale);
    const image = await drawn(url, metrics, window.devicePixelRatio);
    if (generation !== this.#generation) return;
    const { hotX, hotY, width, height } = metrics;
    this.#metrics = metrics;
    this.#surface.style.cursor =
      image === null
        ? "default"
        : `image-set(url("${image.url}") ${image.density}dppx) ${hotX} ${hotY}, default`;
    if (image !== null) this.#sprite.src = image.url;
    Object.assign(this.#sprite.style, { width: `${width}px`, height: `${height}px` });
    this.#placeSprite();
  }

  #placeSprite(): void {
    const visible = this.#remote !== null && this.#metrics !== null && this.#mode === "client";
    this.#sprite.hidden = !visible;
    if (this.#remote === null || this.#metrics === null) return;
    const { x, y } = fromPicture(this.#remote, this.#rect, this.#picture);
    const left = Math.round(x - this.#metrics.hotX);
    const top = Math.round(y - this.#metrics.hotY);
    this.#sprite.style.transform = `translate(${left}px, ${top}px)`;
  }
}

type Drawn = { readonly url: string; readonly density: number };

/** The picture of a cursor in the size at which it is shown; null when it cannot be decoded. */
async function drawn(url: string, metrics: CursorMetrics, density: number): Promise<Drawn | null> {
  const image = new Image();
  image.src = url;
  try {
    await image.decode();
  } catch {
    return null;
  }
  if (density === 1 && image.naturalWidth === metrics.width && image.naturalHeight === metrics.height) {
    return { url, density };
  }
  const canvas = document.createElement("canvas");
  canvas.width = Math.max(1, Math.round(metrics.width * density));
  canvas.height = Math.max(1, Math.round(metrics.height * density));
  const context = canvas.getContext("2d");
  if (context === null) return null;
  context.imageSmoothingQuality = "high";
  context.drawImage(image, 0, 0, canvas.width, canvas.height);
  return { url: canvas.toDataURL("image/png"), density };
}
