/** Round trips over a data channel: pings that wait for their pong. */

import { OrielError } from "../errors";

const TIMEOUT_MS = 5_000;

type Waiting = { readonly sent: number; readonly settle: (result: number | OrielError) => void };

export class Pinger {
  readonly #send: (token: number) => boolean;
  readonly #waiting = new Map<number, Waiting>();
  #token = 0;

  /** @param send sends a ping; false when there is no channel. */
  constructor(send: (token: number) => boolean) {
    this.#send = send;
  }

  /** @throws {OrielError} `not-connected`, `timeout` or `aborted`. */
  ping(signal?: AbortSignal, timeoutMs = TIMEOUT_MS): Promise<number> {
    return new Promise((resolve, reject) => {
      const token = (this.#token = (this.#token + 1) >>> 0);
      const settle = (result: number | OrielError): void => {
        clearTimeout(timer);
        signal?.removeEventListener("abort", abort);
        this.#waiting.delete(token);
        if (typeof result === "number") resolve(result);
        else reject(result);
      };
      const timer = setTimeout(() => {
        settle(new OrielError("timeout", "no pong in time"));
      }, timeoutMs);
      const abort = (): void => {
        settle(new OrielError("aborted", "the ping was aborted"));
      };
      signal?.addEventListener("abort", abort, { once: true });
      this.#waiting.set(token, { sent: performance.now(), settle });
      if (!this.#send(token)) settle(new OrielError("not-connected", "no channel to ping on"));
    });
  }

  pong(token: number): void {
    const waiting = this.#waiting.get(token);
    waiting?.settle(performance.now() - waiting.sent);
  }
}
