import type { ClientState, ConnectStep, EndReason, SlotView } from "@oriel/client";
import { useNow } from "./hooks";

const WAITS_FOR: Record<ConnectStep, string> = {
  server: "Contacting the server…",
  streamer: "Waiting for the session…",
  transport: "Opening the media path…",
};

type OverlayProps = {
  readonly streamerId: string;
  readonly listUrl: string;
  readonly state: ClientState;
  /** When the state began. */
  readonly at: number;
  /** What is in the main view. */
  readonly slot: SlotView | null;
  /** The server has said that no slot shows anything. */
  readonly nothingShared: boolean;
  /** What can be shared is being looked at. */
  readonly sharing: boolean;
  readonly hasPicture: boolean;
  readonly interrupted: boolean;
  /** Why the session is being started again; null while it is not. */
  readonly restarting: string | null;
  /** There has been a connection before. */
  readonly reached: boolean;
  readonly onRetry: () => void;
  /** Opens what can be shared; null when this viewer may not share. */
  readonly onShare: (() => void) | null;
};

/** Says what is going on whenever the picture is not live. It never takes the keyboard. */
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

type EndedProps = Pick<OverlayProps, "streamerId" | "listUrl" | "onRetry"> & { readonly reason: EndReason };

function Ended({ streamerId, listUrl, reason, onRetry }: EndedProps) {
  const { title, text } = describeEnd(streamerId, reason);
  return (
    <div className="overlay solid" role="alert" data-testid="ended" data-reason={reason.kind}>
      <h1>{title}</h1>
      {text !== null && <p className="reason">{text}</p>}
      <div className="overlay-actions">
        <a className="button primary" href={listUrl}>
          All sessions
        </a>
        <button className="button" type="button" onClick={onRetry}>
          Try again
        </button>
      </div>
    </div>
  );
}

function describeEnd(streamerId: string, reason: EndReason): { title: string; text: string | null } {
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
      return { title: "Not allowed", text: reason.message };
  }
}
