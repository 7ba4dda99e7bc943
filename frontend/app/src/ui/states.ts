/** States of streamers and slots, as pages show them. */

import type { SlotState, StreamerState } from "@oriel/client";
import type { PlainKey } from "../i18n/words";
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

export const STATE_WORDS: Record<StreamerState, PlainKey> = {
  starting: "session-starting",
  running: "session-running",
  restarting: "session-restarting",
  failed: "session-failed",
  lost: "session-lost",
  stopped: "session-stopped",
  stopping: "session-stopping",
};

/** What a slot does. */
export const SLOT_WORDS: Record<SlotState, PlainKey> = {
  pending: "slot-pending",
  active: "slot-active",
  buffering: "slot-buffering",
  offline: "slot-offline",
  error: "slot-error",
  inactive: "slot-inactive",
  paused: "slot-paused",
};
