/** States of streamers, as lists show them. */

import type { StreamerState } from "@oriel/client";
import type { Tone } from "./Pill";

export const TONES: Record<StreamerState, Tone> = {
  starting: "busy",
  running: "good",
  restarting: "busy",
  failed: "bad",
  stopped: "quiet",
  stopping: "quiet",
  lost: "bad",
};
