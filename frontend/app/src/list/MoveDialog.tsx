import type { Api, Node, Streamer } from "@oriel/client";
import { type SubmitEvent, useState } from "react";
import { t } from "../i18n/words";
import { Dialog } from "../ui/Dialog";
import { messageOf } from "../ui/problem";
import { NodeField } from "./NodeField";
import { takers } from "./placing";

type MoveDialogProps = {
  readonly api: Api;
  readonly streamer: Streamer;
  readonly nodes: readonly Node[];
  /** @param done whether it moves. */
  readonly onClose: (done: boolean) => void;
};

/** Asks where a session is to go, and says what it loses. */
export function MoveDialog({ api, streamer, nodes, onClose }: MoveDialogProps) {
  const [node, setNode] = useState("");
  const [busy, setBusy] = useState(false);
  const [failure, setFailure] = useState<string | null>(null);
  const { id, state, node: from = "" } = streamer;
  const watchers = streamer.peers.length;

  const submit = async (event: SubmitEvent<HTMLFormElement>): Promise<void> => {
    event.preventDefault();
    setBusy(true);
    setFailure(null);
    try {
      await api.move(id, node === "" ? {} : { node });
      onClose(true);
    } catch (error) {
      setBusy(false);
      setFailure(messageOf(error));
    }
  };
  return (
    <Dialog
      title={t("move-question", { name: id })}
      testId="move-dialog"
      onClose={() => {
        onClose(false);
      }}
    >
      <form onSubmit={(event) => void submit(event)}>
        <div className="move-words">
          <p>{state === "lost" ? t("move-lost", { node: from }) : t("move-text", { node: from })}</p>
          {watchers > 0 && <p>{t("move-watched", { count: watchers })}</p>}
        </div>
        <NodeField
          label={t("node")}
          anywhere={t("most-room")}
          nodes={takers(nodes, from)}
          value={node}
          error={null}
          onChange={(name) => {
            setNode(name);
            setFailure(null);
          }}
        />
        {failure !== null && (
          <p className="field-error" role="alert" data-testid="move-error">
            {failure}
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
          <button className="button danger" type="submit" data-testid="confirm-move" disabled={busy}>
            {busy ? t("moving") : t("move")}
          </button>
        </div>
      </form>
    </Dialog>
  );
}
