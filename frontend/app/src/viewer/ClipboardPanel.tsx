import { copyToClipboard, type InputController } from "@oriel/client";
import { useState } from "react";

type ClipboardProps = {
  readonly input: InputController | null;
  /** The last text that the session put on its clipboard. */
  readonly fromSession: string | null;
  readonly onDone: () => void;
};

/** The clipboards, for browsers that do not let the page reach theirs. */
export function ClipboardPanel({ input, fromSession, onDone }: ClipboardProps) {
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
          <label>
            From the session
            <textarea rows={4} readOnly value={fromSession} data-testid="clipboard-received" />
          </label>
          <div className="dialog-actions">
            <button
              className="button"
              type="button"
              onClick={() => {
                void copyToClipboard(fromSession).then((done) => {
                  if (done) onDone();
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
