import { type Api, copyToClipboard, type Role, type Token } from "@oriel/client";
import { type SubmitEvent, useId, useState } from "react";
import { t } from "../i18n/words";
import { Dialog } from "../ui/Dialog";
import { focusNew } from "../ui/focus";
import { dateAndTime } from "../ui/format";
import { messageOf } from "../ui/problem";
import { TextField } from "../ui/TextField";
import { QrCode } from "./QrCode";

const ROLES = { viewer: "invite-viewer", controller: "invite-controller" } as const;
const LIFETIMES = { 3600: "invite-hour", 86_400: "invite-day", 604_800: "invite-week" } as const;
/** The server takes no longer name. */
const NAME_CHARS = 64;

type InviteProps = { readonly api: Api; readonly streamerId: string; readonly root: URL; readonly onClose: () => void };

/** Makes a link to this session: for whom, for how long; to be copied, or read by a camera. */
export function InviteDialog({ api, streamerId, root, onClose }: InviteProps) {
  const [role, setRole] = useState<Role>("viewer");
  const [lifetime, setLifetime] = useState("86400");
  const [name, setName] = useState("");
  const [made, setMade] = useState<Token | null>(null);
  const [failure, setFailure] = useState<string | null>(null);
  const lifetimeId = useId();
  const make = async (event: SubmitEvent<HTMLFormElement>): Promise<void> => {
    event.preventDefault();
    setFailure(null);
    try {
      const named = name.trim() === "" ? {} : { display_name: name.trim() };
      setMade(await api.createToken(streamerId, { role, expires_in_s: Number(lifetime), ...named }));
    } catch (error) {
      setFailure(messageOf(error));
    }
  };
  return (
    <Dialog title={t("invite-to", { name: streamerId })} testId="invite-dialog" onClose={onClose}>
      {made === null ? (
        <form onSubmit={(event) => void make(event)} noValidate>
          <fieldset className="choice">
            <legend>{t("invite-may")}</legend>
            {(["viewer", "controller"] as const).map((one) => (
              <label key={one}>
                <input
                  type="radio"
                  name="role"
                  value={one}
                  checked={role === one}
                  onChange={() => {
                    setRole(one);
                  }}
                />
                <span>{t(ROLES[one])}</span>
              </label>
            ))}
          </fieldset>
          <div className="field">
            <label htmlFor={lifetimeId}>{t("invite-for")}</label>
            <select
              id={lifetimeId}
              value={lifetime}
              data-testid="invite-lifetime"
              onChange={(event) => {
                setLifetime(event.target.value);
              }}
            >
              {Object.entries(LIFETIMES).map(([seconds, key]) => (
                <option key={seconds} value={seconds}>
                  {t(key)}
                </option>
              ))}
            </select>
          </div>
          <TextField label={t("invite-name")} hint={t("invite-name-hint")} value={name} error={null} maxLength={NAME_CHARS} testId="invite-name" onChange={setName} />
          {failure !== null && (
            <p className="field-error" role="alert">
              {failure}
            </p>
          )}
          <div className="dialog-actions">
            <button className="button" type="button" onClick={onClose}>
              {t("cancel")}
            </button>
            <button className="button primary" type="submit" data-testid="invite-make">
              {t("invite-make")}
            </button>
          </div>
        </form>
      ) : (
        <Made api={api} streamerId={streamerId} token={made} link={linkTo(root, streamerId, made.token)} onClose={onClose} />
      )}
    </Dialog>
  );
}

/** The link to a session with a token, which browsers do not send with it. */
function linkTo(root: URL, streamerId: string, token: string): string {
  return new URL(`s/${encodeURIComponent(streamerId)}#token=${encodeURIComponent(token)}`, root).href;
}

type MadeProps = Omit<InviteProps, "root"> & { readonly token: Token; readonly link: string };

/** What was made, until it is closed: the token cannot be asked for again. */
function Made({ api, streamerId, token, link, onClose }: MadeProps) {
  const [copied, setCopied] = useState(false);
  const [failure, setFailure] = useState<string | null>(null);
  return (
    <>
      <QrCode text={link} label={t("invite-qr")} />
      <div className="row">
        <input ref={focusNew} aria-label={t("invite-link")} readOnly value={link} data-testid="invite-link" onFocus={(event) => { event.target.select(); }} />
        <button className="button primary" type="button" data-testid="invite-copy" onClick={() => void copyToClipboard(link).then(setCopied)}>
          {copied ? t("copied") : t("copy")}
        </button>
      </div>
      <p className="hint" role="status">
        {t("invite-until", { time: dateAndTime(new Date(token.expires)) })}
      </p>
      {failure !== null && (
        <p className="field-error" role="alert">
          {failure}
        </p>
      )}
      <div className="dialog-actions">
        <button
          className="button danger"
          type="button"
          data-testid="invite-revoke"
          onClick={() => {
            api.revokeToken(streamerId, token.token_id).then(onClose, (error: unknown) => {
              setFailure(messageOf(error));
            });
          }}
        >
          {t("invite-revoke")}
        </button>
        <button className="button" type="button" onClick={onClose}>
          {t("close")}
        </button>
      </div>
    </>
  );
}
