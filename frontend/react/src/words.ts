/** The components' words: English unless a page gives others. */

import type { ClientState, SlotState } from "@oriel/client";
import { createContext } from "react";

export type Words = {
  readonly connecting: string;
  readonly firstPicture: string;
  readonly nothingShown: string;
  readonly connectionLost: string;
  readonly sourceOffline: string;
  readonly cannotBeShown: string;
  readonly noSuchStream: string;
  readonly cannotDecode: string;
  readonly sourceFailed: string;
  /** A slot's state in a word. */
  readonly states: Readonly<Record<SlotState, string>>;
  readonly soundOn: string;
  readonly soundOff: string;
  readonly clickForSound: string;
  readonly clickToMute: string;
  readonly backToGrid: string;
  /** What can be done with a tile, by its label. */
  readonly tileHint: (label: string) => string;
  readonly disconnected: string;
  readonly noSuchSession: string;
  readonly sessionEnded: string;
  /** With the reason, where there is one. */
  readonly sessionFailed: (reason: string | undefined) => string;
  readonly connectAgain: string;
  readonly askForControl: string;
  readonly askedForControl: string;
  readonly copyFromSession: string;
};

export const ENGLISH: Words = {
  connecting: "Connecting…",
  firstPicture: "Waiting for the first picture…",
  nothingShown: "Nothing is shown here",
  connectionLost: "Connection lost, trying again…",
  sourceOffline: "The source is offline",
  cannotBeShown: "It cannot be shown",
  noSuchStream: "There is no stream of this name",
  cannotDecode: "This browser cannot decode it",
  sourceFailed: "The source failed",
  states: {
    pending: "waiting",
    active: "live",
    buffering: "buffering",
    offline: "offline",
    error: "error",
    inactive: "not shared",
    paused: "paused",
  },
  soundOn: "Sound on",
  soundOff: "Sound off",
  clickForSound: "Click for sound",
  clickToMute: "Click to mute",
  backToGrid: "Back to the grid",
  tileHint: (label) => `${label} – click to enlarge, drag to rearrange`,
  disconnected: "Disconnected",
  noSuchSession: "There is no such session",
  sessionEnded: "The session has ended",
  sessionFailed: (reason) => (reason === undefined ? "The session failed" : `The session failed: ${reason}`),
  connectAgain: "Connect again",
  askForControl: "Ask for control",
  askedForControl: "Asked for control",
  copyFromSession: "Copy from the session",
};

/** Provides the words of all components below it. */
export const WordsContext = createContext(ENGLISH);

/** What stands over a desktop's picture; null while the picture says all. Pure. */
export function describe(state: ClientState, hasPicture: boolean, nothingShown: boolean, words: Words): string | null {
  switch (state.kind) {
    case "idle":
    case "connecting":
      return words.connecting;
    case "connected":
      if (nothingShown) return words.nothingShown;
      return hasPicture ? null : words.firstPicture;
    case "reconnecting":
      return state.mediaFlows ? null : words.connectionLost;
    case "ended":
      switch (state.reason.kind) {
        case "left":
          return words.disconnected;
        case "not-found":
          return words.noSuchSession;
        case "stopped":
          return words.sessionEnded;
        case "failed":
          return words.sessionFailed(state.reason.message);
        case "refused":
          return state.reason.message;
      }
  }
}
