import type { EndReason } from "@oriel/client";
import { useState } from "react";
import { t } from "../i18n/words";
import { explained, messageOf } from "../ui/problem";
import { TokenField } from "../ui/TokenField";
import type { OverlayProps } from "./StateOverlay";

type EndedProps = Pick<OverlayProps, "streamerId" | "listUrl" | "hasToken" | "onRetry" | "onRestart" | "onLog"> & {
  readonly reason: EndReason;
};

/** Why it is over, and what can be done about it. */
export function EndedOverlay({ streamerId, listUrl, hasToken, reason, onRetry, onRestart, onLog }: EndedProps) {
  const [refused, setRefused] = useState<string | null>(null);
  const [log, setLog] = useState<readonly string[] | null>(null);
  const refuse = (error: unknown): void => {
    setRefused(messageOf(error));
  };
  const { title, text } = describeEnd(streamerId, reason, hasToken);
  return (
    <div className="overlay solid" role="alert" data-testid="ended" data-reason={reason.kind}>
      <h2>{title}</h2>
      {text !== null && <p className="reason">{text}</p>}
      {refused !== null && (
        <p className="field-error" role="alert">
          {refused}
        </p>
      )}
      {wantsToken(reason) && <TokenField label={t("token")} refused />}
      <div className="overlay-actions">
        {listUrl !== null && !wantsToken(reason) && (
          <a className="button primary" href={listUrl}>
            {t("all-sessions")}
          </a>
        )}
        {canRetry(reason) && !wantsToken(reason) && (
          <button className="button" type="button" onClick={onRetry}>
            {t("try-again")}
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
              {t("session-restart")}
            </button>
            <button
              className="button"
              type="button"
              data-testid="show-log"
              onClick={() => {
                onLog().then(setLog, refuse);
              }}
            >
              {t("log-show")}
            </button>
          </>
        )}
      </div>
      {log !== null && (
        <pre className="log" role="group" data-testid="log" tabIndex={0} aria-label={t("log-of-session")}>
          {log.length === 0 ? t("log-empty") : log.join("\n")}
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
      return { title: t("disconnected"), text: null };
    case "not-found":
      return { title: t("no-such-session"), text: t("session-gone", { name: streamerId }) };
    case "stopped":
      return { title: t("session-ended"), text: reason.message ?? null };
    case "failed":
      return { title: t("session-has-failed"), text: reason.message ?? null };
    case "refused":
      return wantsToken(reason) && !hasToken
        ? { title: t("who-is-there"), text: t("session-for-whom") }
        : { title: t("not-allowed"), text: explained(reason.code, reason.message) };
  }
}
