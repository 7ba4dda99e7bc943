import { type Api, ProblemError } from "@oriel/client";
import { type SubmitEvent, useState } from "react";
import { Dialog } from "../ui/Dialog";
import { messageOf } from "../ui/problem";
import { TextField } from "../ui/TextField";
import { type Field, fieldOf, type Form, NAME_CHARS, NEW_ROOM, requestOf } from "./form";
import { t } from "../i18n/words";

type Failure = { readonly field: Field | null; readonly text: string };

/** Makes a room; what the server refuses is shown at the field that it refuses. */
export function NewRoomDialog({ api, onClose }: { readonly api: Api; readonly onClose: () => void }) {
  const [form, setForm] = useState<Form>(NEW_ROOM);
  const [busy, setBusy] = useState(false);
  const [failure, setFailure] = useState<Failure | null>(null);
  const change = (part: Partial<Form>): void => {
    setForm({ ...form, ...part });
    setFailure(null);
  };
  const submit = async (event: SubmitEvent<HTMLFormElement>): Promise<void> => {
    event.preventDefault();
    const request = requestOf(form);
    if (request.kind === "invalid") {
      setFailure(request);
      return;
    }
    setBusy(true);
    try {
      await api.createRoom(request.request);
      onClose();
    } catch (error) {
      setBusy(false);
      setFailure({ field: error instanceof ProblemError ? fieldOf(error.problem) : null, text: messageOf(error) });
    }
  };
  const errorOf = (field: Field): string | null => (failure?.field === field ? failure.text : null);
  return (
    <Dialog title={t("new-room")} testId="new-room-dialog" onClose={onClose}>
      <form onSubmit={(event) => void submit(event)} noValidate>
        <TextField
          label={t("name")}
          value={form.name}
          error={errorOf("name")}
          maxLength={NAME_CHARS}
          testId="room-name"
          onChange={(name) => {
            change({ name });
          }}
        />
        <TextField
          label={t("most-people")}
          hint={t("most-people-hint")}
          numeric
          value={form.most}
          error={errorOf("most")}
          testId="room-most"
          onChange={(most) => {
            change({ most });
          }}
        />
        {failure !== null && failure.field === null && (
          <p className="field-error" role="alert" data-testid="form-error">
            {failure.text}
          </p>
        )}
        <div className="dialog-actions">
          <button className="button" type="button" onClick={onClose}>
            {t("cancel")}
          </button>
          <button className="button primary" type="submit" data-testid="submit" disabled={busy}>
            {busy ? t("creating") : t("create")}
          </button>
        </div>
      </form>
    </Dialog>
  );
}
