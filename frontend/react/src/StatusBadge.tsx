import type { SlotState } from "@oriel/client";
import { TONES } from "./slots";

/** How a slot is doing: a coloured dot and a word. */
export function StatusBadge({ status }: { readonly status: SlotState }) {
  return (
    <span className={`oriel-badge oriel-${TONES[status]}`} data-testid="slot-status" data-status={status}>
      <span className="oriel-dot" aria-hidden="true" />
      {status}
    </span>
  );
}
