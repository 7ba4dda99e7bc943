/** The form for a new room as plain data, and what a list of rooms says of one. Pure. */

import type { Problem, Room, RoomRequest } from "@oriel/client";

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
  if (name === "") return { kind: "invalid", field: "name", text: "A room needs a name." };
  const most = form.most.trim();
  if (most === "") return { kind: "request", request: { name } };
  if (!/^[1-9]\d{0,5}$/.test(most)) return { kind: "invalid", field: "most", text: "A whole number, from 1 on." };
  return { kind: "request", request: { name, max_participants: Number(most) } };
}

/** The field that a problem is about; null when it is about the whole. */
export function fieldOf(problem: Problem): Field | null {
  const path = problem.field?.split(".").pop();
  if (path === "name") return "name";
  return path === "max_participants" ? "most" : null;
}

/** 3 of 8 in it. */
export function occupancy({ participants, max_participants: most }: Pick<Room, "participants" | "max_participants">): string {
  return participants === 0 ? `nobody in it, up to ${most} can be` : `${participants} of ${most} in it`;
}
