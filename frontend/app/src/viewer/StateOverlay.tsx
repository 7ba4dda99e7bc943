import type { ClientState, ConnectStep, EndReason, SlotView } from "@oriel/client";
import { useState } from "react";
import { TokenField } from "../ui/TokenField";
import { useNow } from "./hooks";

const WAITS_FOR: Record<ConnectStep, string> = {
  server: "Contacting the server…",
  streamer: "Waiting for the session…",
  transport: "Opening the media path…",
};

type OverlayProps = {
  readonly streamerId: string;
  /** Null: this viewer may not see the list. */
  readonly listUrl: string | null;
  readonly hasToken: boolean;
  readonly state: ClientState;
  /** When the state began. */
  readonly at: number;
  /** The content of the main view. */
  readonly slot: SlotView | null;
  /** The server has reported that no slot shows anything. */
  readonly nothingShared: boolean;
  /** The panel for sharing is open. */
  readonly sharing: boolean;
  readonly hasPicture: boolean;
  readonly interrupted: boolean;
  /** Why the session is being started again; null while it is not. */
  readonly restarting: string | null;
  /** There has been a connection before. */
  readonly reached: boolean;
  readonly onRetry: () => void;
  /** Starts a session that has failed again; rejects when the server refuses. */
  readonly onRestart: () => Promise<void>;
  /** Fetches the last lines of the session's log; rejects when the server refuses. */
  readonly onLog: () => Promise<readonly string[]>;
  /** Opens the panel for sharing; null when this viewer may not share. */
  readonly onShare: (() => void) | null;
};

/** Describes the state whenever the picture is not live. It never takes the focus. */
export function StateOverlay(props: OverlayProps) {
  const { state } = props;
  switch (state.kind) {
    case "idle":
      return null;
    case "connecting":
      return <Waiting text={WAITS_FOR[state.step]} />;
    case "connected":
      return <Connected {...props} />;
    case "reconnecting":
      if (state.mediaFlows) return null;
      return props.restarting === null ? (
        <Reconnecting state={state} at={props.at} reached={props.reached} />
      ) : (
        <Waiting text="The session is being started again" detail={props.restarting} />
      );
    case "ended":
      return <Ended {...props} reason={state.reason} />;
  }
}

function Waiting({ text, detail }: { readonly text: string; readonly detail?: string }) {
  return (
    <div className="overlay" role="status" data-testid="overlay">
      <span className="spinner" aria-hidden="true" />
      <p>{text}</p>
      {detail !== undefined && <p className="quiet-text">{detail}</p>}
    </div>
  );
}

function Connected({ slot, nothingShared, sharing, hasPicture, interrupted, onShare }: OverlayProps) {
  if (interrupted) return <Waiting text="The network is interrupted" detail="Waiting for it to come back…" />;
  if (nothingShared) return sharing ? null : <NothingShared onShare={onShare} />;
  switch (slot?.status) {
    case "error":
      return <Notice text={`This cannot be shown: ${slot.error ?? "unknown error"}`} />;
    case "offline":
      return <Waiting text="The source is offline" detail="The picture returns with it." />;
    case "paused":
      return <Notice text="Paused" />;
    default:
      return hasPicture ? null : <Waiting text="Waiting for the first picture…" />;
  }
}

function NothingShared({ onShare }: Pick<OverlayProps, "onShare">) {
  return (
    <div className="overlay" role="status" data-testid="nothing-shared">
      <h1>Nothing is shared yet</h1>
      <p className="quiet-text">You will see it here as soon as somebody shares something.</p>
      {onShare !== null && (
        <div className="overlay-actions">
          <button className="button primary" type="button" onClick={onShare} data-testid="share-offer">
            Share something
          </button>
        </div>
      )}
    </div>
  );
}

function Notice({ text }: { readonly text: string }) {
  return (
    <div className="overlay" role="status" data-testid="overlay">
      <p>{text}</p>
    </div>
  );
}

type ReconnectingState = Extract<ClientState, { kind: "reconnecting" }>;

type ReconnectingProps = {
  readonly state: ReconnectingState;
  readonly at: number;
  readonly reached: boolean;
};

function Reconnecting({ state, at, reached }: ReconnectingProps) {
  const now = useNow(state.retryInMs > 0, 200);
  const left = Math.max(0, Math.ceil((at + state.retryInMs - now) / 1000));
  const text = reached ? "Connection lost – reconnecting…" : "The session cannot be reached yet";
  const detail =
    state.retryInMs > 1000 && left > 0 ? `Attempt ${state.attempt} in ${left} s` : `Attempt ${state.attempt}`;
  return <Waiting text={text} detail={detail} />;
}

type EndedProps = Pick<OverlayProps, "streamerId" | "listUrl" | "hasToken" | "onRetry" | "onRestart" | "onLog"> & {
  readonly reason: EndReason;
};

function Ended({ streamerId, listUrl, hasToken, reason, onRetry, onRestart, onLog }: EndedProps) {
  const [refused, setRefused] = useState<string | null>(null);
  const [log, setLog] = useState<readonly string[] | null>(null);
  const refuse = (error: unknown): void => {
    setRefused(error instanceof Error ? error.message : "The server cannot be reached.");
  };
  const { title, text } = describeEnd(streamerId, reason, hasToken);
  return (
    <div className="overlay solid" role="alert" data-testid="ended" data-reason={reason.kind}>
      <h1>{title}</h1>
      {text !== null && <p className="reason">{text}</p>}
      {refused !== null && (
        <p className="field-error" role="alert">
          {refused}
        </p>
      )}
      {wantsToken(reason) && <TokenField label="Token" />}
      <div className="overlay-actions">
        {listUrl !== null && !wantsToken(reason) && (
          <a className="button primary" href={listUrl}>
            All sessions
          </a>
        )}
        {canRetry(reason) && !wantsToken(reason) && (
          <button className="button" type="button" onClick={onRetry}>
            Try again
          </button>
        )}
        {reason.kind === "failed" && listUrl !== null && (
          <>
            <button
              className="button"
              type="button"
              data-testid="restart"
              onClick={() => {
                onRestart().catch(refuse);
              }}
            >
              Restart the session
            </button>
            <button
              className="button"
              type="button"
              data-testid="show-log"
              onClick={() => {
                onLog().then(setLog, refuse);
              }}
            >
              Show the log
            </button>
          </>
        )}
      </div>
      {log !== null && (
        <pre className="log" data-testid="log" tabIndex={0} aria-label="Log of the session">
          {log.length === 0 ? "The log is empty." : log.join("\n")}
        </pre>
      )}
    </div>
  );
}

/** Whether joining again can help: not if the session is gone, or has failed for good. */
export function canRetry({ kind }: EndReason): boolean {
  return kind === "left" || kind === "refused";
}

/** Whether another token can help. */
function wantsToken(reason: EndReason): boolean {
  return reason.kind === "refused" && reason.code === "unauthorized";
}

function describeEnd(streamerId: string, reason: EndReason, hasToken: boolean): { title: string; text: string | null } {
  switch (reason.kind) {
    case "left":
      return { title: "Disconnected", text: null };
    case "not-found":
      return { title: "There is no such session", text: `“${streamerId}” does not exist, or no longer.` };
    case "stopped":
      return { title: "The session has ended", text: reason.message ?? null };
    case "failed":
      return { title: "The session has failed", text: reason.message ?? null };
    case "refused":
      return wantsToken(reason) && !hasToken
        ? { title: "Who is there?", text: "This session is shown to whoever has a link with a token, or the admin secret." }
        : { title: "Not allowed", text: reason.message };
  }
}
