/** The form for a new session as plain data, and what the server makes of it. Pure. */

import type { CreateRequest, Problem, SourceRequest } from "@oriel/client";

/** Sources that can be made with a form. */
export const KINDS = ["desktop", "rtsp", "ffmpeg", "test"] as const;
export type Kind = (typeof KINDS)[number];

export type Form = {
  readonly type: Kind;
  readonly id: string;
  readonly width: string;
  readonly height: string;
  readonly fps: string;
  readonly command: string;
  /** Of a camera, or whatever ffmpeg can read. */
  readonly url: string;
  /** Of a cluster; empty: wherever there is room. */
  readonly node: string;
};

export const FIELDS = ["type", "id", "width", "height", "fps", "command", "url", "node"] as const;
export type Field = (typeof FIELDS)[number];

export const NEW_FORM: Form = {
  type: "desktop",
  id: "",
  width: "1280",
  height: "720",
  fps: "30",
  command: "xterm",
  url: "",
  node: "",
};

/** Fields that a kind has, beside its name. */
const FIELDS_OF: Readonly<Record<Kind, readonly Field[]>> = {
  desktop: ["width", "height", "fps", "command"],
  test: ["width", "height", "fps"],
  rtsp: ["url"],
  ffmpeg: ["url"],
};

export function hasField(type: Kind, field: Field): boolean {
  return FIELDS_OF[type].includes(field);
}

/** The body of the request. Rules are the server's; only what is left empty is left out. */
export function requestOf(form: Form): CreateRequest {
  return {
    ...(form.id.trim() === "" ? {} : { id: form.id.trim() }),
    source: sourceOf(form),
    ...(form.node === "" ? {} : { placement: { node: form.node } }),
  };
}

function sourceOf(form: Form): SourceRequest {
  const picture = { width: Number(form.width), height: Number(form.height), fps: Number(form.fps) };
  const url = form.url.trim();
  switch (form.type) {
    case "test":
      return { type: "test", ...picture };
    case "rtsp":
      return { type: "rtsp", url };
    case "ffmpeg":
      return { type: "ffmpeg", input: url };
    case "desktop":
      return {
        type: "desktop",
        ...picture,
        ...(form.command.trim() === "" ? {} : { command: form.command }),
      };
  }
}

/** The field that a problem is about; null when it is about the whole. */
export function fieldOf(problem: Problem, type: Kind): Field | null {
  const path = problem.field?.split(".").pop();
  const name = path === "input" ? "url" : path;
  const field = FIELDS.find((candidate) => candidate === name);
  if (field === undefined) return problem.status === 409 ? "id" : null;
  return field === "id" || field === "type" || field === "node" || hasField(type, field) ? field : null;
}
