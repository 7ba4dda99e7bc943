import { ProblemError } from "@oriel/client";

/** What an error says to people. */
export function messageOf(error: unknown): string {
  return error instanceof ProblemError ? error.message : "The server cannot be reached.";
}
