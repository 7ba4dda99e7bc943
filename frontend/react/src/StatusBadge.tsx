import type { SlotState } from "@oriel/client";
import { useContext } from "react";
import { TONES } from "./slots";
import { WordsContext } from "./words";

/** How a slot is doing: a coloured dot and a word. */
export function StatusBadge({ status }: { readonly status: SlotState }) {
  const words = useContext(WordsContext);
  return (
    <span className={`oriel-badge oriel-${TONES[status]}`} data-testid="slot-status" data-status={status}>
      <span className="oriel-dot" aria-hidden="true" />
      {words.states[status]}
    </span>
  );
}
