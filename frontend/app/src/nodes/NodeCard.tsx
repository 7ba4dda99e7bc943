import type { Api, Node } from "@oriel/client";
import { useId, useState } from "react";
import { t } from "../i18n/words";
import { listOfNode } from "../list/address";
import { ConfirmDialog } from "../ui/ConfirmDialog";
import { Pill } from "../ui/Pill";
import { bytes } from "../ui/format";
import { fullness, isBusy, labelsOf, STATES } from "./describe";

const MIB = 1_048_576;

type NodeCardProps = {
  readonly api: Api;
  readonly root: URL;
  readonly node: Node;
  readonly onChanged: () => Promise<void>;
};

/** One node: how it is, what it has, and a way to have it take no more. */
export function NodeCard({ api, root, node, onChanged }: NodeCardProps) {
  const [asking, setAsking] = useState(false);
  const sessions = useId();
  const { name, state, advertise, version, streamers, max_streamers: most, load } = node;
  const { tone, text, meaning: ofState } = STATES[state];
  const meaning = state === "alive" && isBusy(node) ? "node-busy-text" : ofState;
  const draining = state === "draining";
  const labels = labelsOf(node);
  return (
    <li className="node" data-testid={`node-${name}`} data-state={state}>
      <header>
        <h2>{name}</h2>
        <Pill tone={tone} text={t(text)} testId="node-state" />
        {node.this && (
          <span className="quiet-text" data-testid="this-node">
            {t("node-answers")}
          </span>
        )}
        {state !== "lost" && (
          <button
            className="button"
            type="button"
            aria-label={draining ? t("undrain-named", { name }) : t("drain-named", { name })}
            data-testid={draining ? "undrain" : "drain"}
            onClick={() => {
              setAsking(true);
            }}
          >
            {draining ? t("undrain") : t("drain")}
          </button>
        )}
      </header>
      {meaning !== null && (
        <p className="quiet-text" data-testid="node-meaning">
          {t(meaning)}
        </p>
      )}
      <div className="node-load">
        <div
          className="node-bar"
          role="meter"
          aria-valuemin={0}
          aria-valuemax={most}
          aria-valuenow={Math.min(streamers, most)}
          aria-labelledby={sessions}
        >
          <span style={{ width: `${fullness(node) * 100}%` }} />
        </div>
        <a id={sessions} href={listOfNode(root, name).href} data-testid="node-sessions">
          {t("node-sessions", { count: most, has: streamers })}
        </a>
      </div>
      <p className="card-facts">
        {advertise !== undefined && <span>{advertise}</span>}
        {load !== undefined && state !== "lost" && (
          <span data-testid="node-load">
            {t("node-cpu", { percent: load.cpu_percent })}, {t("node-memory", { size: bytes(load.memory_mb * MIB) })}
          </span>
        )}
        {version !== undefined && <span>{t("version", { version })}</span>}
        {labels.map((label) => (
          <code key={label}>{label}</code>
        ))}
      </p>
      {asking && (
        <ConfirmDialog
          title={draining ? t("undrain-question", { name }) : t("drain-question", { name })}
          text={draining ? t("undrain-text") : t("drain-text")}
          action={draining ? t("undrain") : t("drain")}
          harmless
          onConfirm={async () => {
            await (draining ? api.undrainNode(name) : api.drainNode(name));
          }}
          onClose={(done) => {
            setAsking(false);
            if (done) void onChanged();
          }}
        />
      )}
    </li>
  );
}
