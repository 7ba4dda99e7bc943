import { ProblemError } from "@oriel/client";

/** Whether the server refuses this viewer, rather than this request. */
export function isRefused(error: unknown): error is ProblemError {
  return error instanceof ProblemError && (error.status === 401 || error.status === 403);
}
