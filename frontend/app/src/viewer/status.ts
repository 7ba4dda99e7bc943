/** The session's state as a word for the toolbar. Pure. */

import type { ClientState, NetworkPath } from "@oriel/client";
import { bitrate } from "../ui/format";
import type { Tone } from "../ui/Pill";

export type Status = {
  readonly tone: Tone;
  readonly text: string;
  /** What the text means, where that is not plain. */
  readonly why?: string;
};

export type StatusOf = {
  readonly state: ClientState;
  /** Media flows. */
  readonly live: boolean;
  /** The streamer has been silent for some seconds. */
  readonly interrupted: boolean;
  /** The main view has shown a frame. */
  readonly hasPicture: boolean;
  readonly nothingShared: boolean;
  readonly path: NetworkPath;
};

export function statusOf({ state, live, interrupted, hasPicture, nothingShared, path }: StatusOf): Status {
  switch (state.kind) {
    case "idle":
      return { tone: "quiet", text: "idle" };
    case "connecting":
      return { tone: "busy", text: "connecting" };
    case "connected":
      if (interrupted) return { tone: "busy", text: "interrupted" };
      if (nothingShared) return { tone: "quiet", text: "nothing shared" };
      if (!hasPicture) return { tone: "busy", text: "waiting" };
      return path.reduced ? reduced(path) : { tone: "good", text: "live" };
    case "reconnecting":
      return { tone: "busy", text: live ? "live, reconnecting" : "reconnecting" };
    case "ended":
      return { tone: state.reason.kind === "left" ? "quiet" : "bad", text: "ended" };
  }
}

function reduced({ allowsBps }: NetworkPath): Status {
  const allowed = allowsBps === null ? "little" : bitrate(allowsBps);
  return {
    tone: "busy",
    text: `live, ${allowed}`,
    why: `Your connection allows ${allowed}, so pictures have less detail.`,
  };
}
