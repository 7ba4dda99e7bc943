/** One WebSocket of the `multistream/*` protocol: opened at once, speaks first, dies once. */

import { Emitter } from "../events";
import type { AudioLayout, MultistreamClientMessage } from "../generated";
import { webSocketUrl } from "../signaling/socket";
import { type MultiServerMessage, parseMultiMessage } from "./messages";

export type MultiSocketEvents = {
  message: MultiServerMessage;
  /** It is over; nothing follows. */
  closed: undefined;
};

/** Without an answer to the opening handshake for this long, the attempt is given up. */
const OPEN_TIMEOUT_MS = 8_000;

/** Where the socket is, below the root of the web-server; and how sound is to come by it. */
export function multiSocketUrl(baseUrl: string | URL, audioLayout: AudioLayout = "tracks"): URL {
  const url = webSocketUrl(baseUrl, "api/ws");
  if (audioLayout !== "tracks") url.searchParams.set("audio", audioLayout);
  return url;
}

export class MultiSocket extends Emitter<MultiSocketEvents> {
  readonly #socket: WebSocket;
  readonly #openTimer: ReturnType<typeof setTimeout>;
  #over = false;

  /** @param init sent as soon as the socket is open. */
  constructor(url: URL, init: MultistreamClientMessage) {
    super();
    this.#socket = new WebSocket(url);
    this.#openTimer = setTimeout(() => {
      this.#finish();
    }, OPEN_TIMEOUT_MS);
    this.#socket.onopen = () => {
      clearTimeout(this.#openTimer);
      this.send(init);
    };
    this.#socket.onmessage = ({ data }: MessageEvent<unknown>) => {
      if (typeof data !== "string") return;
      // Unknown and invalid messages are ignored.
      const parsed = parseMultiMessage(data);
      if (parsed.kind === "message") this.emit("message", parsed.message);
    };
    this.#socket.onclose = () => {
      this.#finish();
    };
  }

  /** False when the socket is not open, and the message is lost. */
  send(message: MultistreamClientMessage): boolean {
    if (this.#socket.readyState !== WebSocket.OPEN) return false;
    this.#socket.send(JSON.stringify(message));
    return true;
  }

  /** Ends it without a `closed` event. */
  close(): void {
    if (this.#over) return;
    this.#over = true;
    this.#detach();
  }

  #finish(): void {
    if (this.#over) return;
    this.#over = true;
    this.#detach();
    this.emit("closed", undefined);
  }

  #detach(): void {
    clearTimeout(this.#openTimer);
    this.#socket.onopen = null;
    this.#socket.onmessage = null;
    this.#socket.onclose = null;
    this.#socket.close();
  }
}
