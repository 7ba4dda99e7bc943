/** Errors of the SDK: one class with a `reason` that programs can switch on, and one for REST. */

import type { Problem } from "./generated";

/** Why an operation failed. */
export type ErrorReason =
  /** The caller aborted it. */
  | "aborted"
  /** Nothing answered in time. */
  | "timeout"
  /** The WebSocket could not be opened, or was lost. */
  | "signaling"
  /** The other side violated the protocol. */
  | "protocol"
  /** ICE or DTLS failed, or the media path was lost. */
  | "transport"
  /** There is no connection to do it on, or it was lost before an answer came. */
  | "not-connected"
  /** The server refused; the message has the reason, and {@link OrielError.code} is its code for programs. */
  | "refused";

/** An error of the client. */
export class OrielError extends Error {
  readonly reason: ErrorReason;
  /** With the reason `refused`: the server's code, such as `stream_not_found`. */
  readonly code: string | null;

  constructor(reason: ErrorReason, message: string, options: ErrorOptions & { readonly code?: string } = {}) {
    super(message, options);
    this.name = "OrielError";
    this.reason = reason;
    this.code = options.code ?? null;
  }
}

/** An answer of the REST API that is not a success: `application/problem+json` (RFC 9457). */
export class ProblemError extends Error {
  readonly problem: Problem;

  constructor(problem: Problem) {
    super(problem.detail === "" ? problem.title : problem.detail);
    this.name = "ProblemError";
    this.problem = problem;
  }

  get status(): number {
    return this.problem.status;
  }

  /** Stable, for programs. */
  get code(): string {
    return this.problem.code;
  }

  /** Path of the offending field, if there is one. */
  get field(): string | undefined {
    return this.problem.field;
  }
}
