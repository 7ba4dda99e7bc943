import type { ProblemError } from "@oriel/client";
import { t } from "../i18n/words";
import { sessionOf } from "../token";
import { Message } from "./Message";
import { messageOf } from "./problem";
import { TokenField } from "./TokenField";

type LockedProps = {
  readonly error: ProblemError;
  /** The credentials of this viewer. */
  readonly token: string | null;
  readonly root: URL;
  /** What the page would show: "the list of all sessions". */
  readonly what: string;
  /** The folder of the page that a guest's token opens. */
  readonly opens?: "s" | "r";
};

/** Replaces a page that the server does not show to this viewer, and explains what to do. */
export function Locked({ error, token, root, what, opens = "s" }: LockedProps) {
  if (error.status === 401 || token === null) return <Stranger error={error} token={token} what={what} />;
  const session = sessionOf(token);
  const unnamed = opens === "r" ? t("guest-of-one-room", { what }) : t("guest-of-one-session", { what });
  return (
    <Message title={t("not-for-guests")}>
      <p className="reason" role="alert" data-testid="locked">
        {session === null ? unnamed : t("guest-of-session", { name: session, what })}
      </p>
      {session !== null && (
        <a className="button primary" href={new URL(`${opens}/${encodeURIComponent(session)}`, root).href} data-testid="to-session">
          {opens === "r" ? t("to-room") : t("to-session")}
        </a>
      )}
      <details className="quiet-text">
        <summary>{t("have-admin-secret")}</summary>
        <TokenField label={t("admin-secret")} refused={false} />
      </details>
    </Message>
  );
}

function Stranger({ error, token, what }: Omit<LockedProps, "root" | "opens">) {
  return (
    <Message title={t("who-is-there")}>
      <p className="reason" role="alert" data-testid="locked">
        {token === null ? t("needs-admin-secret", { what }) : t("not-accepted", { trouble: messageOf(error) })}
      </p>
      <TokenField label={t("admin-secret")} refused />
    </Message>
  );
}
