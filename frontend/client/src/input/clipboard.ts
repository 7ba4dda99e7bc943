/**
 * The clipboard, both ways. Text goes to the session before the key that pastes it; text from the session is
 * put on the viewer's clipboard where the browser lets us, and offered otherwise.
 */

/** The bound of the server, in bytes of UTF-8. */
const MOST_BYTES = 128 * 1024;

export type ClipboardOutcome =
  | { readonly kind: "sent" }
  | { readonly kind: "unchanged" }
  | { readonly kind: "too-long"; readonly bytes: number };

export class ClipboardBridge {
  readonly #send: (text: string) => boolean;
  /** What both sides have, as far as we know; it is not sent again. */
  #shared: string | null = null;
  /** What the viewer's clipboard held when we last looked at it or wrote it. */
  #seen: string | null = null;

  constructor(send: (text: string) => boolean) {
    this.#send = send;
  }

  /** Gives a text to the session. */
  give(text: string): ClipboardOutcome {
    if (text === "" || text === this.#shared) return { kind: "unchanged" };
    const bytes = new TextEncoder().encode(text).length;
    if (bytes > MOST_BYTES) return { kind: "too-long", bytes };
    if (!this.#send(text)) return { kind: "unchanged" };
    this.#shared = text;
    return { kind: "sent" };
  }

  /** The viewer pastes this text, which is on its clipboard. */
  pasted(text: string): void {
    this.#seen = text;
    this.give(text);
  }

  /** Gives the viewer's clipboard to the session, if reading it needs no question to the viewer. */
  async giveIfAllowed(): Promise<void> {
    if (!(await mayRead())) return;
    try {
      const text = await navigator.clipboard.readText();
      // Nothing was copied here since: the session's newer text, which we may not have been allowed to write, stays.
      if (text === this.#seen) return;
      this.pasted(text);
    } catch {
      // Not focused any more, or no text in it.
    }
  }

  /** Puts a text of the session on the viewer's clipboard; false when the browser does not allow it now. */
  async take(text: string): Promise<boolean> {
    this.#shared = text;
    const copied = await copy(text);
    if (copied) this.#seen = text;
    return copied;
  }

  /** Another session, or none: nothing is shared any more. */
  forget(): void {
    this.#shared = null;
    this.#seen = null;
  }
}

/** Writes to the viewer's clipboard; false when the browser does not allow it. */
export async function copy(text: string): Promise<boolean> {
  // Absent on pages that are neither https nor local.
  const clipboard = (navigator as Partial<Navigator>).clipboard;
  if (clipboard === undefined || !document.hasFocus()) return false;
  try {
    await clipboard.writeText(text);
    return true;
  } catch {
    return false;
  }
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
