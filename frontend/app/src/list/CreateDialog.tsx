import { type Api, type Node, ProblemError } from "@oriel/client";
import { type SubmitEvent, useState } from "react";
import { Dialog } from "../ui/Dialog";
import { messageOf } from "../ui/problem";
import { TextField } from "../ui/TextField";
import { type Field, fieldOf, type Form, hasField, type Kind, KINDS, NEW_FORM, requestOf } from "./form";
import { NodeField } from "./NodeField";
import { takers } from "./placing";
import { type PlainKey, t } from "../i18n/words";

const NAMES: Readonly<Record<Kind, PlainKey>> = {
  desktop: "desktop",
  rtsp: "kind-camera",
  ffmpeg: "kind-file",
  test: "kind-test",
};

/** What the field for a URL is about. */
const URL_FIELD: Readonly<Partial<Record<Kind, { readonly label: PlainKey; readonly hint: () => string }>>> = {
  rtsp: { label: "address", hint: () => "rtsp://user:password@host:554/path" },
  ffmpeg: { label: "kind-file", hint: () => t("file-hint") },
};

const SIZES = ["1280 × 720", "1600 × 900", "1920 × 1080", "1024 × 768"];

type Failure = { readonly field: Field | null; readonly text: string };

type CreateDialogProps = {
  readonly api: Api;
  /** Of the cluster; none where there is no cluster. */
  readonly nodes: readonly Node[];
  readonly onClose: () => void;
};

/** Makes a new session; what the server refuses is shown at the field that it refuses. */
export function CreateDialog({ api, nodes, onClose }: CreateDialogProps) {
  const [form, setForm] = useState<Form>(NEW_FORM);
  const [busy, setBusy] = useState(false);
  const [failure, setFailure] = useState<Failure | null>(null);
  const change = (part: Partial<Form>): void => {
    setForm({ ...form, ...part });
    setFailure(null);
  };

  const submit = async (event: SubmitEvent<HTMLFormElement>): Promise<void> => {
    event.preventDefault();
    setBusy(true);
    try {
      await api.create(requestOf(form));
      onClose();
    } catch (error) {
      setBusy(false);
      const field = error instanceof ProblemError ? fieldOf(error.problem, form.type) : null;
      setFailure({ field, text: messageOf(error) });
    }
  };
  const errorOf = (field: Field): string | null => (failure?.field === field ? failure.text : null);
  const url = URL_FIELD[form.type];

  return (
    <Dialog title={t("new-session")} testId="create-dialog" onClose={onClose}>
      <form onSubmit={(event) => void submit(event)} noValidate>
        <fieldset className="choice">
          <legend>{t("what-to-show")}</legend>
          {KINDS.map((type) => (
            <label key={type}>
              <input
                type="radio"
                name="type"
                value={type}
                checked={form.type === type}
                onChange={() => {
                  change({ type });
                }}
              />
              <span>{t(NAMES[type])}</span>
            </label>
          ))}
        </fieldset>
        <TextField
          label={t("name")}
          hint={t("name-hint")}
          value={form.id}
          error={errorOf("id")}
          testId="field-id"
          onChange={(id) => {
            change({ id });
          }}
        />
        {url !== undefined && (
          <TextField
            label={t(url.label)}
            hint={url.hint()}
            value={form.url}
            error={errorOf("url")}
            testId="field-url"
            onChange={(text) => {
              change({ url: text });
            }}
          />
        )}
        {hasField(form.type, "width") && <PictureFields form={form} errorOf={errorOf} change={change} />}
        {hasField(form.type, "command") && (
          <TextField
            label={t("command")}
            hint={t("command-hint")}
            value={form.command}
            error={errorOf("command")}
            testId="field-command"
            onChange={(command) => {
              change({ command });
            }}
          />
        )}
        {(nodes.length > 1 || form.node !== "") && (
          <NodeField
            label={t("node")}
            anywhere={t("wherever-room")}
            nodes={takers(nodes)}
            value={form.node}
            error={errorOf("node")}
            onChange={(node) => {
              change({ node });
            }}
          />
        )}
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

type PictureFieldsProps = {
  readonly form: Form;
  readonly errorOf: (field: Field) => string | null;
  readonly change: (part: Partial<Form>) => void;
};

/** Size and frame rate. */
function PictureFields({ form, errorOf, change }: PictureFieldsProps) {
  return (
    <>
      <div className="row">
        <TextField
          label={t("width")}
          numeric
          value={form.width}
          error={errorOf("width")}
          testId="field-width"
          onChange={(width) => {
            change({ width });
          }}
        />
        <TextField
          label={t("height")}
          numeric
          value={form.height}
          error={errorOf("height")}
          testId="field-height"
          onChange={(height) => {
            change({ height });
          }}
        />
        <TextField
          label={t("frames-per-second")}
          numeric
          value={form.fps}
          error={errorOf("fps")}
          testId="field-fps"
          onChange={(fps) => {
            change({ fps });
          }}
        />
      </div>
      <div className="presets" role="group" aria-label={t("usual-sizes")}>
        {SIZES.map((size) => (
          <button
            key={size}
            type="button"
            className="chip"
            onClick={() => {
              const [width = "", height = ""] = size.split(" × ");
              change({ width, height });
            }}
          >
            {size}
          </button>
        ))}
      </div>
    </>
  );
}
