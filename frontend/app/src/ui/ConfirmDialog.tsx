import { useState } from "react";
import { t } from "../i18n/words";
import { Dialog } from "./Dialog";
import { messageOf } from "./problem";

type ConfirmProps = {
  readonly title: string;
  readonly text: string;
  readonly action: string;
  /** It can be undone. */
  readonly harmless?: boolean;
  readonly onConfirm: () => Promise<void>;
  /** @param done whether the action was carried out. */
  readonly onClose: (done: boolean) => void;
};

/** Asks before something that ends or changes what others use, and shows why it failed if it does. */
export function ConfirmDialog({ title, text, action, harmless = false, onConfirm, onClose }: ConfirmProps) {
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState<string | null>(null);
  const confirm = async (): Promise<void> => {
    setBusy(true);
    setError(null);
    try {
      await onConfirm();
      onClose(true);
    } catch (failure) {
      setBusy(false);
      setError(messageOf(failure));
    }
  };
  return (
    <Dialog
      title={title}
      testId="confirm-dialog"
      onClose={() => {
        onClose(false);
      }}
    >
      <p>{text}</p>
      {error !== null && (
        <p className="field-error" role="alert">
          {error}
        </p>
      )}
      <div className="dialog-actions">
        <button
          className="button"
          type="button"
          onClick={() => {
            onClose(false);
          }}
        >
          {t("cancel")}
        </button>
        <button
          className={harmless ? "button primary" : "button danger"}
          type="button"
          data-testid="confirm"
          disabled={busy}
          onClick={() => void confirm()}
        >
          {action}
        </button>
      </div>
    </Dialog>
  );
}
