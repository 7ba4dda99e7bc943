/** The public state of a client's session: that of the state machine without its internals. Pure. */

import type { ConnectStep, EndReason, Session } from "./session";

/** What the client is doing. */
export type ClientState =
  | { readonly kind: "idle" }
  | { readonly kind: "connecting"; readonly step: ConnectStep }
  | { readonly kind: "connected" }
  | {
      readonly kind: "reconnecting";
      /** Counted from 1. */
      readonly attempt: number;
      /** From now; 0 while an attempt is under way. */
      readonly retryInMs: number;
      /** The picture still flows; only the signalling is being restored. */
      readonly mediaFlows: boolean;
    }
  | { readonly kind: "ended"; readonly reason: EndReason };

/** @param now by the clock of the state machine. */
export function publicState(session: Session, now: number): ClientState {
  switch (session.kind) {
    case "idle":
    case "connecting":
    case "ended":
      return session;
    case "connected":
      return { kind: "connected" };
    case "waiting": {
      const retryInMs = Math.max(0, session.retryAt - now);
      return { kind: "reconnecting", attempt: session.attempt, retryInMs, mediaFlows: session.media };
    }
    case "retrying":
      return { kind: "reconnecting", attempt: session.attempt, retryInMs: 0, mediaFlows: session.media };
  }
}
