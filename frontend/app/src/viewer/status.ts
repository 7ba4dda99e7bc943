/** The session's state as a word for the toolbar. Pure. */

import type { ClientState } from "@oriel/client";
import type { Tone } from "../ui/Pill";

export type Status = { readonly tone: Tone; readonly text: string };

export type StatusOf = {
  readonly state: ClientState;
  /** Media flows. */
  readonly live: boolean;
  /** The streamer has been silent for some seconds. */
  readonly interrupted: boolean;
  /** The main view has shown a frame. */
  readonly hasPicture: boolean;
  readonly nothingShared: boolean;
};

export function statusOf({ state, live, interrupted, hasPicture, nothingShared }: StatusOf): Status {
  switch (state.kind) {
    case "idle":
      return { tone: "quiet", text: "idle" };
    case "connecting":
      return { tone: "busy", text: "connecting" };
    case "connected":
      if (interrupted) return { tone: "busy", text: "interrupted" };
      if (nothingShared) return { tone: "quiet", text: "nothing shared" };
      return hasPicture ? { tone: "good", text: "live" } : { tone: "busy", text: "waiting" };
    case "reconnecting":
      return { tone: "busy", text: live ? "live, reconnecting" : "reconnecting" };
    case "ended":
      return { tone: state.reason.kind === "left" ? "quiet" : "bad", text: "ended" };
  }
}
