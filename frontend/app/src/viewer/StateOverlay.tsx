import type { ClientState, ConnectStep, SlotView } from "@oriel/client";
import { Suspense } from "react";
import { useNow } from "./hooks";
import { type PlainKey, t } from "../i18n/words";
import { onDemand } from "./onDemand";

const EndedOverlay = onDemand("panels", async () => (await import("./EndedOverlay")).EndedOverlay);

const WAITS_FOR: Record<ConnectStep, PlainKey> = {
  server: "contacting-server",
  streamer: "waiting-for-session",
  transport: "opening-media",
};

export type OverlayProps = {
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
      return <Waiting text={t(WAITS_FOR[state.step])} />;
    case "connected":
      return <Connected {...props} />;
    case "reconnecting":
      if (state.mediaFlows) return null;
      return props.restarting === null ? (
        <Reconnecting state={state} at={props.at} reached={props.reached} />
      ) : (
        <Waiting text={t("session-restarts")} detail={props.restarting} />
      );
    case "ended":
      return (
        <Suspense>
          <EndedOverlay {...props} reason={state.reason} />
        </Suspense>
      );
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
  if (interrupted) return <Waiting text={t("network-interrupted")} detail={t("network-waiting")} />;
  if (nothingShared) return sharing ? null : <NothingShared onShare={onShare} />;
  switch (slot?.status) {
    case "error":
      return <Notice text={slot.error === null ? t("cannot-be-shown") : t("cannot-be-shown-why", { reason: slot.error })} />;
    case "offline":
      return <Waiting text={t("source-offline")} detail={t("source-returns")} />;
    case "paused":
      return <Notice text={t("paused")} />;
    default:
      return hasPicture ? null : <Waiting text={t("first-picture")} />;
  }
}

function NothingShared({ onShare }: Pick<OverlayProps, "onShare">) {
  return (
    <div className="overlay" role="status" data-testid="nothing-shared">
      <h2>{t("nothing-shared")}</h2>
      <p className="quiet-text">{t("nothing-shared-detail")}</p>
      {onShare !== null && (
        <div className="overlay-actions">
          <button className="button primary" type="button" onClick={onShare} data-testid="share-offer">
            {t("share-something")}
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
  const text = reached ? t("connection-lost") : t("not-reached-yet");
  const detail =
    state.retryInMs > 1000 && left > 0
      ? t("attempt-in", { attempt: state.attempt, count: left })
      : t("attempt", { attempt: state.attempt });
  return <Waiting text={text} detail={detail} />;
}
