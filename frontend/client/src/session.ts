/**
 * Decides when to connect, to wait, to retry and to give up: a pure state machine. It takes events and the
 * time, and returns its next state and the actions.
 *
 * ```text
 * idle ─start─▶ connecting ─media─▶ connected
 *                   │                  │ socket or media lost
 *                   ▼                  ▼
 *               waiting ─timer─▶ retrying ─media, or resumed─▶ connected
 *                   ▲───failed───────┘
 * any ─refused, stop─▶ ended ─start─▶ connecting
 * ```
 *
 * Two things can be lost, and they are lost apart: the WebSocket (signalling) and the media path. While media
 * still flows a lost WebSocket is resumed without affecting it; a lost media path is replaced as a whole.
 */

import type { StreamerState } from "./generated";

/** What the first connection waits for. */
export type ConnectStep =
  /** The WebSocket and the server's welcome. */
  | "server"
  /** The streamer, which may still be starting, and its offer. */
  | "streamer"
  /** ICE and DTLS. */
  | "transport";

/** Why it is over. */
export type EndReason =
  /** {@link OrielClient.disconnect} was called, or its signal aborted. */
  | { readonly kind: "left" }
  /** There is no such streamer. */
  | { readonly kind: "not-found" }
  /** The streamer was told to end. */
  | { readonly kind: "stopped"; readonly message?: string }
  /** The streamer failed and is not started again by itself. */
  | { readonly kind: "failed"; readonly message?: string }
  /** This client may not watch it, or was removed; `code` is the server's, `unauthorized` where it wants a token. */
  | { readonly kind: "refused"; readonly message: string; readonly code: string | null };

export type Session =
  | { readonly kind: "idle" }
  | { readonly kind: "connecting"; readonly step: ConnectStep }
  | { readonly kind: "connected"; readonly since: number; readonly attempts: number }
  | { readonly kind: "waiting"; readonly attempt: number; readonly retryAt: number; readonly media: boolean }
  | { readonly kind: "retrying"; readonly attempt: number; readonly media: boolean }
  | { readonly kind: "ended"; readonly reason: EndReason };

export type SessionEvent =
  | { readonly type: "start" }
  | { readonly type: "step"; readonly step: ConnectStep }
  /** The media path is up, or an earlier one was resumed. */
  | { readonly type: "connected" }
  /**
   * The WebSocket is gone, or could not be opened; `media` says whether the media path is still good, `another` that there is another node
   * of the server's cluster, which has not been tried yet.
   */
  | { readonly type: "socket-lost"; readonly media: boolean; readonly another: boolean }
  /** The media path is gone. */
  | { readonly type: "media-lost" }
  /** The time that was waited for has come. */
  | { readonly type: "timer" }
  /** Something makes success likely (the network is back, the page is looked at): do not wait longer. */
  | { readonly type: "wake" }
  | { readonly type: "end"; readonly reason: EndReason };

export type Command =
  /** Open a WebSocket; `resume` with the token of the last welcome, keeping the peer connection. */
  | { readonly type: "open"; readonly resume: boolean }
  /** Close the WebSocket, and the peer connection unless `keepMedia`. */
  | { readonly type: "close"; readonly keepMedia: boolean }
  /** Wait for this long, then send `timer`. */
  | { readonly type: "wait"; readonly ms: number };

export type Step = { readonly state: Session; readonly commands: readonly Command[] };

/** The first retry comes quickly: most losses are a restarted server or a changed network. */
const FIRST_DELAY_MS = 250;
const LONGEST_DELAY_MS = 8_000;
/** A connection that lasted this long counts as stable, and its loss as a first failure again. */
const STABLE_MS = 5_000;

export const IDLE: Session = { kind: "idle" };

/**
 * How long to wait before an attempt, counted from 1.
 * @param random from 0 to 1; a quarter up or down, so that many clients do not come back at once.
 */
export function retryDelay(attempt: number, random: number): number {
  const base = Math.min(FIRST_DELAY_MS * 2 ** (attempt - 1), LONGEST_DELAY_MS);
  return Math.round(base * (0.75 + random / 2));
}

/** The next state and the actions after an event. Events that do not apply to a state change nothing. */
export function advance(state: Session, event: SessionEvent, now: number, random: number): Step {
  switch (event.type) {
    case "start":
      return state.kind === "idle" || state.kind === "ended"
        ? next({ kind: "connecting", step: "server" }, { type: "open", resume: false })
        : next(state);
    case "step":
      return next(stepped(state, event.step));
    case "connected":
      return next(connected(state, now));
    case "socket-lost":
      return lost(state, event.media, event.another, now, random);
    case "media-lost":
      return lost(state, false, false, now, random);
    case "timer":
    case "wake":
      return state.kind === "waiting"
        ? next(
            { kind: "retrying", attempt: state.attempt, media: state.media },
            { type: "open", resume: state.media },
          )
        : next(state);
    case "end":
      return state.kind === "idle" || state.kind === "ended"
        ? next(state)
        : next({ kind: "ended", reason: event.reason }, { type: "close", keepMedia: false });
  }
}

function next(state: Session, ...commands: Command[]): Step {
  return { state, commands };
}

function stepped(state: Session, step: ConnectStep): Session {
  switch (state.kind) {
    case "connecting":
      return { kind: "connecting", step };
    case "retrying":
      // An offer instead of a resumption: the earlier media path has been replaced.
      return step === "transport" ? { ...state, media: false } : state;
    default:
      return state;
  }
}

function connected(state: Session, now: number): Session {
  switch (state.kind) {
    case "connecting":
      return { kind: "connected", since: now, attempts: 0 };
    case "retrying":
      return { kind: "connected", since: now, attempts: state.attempt };
    default:
      return state;
  }
}

function lost(state: Session, media: boolean, another: boolean, now: number, random: number): Step {
  switch (state.kind) {
    case "idle":
    case "ended":
      return next(state);
    case "waiting":
      // Already waiting to resume; when the media path goes as well, there is nothing left to resume.
      return media === state.media
        ? next(state)
        : next({ ...state, media: false }, { type: "close", keepMedia: false });
    case "connecting":
    case "connected":
    case "retrying": {
      // An attempt has failed when each node has been tried, and none of them is waited for.
      const goesOn = another && state.kind === "retrying";
      const attempt = failures(state, now) + (goesOn ? 0 : 1);
      const ms = goesOn ? 0 : retryDelay(attempt, random);
      return next(
        { kind: "waiting", attempt, retryAt: now + ms, media },
        { type: "close", keepMedia: media },
        { type: "wait", ms },
      );
    }
  }
}

/** Failed attempts in a row before this one. */
function failures(state: Session, now: number): number {
  switch (state.kind) {
    case "connected":
      return now - state.since >= STABLE_MS ? 0 : state.attempts;
    case "retrying":
      return state.attempt;
    default:
      return 0;
  }
}

/** The consequence of a streamer's state for its viewers. */
export function endOfStreamer(state: StreamerState, reason: string | undefined): EndReason | undefined {
  const detail = reason === undefined ? {} : { message: reason };
  switch (state) {
    case "failed":
      return { kind: "failed", ...detail };
    case "stopped":
    case "stopping":
      return { kind: "stopped", ...detail };
    case "starting":
    case "running":
    case "restarting":
      return undefined;
    case "lost":
      // Its node may come back, or another one start it.
      return undefined;
  }
}
