import "../ui/form.css";
import type { Node } from "@oriel/client";
import { useId } from "react";
import { t } from "../i18n/words";

type NodeFieldProps = {
  readonly label: string;
  /** The choice of no node in particular. */
  readonly anywhere: string;
  readonly nodes: readonly Node[];
  /** Name of the node that is chosen; empty: none in particular. */
  readonly value: string;
  readonly error: string | null;
  readonly onChange: (name: string) => void;
};

/** The choice of a node of the cluster, each with how many sessions it has. */
export function NodeField({ label, anywhere, nodes, value, error, onChange }: NodeFieldProps) {
  const id = useId();
  // One that has been lost since stays chosen until another one is: the server refuses it.
  const isGone = value !== "" && !nodes.some(({ name }) => name === value);
  return (
    <div className={error === null ? "field" : "field invalid"}>
      <label htmlFor={id}>{label}</label>
      <select
        id={id}
        value={value}
        data-testid="field-node"
        aria-invalid={error !== null}
        aria-describedby={error === null ? undefined : `${id}-note`}
        onChange={({ target }) => {
          onChange(target.value);
        }}
      >
        <option value="">{anywhere}</option>
        {nodes.map(({ name, streamers, max_streamers: most }) => (
          <option key={name} value={name}>
            {t("node-with-load", { name, has: streamers, most })}
          </option>
        ))}
        {isGone && <option value={value}>{value}</option>}
      </select>
      {error !== null && (
        <p id={`${id}-note`} className="field-error" role="alert">
          {error}
        </p>
      )}
    </div>
  );
}
