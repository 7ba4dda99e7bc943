import { chatKeyOf, type OrielClient } from "@oriel/client";
import { type KeyboardEvent, type SubmitEvent, useEffect, useRef, useState } from "react";
import { Icon } from "./Icon";
import { useClientValue } from "../viewer/hooks";
import { focusNew } from "../ui/focus";
import { timeOfDay } from "../ui/format";
import { t } from "../i18n/words";

/** The server takes no longer message. */
const TEXT_CHARS = 2000;

/** What was written, and a field to write. */
export function ChatPanel({ client }: { readonly client: OrielClient }) {
  const chat = useClientValue(client, "chat", (current) => current.chat);
  const rights = useClientValue(client, "rights", (current) => current.rights);
  const [text, setText] = useState("");
  const [failed, setFailed] = useState(false);
  const end = useRef<HTMLDivElement>(null);
  useEffect(() => {
    end.current?.scrollIntoView({ block: "end" });
  }, [chat]);

  const send = (): void => {
    const said = text.trim();
    if (said === "") return;
    const sent = client.say(said);
    setFailed(!sent);
    if (sent) setText("");
  };
  const submit = (event: SubmitEvent<HTMLFormElement>): void => {
    event.preventDefault();
    send();
  };
  const keyDown = (event: KeyboardEvent): void => {
    if (event.key !== "Enter" || event.shiftKey || event.nativeEvent.isComposing) return;
    event.preventDefault();
    send();
  };
  return (
    <>
      <div className="chat" role="log" aria-live="polite" aria-label={t("messages")} tabIndex={0} data-testid="chat-log">
        {chat.length === 0 && <p className="quiet-text">{t("nothing-written")}</p>}
        {chat.map(({ id, peerId, name, text: said, at }) => (
          <article key={chatKeyOf({ id, at })} className={peerId === client.peerId ? "message-own" : undefined} data-testid="chat-message">
            <header>
              <b>{name ?? t("guest", { mark: peerId.slice(-4) })}</b> <time dateTime={at}>{timeOfDay(new Date(at))}</time>
            </header>
            <p>{said}</p>
          </article>
        ))}
        <div ref={end} />
      </div>
      {rights.includes("chat") ? (
        <form className="chat-form" onSubmit={submit}>
          <textarea
            rows={2}
            ref={focusNew}
            value={text}
            maxLength={TEXT_CHARS}
            aria-label={t("message")}
            placeholder={t("write-to-everybody")}
            data-testid="chat-text"
            onKeyDown={keyDown}
            onChange={(event) => {
              setText(event.target.value);
            }}
          />
          <button className="button primary" type="submit" aria-label={t("send")} data-testid="chat-send" disabled={text.trim() === ""}>
            <Icon name="send" />
          </button>
          {failed && (
            <p className="field-error" role="alert">
              {t("not-sent")}
            </p>
          )}
        </form>
      ) : (
        <p className="quiet-text panel-note">{t("link-does-not-write")}</p>
      )}
    </>
  );
}
