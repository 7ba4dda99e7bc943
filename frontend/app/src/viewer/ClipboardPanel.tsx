import { type ClipboardCopy, copyToClipboard, type InputController } from "@oriel/client";
import { useState } from "react";

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
      setNote(`At most 128 KB; this has ${Math.ceil(outcome.bytes / 1024)} KB.`);
    else onDone();
  };
  return (
    <section className="panel" aria-label="Clipboard" data-testid="clipboard-panel">
      <label>
        To the session
        <textarea
          rows={4}
          autoFocus
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
          className="button primary"
          type="button"
          disabled={text === ""}
          data-testid="clipboard-send"
          onClick={send}
        >
          Put on its clipboard
        </button>
      </div>
      {fromSession !== null && (
        <>
          {fromSession.text === "" && fromSession.types.includes("image/png") ? (
            <p data-testid="clipboard-picture">From the session: a picture</p>
          ) : (
            <label>
              From the session
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
                  else if (fromSession.text === "") setNote("The browser did not allow it.");
                  else setNote("The browser did not allow it: select the text and copy it.");
                });
              }}
            >
              Copy
            </button>
          </div>
        </>
      )}
    </section>
  );
}
