/** The session's state as a word for the toolbar. Pure. */

import type { ClientState, NetworkPath } from "@oriel/client";
import { bitrate } from "../ui/format";
import type { Tone } from "../ui/Pill";
import { t } from "../i18n/words";

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
      return { tone: "quiet", text: t("status-idle") };
    case "connecting":
      return { tone: "busy", text: t("status-connecting") };
    case "connected":
      if (interrupted) return { tone: "busy", text: t("status-interrupted") };
      if (nothingShared) return { tone: "quiet", text: t("status-nothing-shared") };
      if (!hasPicture) return { tone: "busy", text: t("status-waiting") };
      return path.reduced ? reduced(path) : { tone: "good", text: t("status-live") };
    case "reconnecting":
      return { tone: "busy", text: live ? t("status-live-reconnecting") : t("status-reconnecting") };
    case "ended":
      return { tone: state.reason.kind === "left" ? "quiet" : "bad", text: t("status-ended") };
  }
}

function reduced({ allowsBps }: NetworkPath): Status {
  if (allowsBps === null) return { tone: "busy", text: t("status-little"), why: t("status-little-why") };
  const allowed = bitrate(allowsBps);
  return { tone: "busy", text: t("status-reduced", { allowed }), why: t("status-reduced-why", { allowed }) };
}
