/** How a session is doing, in words for people. Pure. */

import type { ClientState } from "@oriel/client";

/** What stands over the picture; null while the picture says all. */
export function describe(state: ClientState, hasPicture: boolean, nothingShown: boolean): string | null {
  switch (state.kind) {
    case "idle":
    case "connecting":
      return "Connecting…";
    case "connected":
      if (nothingShown) return "Nothing is shown here";
      return hasPicture ? null : "Waiting for the first picture…";
    case "reconnecting":
      return state.mediaFlows ? null : "Connection lost, trying again…";
    case "ended":
      switch (state.reason.kind) {
        case "left":
          return "Disconnected";
        case "not-found":
          return "There is no such session";
        case "stopped":
          return "The session has ended";
        case "failed":
          return state.reason.message === undefined ? "The session failed" : `The session failed: ${state.reason.message}`;
        case "refused":
          return state.reason.message;
      }
  }
}
