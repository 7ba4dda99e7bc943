import { type OrielClient, pictureSize } from "@oriel/client";
import { useEffect, useSyncExternalStore } from "react";
import { t } from "../i18n/words";
import { nameOf } from "../ui/person";
import { amongst, colourOf, type Pointed, type Pointers as Known, SHOWN_MS, type Spot, spotOf, stillShown, withPointings } from "./pointed";
import { arePointersHidden, onPointersHidden } from "./pointersWanted";

type PointersProps = {
  readonly client: OrielClient;
  /** In which the tiles are. */
  readonly page: HTMLElement | null;
};

/** Where the others point, drawn over the pictures of the tiles. */
export function Pointers({ client, page }: PointersProps) {
  const hidden = useSyncExternalStore(onPointersHidden, arePointersHidden);
  useEffect(() => {
    if (hidden || page === null) return undefined;
    const stop = new AbortController();
    draw(client, page, stop.signal);
    return () => {
      stop.abort();
    };
  }, [client, page, hidden]);
  return null;
}

/** A pointer in a tile, before and after it is drawn. */
type Arrow = { readonly pointed: Pointed; readonly surface: HTMLElement; readonly spot: Spot };

/**
 * Draws until `signal` is aborted. While nobody points nothing runs; else everything is placed with each frame, since zooming and
 * resizing move the picture without an event.
 */
function draw(client: OrielClient, page: HTMLElement, signal: AbortSignal): void {
  const elements = new Map<string, HTMLElement>();
  let known: Known = new Map();
  let frame: number | null = null;

  const render = (): void => {
    frame = null;
    const now = performance.now();
    known = stillShown(known, now);
    // All is measured before anything is changed.
    const arrows = arrowsOf(client, page, [...known.values()]);
    for (const [key, element] of elements) {
      if (arrows.has(key)) continue;
      element.remove();
      elements.delete(key);
    }
    for (const [key, { pointed, surface, spot }] of arrows) {
      const element = elements.get(key) ?? arrowElement(pointed);
      place(element, spot, now >= pointed.since + SHOWN_MS, nameAt(client, pointed));
      if (element.parentElement !== surface) surface.append(element);
      elements.set(key, element);
    }
    if (known.size > 0) schedule();
  };
  const schedule = (): void => {
    if (!signal.aborted) frame ??= requestAnimationFrame(render);
  };

  client.on(
    "pointers",
    ({ pointers }) => {
      known = withPointings(known, pointers, performance.now());
      schedule();
    },
    { signal },
  );
  client.on(
    "participants",
    (people) => {
      known = amongst(known, people);
    },
    { signal },
  );
  signal.addEventListener("abort", () => {
    if (frame !== null) cancelAnimationFrame(frame);
    for (const element of elements.values()) element.remove();
  });
}

/** Each pointer in each tile that shows what it points at. */
function arrowsOf(client: OrielClient, page: HTMLElement, pointers: readonly Pointed[]): Map<string, Arrow> {
  const arrows = new Map<string, Arrow>();
  if (pointers.length === 0) return arrows;
  for (const tile of page.querySelectorAll<HTMLElement>(".tile[data-slot]")) {
    const slot = Number(tile.dataset.slot);
    const view = client.slots.get(slot);
    const here = pointers.filter(({ source }) => source === (view?.seen?.stream ?? view?.info?.source));
    const surface = tile.querySelector<HTMLElement>(".surface");
    const video = surface?.querySelector("video");
    if (view === undefined || here.length === 0 || !surface || !video) continue;
    const outer = surface.getBoundingClientRect();
    const picture = pictureSize(view, video);
    const rect = video.getBoundingClientRect();
    const box = { left: rect.left - outer.left, top: rect.top - outer.top, width: rect.width, height: rect.height };
    for (const pointed of here) {
      const spot = spotOf(pointed, picture, box, outer);
      if (spot !== null) arrows.set(`${String(slot)} ${pointed.peerId ?? ""}`, { pointed, surface, spot });
    }
  }
  return arrows;
}

function nameAt(client: OrielClient, { peerId }: Pointed): string {
  if (peerId === null) return t("pointer-program");
  return nameOf(client.participants.find((one) => one.peerId === peerId) ?? { peerId });
}

function arrowElement({ peerId }: Pointed): HTMLElement {
  const element = document.createElement("div");
  element.className = "pointer-of";
  element.setAttribute("aria-hidden", "true");
  element.dataset.testid = "pointer-of";
  element.dataset.peer = peerId ?? "";
  element.style.setProperty("--colour", colourOf(peerId));
  for (const part of ["arrow", "name"]) {
    const child = document.createElement("span");
    child.className = `pointer-${part}`;
    element.append(child);
  }
  return element;
}

function place(element: HTMLElement, { x, y, left, above }: Spot, fading: boolean, name: string): void {
  const transform = `translate(${String(x)}px, ${String(y)}px)`;
  if (element.style.transform !== transform) element.style.transform = transform;
  element.classList.toggle("to-left", left);
  element.classList.toggle("above", above);
  element.classList.toggle("fading", fading);
  const label = element.lastElementChild;
  if (label !== null && label.textContent !== name) label.textContent = name;
}
