/** Whether this browser shows where the others point. It is kept. */

import { keep, kept } from "../ui/kept";

const KEY = "oriel.pointers";
const HIDDEN = "hidden";

let hidden = kept(KEY) === HIDDEN;
const listeners = new Set<() => void>();

export function arePointersHidden(): boolean {
  return hidden;
}

export function hidePointers(wanted: boolean): void {
  hidden = wanted;
  keep(KEY, wanted ? HIDDEN : null);
  for (const listener of listeners) listener();
}

/** For `useSyncExternalStore`. */
export function onPointersHidden(listener: () => void): () => void {
  listeners.add(listener);
  return () => {
    listeners.delete(listener);
  };
}
