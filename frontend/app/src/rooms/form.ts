/** The form for a new room as plain data. Pure. */

import type { Problem, RoomRequest } from "@oriel/client";
import { t } from "../i18n/words";

export type Form = { readonly name: string; readonly most: string };
export type Field = keyof Form;

export const NEW_ROOM: Form = { name: "", most: "" };

/** The server takes no longer name. */
export const NAME_CHARS = 100;

type Checked =
  | { readonly kind: "request"; readonly request: RoomRequest }
  | { readonly kind: "invalid"; readonly field: Field; readonly text: string };

/** The body of the request, or what is missing. Limits are the server's. */
export function requestOf(form: Form): Checked {
  const name = form.name.trim();
  if (name === "") return { kind: "invalid", field: "name", text: t("room-needs-name") };
  const most = form.most.trim();
  if (most === "") return { kind: "request", request: { name } };
  if (!/^[1-9]\d{0,5}$/.test(most)) return { kind: "invalid", field: "most", text: t("whole-number") };
  return { kind: "request", request: { name, max_participants: Number(most) } };
}

/** The field that a problem is about; null when it is about the whole. */
export function fieldOf(problem: Problem): Field | null {
  const path = problem.field?.split(".").pop();
  if (path === "name") return "name";
  return path === "max_participants" ? "most" : null;
}
