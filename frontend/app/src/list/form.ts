/** The form for a new session as plain data, and what the server makes of it. Pure. */

import type { CreateRequest, Problem } from "@oriel/client";

export type Form = {
  readonly type: "desktop" | "test";
  readonly id: string;
  readonly width: string;
  readonly height: string;
  readonly fps: string;
  readonly command: string;
};

export const FIELDS = ["type", "id", "width", "height", "fps", "command"] as const;
export type Field = (typeof FIELDS)[number];

export const NEW_FORM: Form = {
  type: "desktop",
  id: "",
  width: "1280",
  height: "720",
  fps: "30",
  command: "xterm",
};

/** The body of the request. Rules are the server's; only what is left empty is left out. */
export function requestOf(form: Form): CreateRequest {
  const picture = { width: Number(form.width), height: Number(form.height), fps: Number(form.fps) };
  const source =
    form.type === "test"
      ? { type: "test" as const, ...picture }
      : {
          type: "desktop" as const,
          ...picture,
          ...(form.command.trim() === "" ? {} : { command: form.command }),
        };
  return { ...(form.id.trim() === "" ? {} : { id: form.id.trim() }), source };
}

/** The field that a problem is about; null when it is about the whole. */
export function fieldOf(problem: Problem, type: Form["type"]): Field | null {
  const name = problem.field?.split(".").pop();
  const field = FIELDS.find((candidate) => candidate === name);
  if (field === undefined) return problem.status === 409 ? "id" : null;
  return field === "command" && type === "test" ? null : field;
}
