/**
 * Which slot is in the main view, and in what order the others stand beside it: a pure state machine.
 *
 * The main view stays where it is when something new is shared. When its content goes away, it falls back to
 * the previous one, otherwise to the first of the others, and says why.
 */

import { t } from "../i18n/words";

export type Arrangement = {
  /** Null while nothing is shared. */
  readonly main: number | null;
  /** Slots that show something, as the viewer has arranged them. */
  readonly order: readonly number[];
  /** Earlier main views, the newest first. */
  readonly earlier: readonly number[];
  /** The main view goes where the keyboard of the session is. */
  readonly followFocus: boolean;
  /** What is told for a moment, such as why the main view has changed by itself; null when there is nothing to tell. */
  readonly notice: string | null;
};

export type ArrangementEvent =
  /** For the first time it is known which slots show something. */
  | { readonly type: "known"; readonly slots: readonly number[] }
  | { readonly type: "activated"; readonly slot: number }
  /** `label`: of its content; `reason`: the reason, unless it was requested. */
  | {
      readonly type: "deactivated";
      readonly slot: number;
      readonly label: string;
      readonly reason: string | null;
    }
  /** The viewer wants to see it large. */
  | { readonly type: "picked"; readonly slot: number }
  /** The viewer has dragged it to the place of another. */
  | { readonly type: "moved"; readonly slot: number; readonly to: number }
  /** The window in a slot got the focus of the session. */
  | { readonly type: "focused"; readonly slot: number }
  /** `focused`: the slot whose window has the focus now. */
  | { readonly type: "follow"; readonly on: boolean; readonly focused: number | null }
  | { readonly type: "told"; readonly notice: string }
  | { readonly type: "notice-read" };

/** Before anything is known: slot 0, where most sessions show their main source. */
export const PRESUMED: Arrangement = {
  main: 0,
  order: [0],
  earlier: [],
  followFocus: false,
  notice: null,
};

/** The arrangement after an event. Events that do not apply change nothing. */
export function arrange(state: Arrangement, event: ArrangementEvent): Arrangement {
  switch (event.type) {
    case "known": {
      const order = [...event.slots].sort((a, b) => a - b);
      const main = state.main !== null && order.includes(state.main) ? state.main : (order[0] ?? null);
      return { ...state, order, main, earlier: [] };
    }
    case "activated":
      return state.order.includes(event.slot)
        ? state
        : { ...state, order: [...state.order, event.slot], main: state.main ?? event.slot };
    case "deactivated":
      return deactivated(state, event.slot, event.label, event.reason);
    case "picked":
      return { ...view(state, event.slot), notice: null };
    case "moved":
      return moved(state, event.slot, event.to);
    case "focused":
      return state.followFocus ? view(state, event.slot) : state;
    case "follow": {
      const followed = { ...state, followFocus: event.on };
      return event.on && event.focused !== null ? view(followed, event.focused) : followed;
    }
    case "told":
      return { ...state, notice: event.notice };
    case "notice-read":
      return state.notice === null ? state : { ...state, notice: null };
  }
}

function view(state: Arrangement, slot: number): Arrangement {
  const { main } = state;
  if (slot === main || !state.order.includes(slot)) return state;
  const earlier = main === null ? state.earlier : [main, ...state.earlier];
  return {
    ...state,
    main: slot,
    earlier: earlier.filter((one, i) => one !== slot && earlier.indexOf(one) === i),
  };
}

function deactivated(state: Arrangement, slot: number, label: string, reason: string | null): Arrangement {
  if (!state.order.includes(slot)) return state;
  const order = state.order.filter((one) => one !== slot);
  const earlier = state.earlier.filter((one) => one !== slot);
  if (state.main !== slot) return { ...state, order, earlier };
  const notice = reason === null ? t("no-longer-shared", { label }) : t("is-gone", { label, reason });
  return { ...state, order, earlier: earlier.slice(1), main: earlier[0] ?? order[0] ?? null, notice };
}

function moved(state: Arrangement, slot: number, to: number): Arrangement {
  const [from, target] = [state.order.indexOf(slot), state.order.indexOf(to)];
  if (from < 0 || target < 0 || from === target) return state;
  const order = state.order.filter((one) => one !== slot);
  order.splice(target, 0, slot);
  return { ...state, order };
}

/** The slot that a key moves a thumbnail to: the next one on that side that is a thumbnail; null at the end. */
export function neighbour(state: Arrangement, slot: number, step: 1 | -1): number | null {
  const thumbnails = state.order.filter((one) => one !== state.main);
  return thumbnails[thumbnails.indexOf(slot) + step] ?? null;
}
