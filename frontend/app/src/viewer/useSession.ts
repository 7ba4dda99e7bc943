/** The page's session: the client's state, the slots' content, and this peer's rights. */

import type {
  ClientState,
  InputController,
  NetworkPath,
  OrielClient,
  PeerRight,
  Role,
  SlotView,
  StreamInfo,
} from "@oriel/client";
import { nameOf } from "../ui/person";
import type { Arrangement } from "./arrangement";
import { useClientState, useClientValue, useLatest, useRestart, useViews } from "./hooks";
import type { Views } from "./views";

export type SessionView = {
  readonly state: ClientState;
  /** When this state began. */
  readonly at: number;
  /** Media flows. */
  readonly live: boolean;
  /** The streamer has been silent for some seconds. */
  readonly interrupted: boolean;
  /** Why the session is being started again; null while it is not. */
  readonly restarting: string | null;
  readonly arrangement: Arrangement;
  /** The slot in the main view; null while nothing is shared. */
  readonly slot: SlotView | null;
  readonly info: StreamInfo | null;
  readonly nothingShared: boolean;
  /** More than one slot shows something. */
  readonly several: boolean;
  /** Some slot shows a window. */
  readonly hasWindows: boolean;
  readonly hasSound: boolean;
  /** The main view has shown a frame. */
  readonly hasPicture: boolean;
  readonly input: InputController | null;
  readonly role: Role | null;
  /** The session has programs that could hear a microphone. */
  readonly hasMicrophone: boolean;
  /** The same for a camera. */
  readonly hasCamera: boolean;
  /** What this peer may do among the others. */
  readonly rights: readonly PeerRight[];
  /** This peer may steer now. */
  readonly inControl: boolean;
  /** What the network allows. */
  readonly path: NetworkPath;
  /** What those who watch are called, this viewer included. */
  readonly watchers: readonly string[];
};

export function useSession(client: OrielClient, views: Views): SessionView {
  const { state, at } = useClientState(client);
  const { arrangement, input, hasPicture } = useViews(views);
  const slots = useClientValue(client, "slots", (current) => current.slots);
  const role = useClientValue(client, "role", (current) => current.role);
  const rights = useClientValue(client, "rights", (current) => current.rights);
  const inControl = useClientValue(client, "control", (current) => current.inControl);
  const participants = useClientValue(client, "participants", (current) => current.participants);
  const path = useClientValue(client, "path", (current) => current.path);
  const interrupted = useLatest(client, "interrupted", false);
  const restarting = useRestart(client);
  const slot = arrangement.main === null ? null : (slots.get(arrangement.main) ?? null);
  const info = slot?.info ?? null;
  return {
    state,
    at,
    live: state.kind === "connected" || (state.kind === "reconnecting" && state.mediaFlows),
    interrupted,
    restarting,
    arrangement,
    slot,
    info,
    nothingShared: arrangement.main === null,
    several: arrangement.order.length > 1,
    hasWindows: [...slots.values()].some((view) => view.info !== null && view.info.windowName !== null),
    hasSound: info !== null && info.audioMid !== null,
    hasMicrophone: [...slots.values()].some((view) => view.info?.microphone === true),
    hasCamera: [...slots.values()].some((view) => view.info?.camera === true),
    hasPicture,
    input,
    role,
    rights,
    inControl,
    path,
    watchers: participants.map(nameOf),
  };
}
