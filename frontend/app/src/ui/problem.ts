import { ProblemError } from "@oriel/client";

/** What an error says to people. */
export function messageOf(error: unknown): string {
  return error instanceof ProblemError ? error.message : "The server cannot be reached.";
}

/** The message; at its field, the field's path before it says nothing new, nor where in the request it is. */
export function withoutPath({ message, field }: ProblemError): string {
  const path = `${field ?? ""}: `;
  const text = message.startsWith(path) ? message.slice(path.length) : message;
  return text.replace(/ at line \d+ column \d+$/, "");
}

/** Waits for a deletion. Somebody else may have deleted it first; it is gone either way. */
export async function ifThere(deletion: Promise<void>): Promise<void> {
  try {
    await deletion;
  } catch (error) {
    if (!(error instanceof ProblemError && error.status === 404)) throw error;
  }
}
