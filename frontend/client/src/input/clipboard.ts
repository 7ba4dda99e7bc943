/**
 * The clipboard, both ways. What the viewer pastes goes to the session before the key that pastes it; what was copied
 * in the session is put on the viewer's clipboard where the browser lets us, and offered otherwise.
 */

import type { ClipboardType, KeysMessage } from "../generated";
import {
  MAX_CHANNEL_MESSAGE_BYTES,
  MAX_CLIPBOARD_PART_BYTES,
  MAX_CLIPBOARD_PICTURE_BYTES,
  MAX_CLIPBOARD_TEXT_BYTES,
} from "../generated/constants";

/** The content copied in the session. */
export type ClipboardCopy = {
  /** Empty when there is no text. */
  readonly text: string;
  /** The same text with its layout, if it has one. */
  readonly html: string | null;
  /** All that is offered. A picture is fetched when it is wanted: {@link Api.clipboardPicture}. */
  readonly types: readonly ClipboardType[];
};

/** The content that the viewer pastes. */
export type Pasted = {
  readonly text: string;
  readonly html: string | null;
  readonly picture: Blob | null;
};

export type ClipboardOutcome =
  | { readonly kind: "sent" }
  | { readonly kind: "unchanged" }
  | { readonly kind: "too-long"; readonly bytes: number };

/** The way to the session's clipboard. */
export type ClipboardLink = {
  /** False when it could not be sent. */
  readonly send: (message: KeysMessage) => boolean;
  /** Resolves when little waits to be sent; false when nothing can be sent any more. */
  readonly drained: () => Promise<boolean>;
  /** Fetches the picture on the session's clipboard. */
  readonly picture: () => Promise<Blob>;
};

export class ClipboardBridge {
  readonly #link: ClipboardLink;
  /** The text that both sides have, as far as we know; it is not sent again. */
  #shared: string | null = null;
  /** The content of the viewer's clipboard when it was last read or written. */
  #seen: string | null = null;

  constructor(link: ClipboardLink) {
    this.#link = link;
  }

  /** Sends a text to the session, with its HTML if it has any that fits. */
  give(text: string, html: string | null = null): ClipboardOutcome {
    if (text === "" || text === this.#shared) return { kind: "unchanged" };
    const bytes = lengthOf(text);
    if (bytes > MAX_CLIPBOARD_TEXT_BYTES) return { kind: "too-long", bytes };
    const plain: KeysMessage = { type: "clipboard", text };
    const rich: KeysMessage = html === null || html === "" ? plain : { ...plain, html };
    const fits = lengthOf(html ?? "") <= MAX_CLIPBOARD_TEXT_BYTES && lengthOf(JSON.stringify(rich)) <= MAX_CHANNEL_MESSAGE_BYTES;
    if (!this.#link.send(fits ? rich : plain)) return { kind: "unchanged" };
    this.#shared = text;
    return { kind: "sent" };
  }

  /** Gives a picture in PNG to the session. */
  async givePicture(png: Blob): Promise<ClipboardOutcome> {
    if (png.size > MAX_CLIPBOARD_PICTURE_BYTES) return { kind: "too-long", bytes: png.size };
    for (let at = 0; at < png.size; at += MAX_CLIPBOARD_PART_BYTES) {
      const part = new Uint8Array(await png.slice(at, at + MAX_CLIPBOARD_PART_BYTES).arrayBuffer());
      const last = at + MAX_CLIPBOARD_PART_BYTES >= png.size;
      // Keys go by the same channel: they do not wait for all of the picture.
      const open = await this.#link.drained();
      if (!open || !this.#link.send({ type: "clipboard-picture", at, data: base64(part), last })) {
        return { kind: "unchanged" };
      }
    }
    this.#shared = null;
    return { kind: "sent" };
  }

  /**
   * The viewer pastes this, which is on its clipboard. Of a text with a picture of it, it is the text.
   * @returns a promise that resolves once the session has it; null if there is nothing to wait for.
   */
  pasted({ text, html, picture }: Pasted): Promise<unknown> | null {
    if (text === "" && picture !== null) return this.givePicture(picture);
    this.#seen = text;
    this.give(text, html);
    return null;
  }

  /** Gives the viewer's clipboard to the session, if reading it needs no question to the viewer. */
  async giveIfAllowed(): Promise<void> {
    if (!(await mayRead())) return;
    try {
      const text = await navigator.clipboard.readText();
      // Nothing was copied here since: the session's newer text, which we may not have been allowed to write, stays.
      if (text === this.#seen) return;
      this.#seen = text;
      this.give(text);
    } catch {
      // Not focused any more, or no text in it.
    }
  }

  /** Puts a copy of the session on the viewer's clipboard; false when the browser does not allow it now. */
  async take(copied: ClipboardCopy): Promise<boolean> {
    this.#shared = copied.text === "" ? null : copied.text;
    const written = await copy(copied, this.#link.picture);
    if (written) this.#seen = copied.text;
    return written;
  }

  /** Another session, or none: nothing is shared any more. */
  forget(): void {
    this.#shared = null;
    this.#seen = null;
  }
}

/**
 * Writes to the viewer's clipboard; false when the browser does not allow it.
 * @param picture fetches the picture of a copy that has no text.
 */
export async function copy(
  copied: string | ClipboardCopy,
  picture: (() => Promise<Blob>) | null = null,
): Promise<boolean> {
  // Absent on pages that are neither https nor local.
  const clipboard = (navigator as Partial<Navigator>).clipboard;
  if (clipboard === undefined || !document.hasFocus()) return false;
  const { text, html, types } =
    typeof copied === "string" ? { text: copied, html: null, types: ["text/plain"] } : copied;
  try {
    if (text === "" && picture !== null && types.includes("image/png")) {
      // A promise: the viewer's click counts from now, not from when the picture has come.
      await clipboard.write([new ClipboardItem({ "image/png": picture() })]);
    } else if (html !== null && typeof ClipboardItem !== "undefined") {
      const blob = (type: string, part: string): Blob => new Blob([part], { type });
      const item = { "text/plain": blob("text/plain", text), "text/html": blob("text/html", html) };
      await clipboard.write([new ClipboardItem(item)]);
    } else {
      await clipboard.writeText(text);
    }
    return true;
  } catch {
    return false;
  }
}

/** The content of a paste event. */
export function pastedFrom(data: DataTransfer | null): Pasted {
  const html = data?.getData("text/html") ?? "";
  const files = data === null ? [] : Array.from(data.files);
  return {
    text: data?.getData("text/plain") ?? "",
    html: html === "" ? null : html,
    picture: files.find((file) => file.type === "image/png") ?? null,
  };
}

function lengthOf(text: string): number {
  return new TextEncoder().encode(text).length;
}

function base64(bytes: Uint8Array): string {
  return btoa(Array.from(bytes, (byte) => String.fromCharCode(byte)).join(""));
}

async function mayRead(): Promise<boolean> {
  if ((navigator as Partial<Navigator>).clipboard === undefined || !document.hasFocus()) return false;
  try {
    // Only Chromium knows this name; others ask the viewer each time, so we leave it to their paste event.
    const status = await navigator.permissions.query({ name: "clipboard-read" as PermissionName });
    return status.state === "granted";
  } catch {
    return false;
  }
}
