/**
 * One WebSocket of the signalling protocol: opened at once, speaks first, dies once. Reconnecting is the
 * business of its owner, which makes a new one.
 */

import { Emitter } from "../events";
import type { ClientMessage, ServerMessage } from "../generated";
import { SUBPROTOCOL } from "../generated/constants";
import { encodeClientMessage, parseServerMessage } from "./messages";

export type SocketEvents = {
  message: ServerMessage;
  /** Something arrived that is not the protocol; it was left out. */
  garbage: string;
  /** It is over; nothing follows. */
  closed: { readonly wasOpen: boolean; readonly code: number; readonly reason: string };
};

/** Without an answer to the opening handshake for this long, the attempt is given up. */
const OPEN_TIMEOUT_MS = 8_000;

/** Where a streamer's peer socket is, below the root of the web-server. */
export function peerSocketUrl(baseUrl: string | URL, streamerId: string): URL {
  return webSocketUrl(baseUrl, `api/streamers/${encodeURIComponent(streamerId)}/peer`);
}

/** A WebSocket below the root of the web-server, as safe as the page is. */
export function webSocketUrl(baseUrl: string | URL, path: string): URL {
  const url = new URL(path, new URL(".", baseUrl));
  url.protocol = url.protocol === "https:" || url.protocol === "wss:" ? "wss:" : "ws:";
  return url;
}

export class SignalingSocket extends Emitter<SocketEvents> {
  readonly #socket: WebSocket;
  readonly #openTimer: ReturnType<typeof setTimeout>;
  #wasOpen = false;
  #closed = false;

  /** @param hello sent as soon as the socket is open. */
  constructor(url: URL, hello: ClientMessage) {
    super();
    this.#socket = new WebSocket(url, SUBPROTOCOL);
    this.#openTimer = setTimeout(() => {
      this.#finish(1006, "no answer");
    }, OPEN_TIMEOUT_MS);
    this.#socket.onopen = () => {
      clearTimeout(this.#openTimer);
      this.#wasOpen = true;
      this.send(hello);
    };
    this.#socket.onmessage = (event: MessageEvent<unknown>) => {
      this.#receive(event.data);
    };
    this.#socket.onclose = (event) => {
      this.#finish(event.code, event.reason);
    };
  }

  /** Sends a message; false when the socket is not open, and the message is lost. */
  send(message: ClientMessage): boolean {
    if (this.#socket.readyState !== WebSocket.OPEN) return false;
    this.#socket.send(encodeClientMessage(message));
    return true;
  }

  /** Closes it without a `closed` event; sends `bye` if the peer is to be removed as well. */
  close(options: { readonly bye: boolean }): void {
    if (this.#closed) return;
    if (options.bye) this.send({ type: "bye" });
    this.#closed = true;
    this.#detach();
  }

  #receive(data: unknown): void {
    if (this.#closed) return;
    if (typeof data !== "string") {
      this.emit("garbage", "a binary message");
      return;
    }
    const parsed = parseServerMessage(data);
    switch (parsed.kind) {
      case "message":
        this.emit("message", parsed.message);
        break;
      case "malformed":
        this.emit("garbage", parsed.why);
        break;
      case "unknown":
        break;
    }
  }

  #finish(code: number, reason: string): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#detach();
    this.emit("closed", { wasOpen: this.#wasOpen, code, reason });
  }

  #detach(): void {
    clearTimeout(this.#openTimer);
    this.#socket.onopen = null;
    this.#socket.onmessage = null;
    this.#socket.onclose = null;
    this.#socket.close();
  }
}
