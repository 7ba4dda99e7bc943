/**
 * Switches that wait for their answer: told apart by request ids, settled by the `slot-status` or the `error`
 * that carries the id back, and given up when the connection is lost.
 */

import { OrielError } from "../errors";
import type { ServerMessage, SlotState } from "../generated";

/** An answer comes at once; the first picture of a source that has to start may take some seconds. */
const TIMEOUT_MS = 20_000;

type Settle = (result: SlotState | OrielError) => void;

export class SwitchRequests {
  readonly #waiting = new Map<string, Settle>();
  #count = 0;

  /**
   * Makes a request.
   * @param send sends it with its id; false when there is no connection.
   * @returns how the slot is doing once that is settled.
   * @throws {OrielError} `refused`, `not-connected`, `timeout` or `aborted`.
   */
  ask(send: (requestId: string) => boolean, signal?: AbortSignal): Promise<SlotState> {
    return new Promise((resolve, reject) => {
      const id = `s${(this.#count += 1)}`;
      const settle: Settle = (result) => {
        clearTimeout(timer);
        signal?.removeEventListener("abort", abort);
        this.#waiting.delete(id);
        if (typeof result === "string") resolve(result);
        else reject(result);
      };
      const timer = setTimeout(() => {
        settle(new OrielError("timeout", "the slot did not settle in time"));
      }, TIMEOUT_MS);
      const abort = (): void => {
        settle(new OrielError("aborted", "the switch was aborted"));
      };
      signal?.addEventListener("abort", abort, { once: true });
      this.#waiting.set(id, settle);
      if (signal?.aborted === true) abort();
      else if (!send(id)) settle(new OrielError("not-connected", "there is no connection to switch on"));
    });
  }

  /** Takes a message that may be an answer. */
  receive(message: ServerMessage): void {
    if (message.type === "error") {
      const { code, message: text, requestId } = message;
      this.#settle(requestId, new OrielError("refused", text, { code }));
    } else if (
      message.type === "slot-status" &&
      message.status !== "pending" &&
      message.status !== "buffering"
    ) {
      this.#settle(message.requestId, outcome(message));
    }
  }

  /** A refusal came that does not say of what: answers come in order, so it is of the oldest. */
  refuseOldest(message: string): void {
    const [oldest] = this.#waiting.values();
    oldest?.(new OrielError("refused", message));
  }

  /** The connection is gone, and no answer will come. */
  abandon(): void {
    for (const settle of [...this.#waiting.values()]) {
      settle(new OrielError("not-connected", "the connection was lost before the answer came"));
    }
  }

  #settle(id: string | undefined, result: SlotState | OrielError): void {
    if (id !== undefined) this.#waiting.get(id)?.(result);
  }
}

function outcome(message: ServerMessage & { type: "slot-status" }): SlotState | OrielError {
  if (message.status !== "error") return message.status;
  const code = message.error ?? "error";
  return new OrielError("refused", `slot ${message.slot} cannot show ${message.stream}: ${code}`, { code });
}
