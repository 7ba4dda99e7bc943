import type { ProblemError } from "@oriel/client";
import { sessionOf } from "../token";
import { Message } from "./Message";
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

/** Whether the server refuses this viewer, so that {@link Locked} is shown. */
export function isLocked({ status }: ProblemError): boolean {
  return status === 401 || status === 403;
}

/** Replaces a page that the server does not show to this viewer, and explains what to do. */
export function Locked({ error, token, root, what, opens = "s" }: LockedProps) {
  if (error.status === 401 || token === null) return <Stranger error={error} token={token} what={what} />;
  const session = sessionOf(token);
  const noun = opens === "r" ? "room" : "session";
  return (
    <Message title="This is not for guests">
      <p className="reason" role="alert" data-testid="locked">
        The link that you were given opens {session === null ? `one ${noun}` : <q>{session}</q>}. Only administrators see {what}.
      </p>
      {session !== null && (
        <a className="button primary" href={new URL(`${opens}/${encodeURIComponent(session)}`, root).href} data-testid="to-session">
          To the {noun}
        </a>
      )}
      <details className="quiet-text">
        <summary>I have the admin secret</summary>
        <TokenField label="Admin secret" />
      </details>
    </Message>
  );
}

function Stranger({ error, token, what }: Omit<LockedProps, "root" | "opens">) {
  return (
    <Message title="Who is there?">
      <p className="reason" role="alert" data-testid="locked">
        {token === null ? `Whoever has the admin secret of this server sees ${what}.` : `This was not accepted: ${error.message}.`}
      </p>
      <TokenField label="Admin secret" />
    </Message>
  );
}
