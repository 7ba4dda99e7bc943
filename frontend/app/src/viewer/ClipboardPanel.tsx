import { type ClipboardCopy, copyToClipboard, type InputController } from "@oriel/client";
import { useState } from "react";
import { focusNew } from "../ui/focus";
import { t } from "../i18n/words";

type ClipboardProps = {
  readonly input: InputController | null;
  /** The content copied last in the session. */
  readonly fromSession: ClipboardCopy | null;
  /** Fetches the picture that was copied. */
  readonly fetchPicture: () => Promise<Blob>;
  readonly onDone: () => void;
};

/** The clipboards, for browsers that do not let the page reach theirs. */
export function ClipboardPanel({ input, fromSession, fetchPicture, onDone }: ClipboardProps) {
  const [text, setText] = useState("");
  const [note, setNote] = useState<string | null>(null);
  const send = (): void => {
    const outcome = input?.giveClipboard(text);
    if (outcome?.kind === "too-long")
      setNote(t("clipboard-too-long", { size: Math.ceil(outcome.bytes / 1024) }));
    else onDone();
  };
  return (
    <section className="panel" aria-label={t("clipboard")} data-testid="clipboard-panel">
      <label>
        {t("clipboard-to")}
        <textarea
          rows={4}
          ref={focusNew}
          value={text}
          data-testid="clipboard-text"
          onChange={(event) => {
            setText(event.target.value);
            setNote(null);
          }}
        />
      </label>
      {note !== null && <p className="field-error">{note}</p>}
      <div className="dialog-actions">
        <button
          className="button"
          type="button"
          disabled={text === ""}
          title={t("clipboard-type-hint")}
          data-testid="clipboard-type"
          onClick={() => {
            input?.type(text);
            onDone();
          }}
        >
          {t("clipboard-type")}
        </button>
        <button
          className="button primary"
          type="button"
          disabled={text === ""}
          data-testid="clipboard-send"
          onClick={send}
        >
          {t("clipboard-put")}
        </button>
      </div>
      {fromSession !== null && (
        <>
          {fromSession.text === "" && fromSession.types.includes("image/png") ? (
            <p data-testid="clipboard-picture">{t("clipboard-picture")}</p>
          ) : (
            <label>
              {t("clipboard-from")}
              <textarea rows={4} readOnly value={fromSession.text} data-testid="clipboard-received" />
            </label>
          )}
          <div className="dialog-actions">
            <button
              className="button"
              type="button"
              onClick={() => {
                void copyToClipboard(fromSession, fetchPicture).then((done) => {
                  if (done) onDone();
                  else if (fromSession.text === "") setNote(t("clipboard-refused"));
                  else setNote(t("clipboard-select"));
                });
              }}
            >
              {t("copy")}
            </button>
          </div>
        </>
      )}
    </section>
  );
}
