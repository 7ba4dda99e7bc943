/** Hooks of the viewer page that join the client, the input and the page. */

import {
  type Api,
  type ClipboardCopy,
  copyToClipboard,
  type InputController,
  type OrielClient,
  type StreamInfo,
} from "@oriel/client";
import { useEffect, useState } from "react";
import { isRefused } from "../ui/refused";
import { usePoll } from "../ui/usePoll";

/** Events of the input, and the page's two reactions to them. */
export function useInputEvents(
  client: OrielClient,
  input: InputController | null,
  toolbar: HTMLElement | null,
): {
  readonly locked: boolean;
  /** Content copied in the session that waits for a click. */
  readonly offered: ClipboardCopy | null;
  /** The last copy of the session. */
  readonly fromSession: ClipboardCopy | null;
  /** Copies the offered content; false when there is none, or the browser refuses. */
  readonly takeOffered: () => Promise<boolean>;
} {
  const [locked, setLocked] = useState(false);
  const [offered, setOffered] = useState<ClipboardCopy | null>(null);
  const [fromSession, setFromSession] = useState<ClipboardCopy | null>(null);

  useEffect(
    () =>
      client.on("clipboard", (copy) => {
        setFromSession(copy);
        setOffered(null);
      }),
    [client],
  );
  useEffect(() => {
    if (input === null) return undefined;
    const stops = [
      input.on("locked", setLocked),
      input.on("clipboard-offered", setOffered),
      input.on("escaped", () => {
        toolbar?.querySelector<HTMLElement>("a, button")?.focus();
      }),
      // Typing shall work without a click, unless the viewer is already busy elsewhere on the page.
      client.on("input", (open) => {
        const idle = document.activeElement === null || document.activeElement === document.body;
        if (open && idle) input.focus();
      }),
    ];
    return () => {
      stops.forEach((stop) => {
        stop();
      });
    };
  }, [client, input, toolbar]);

  const takeOffered = async (): Promise<boolean> => {
    if (offered === null) return false;
    const copied = await copyToClipboard(offered, () => client.api.clipboardPicture(client.streamerId));
    if (copied) setOffered(null);
    return copied;
  };
  return { locked, offered, fromSession, takeOffered };
}

/** A server that was not reached is asked again after this time. */
const ASK_AGAIN_MS = 5_000;

/**
 * Whether this viewer may see all sessions: a guest's token is for one. Without a token the list reports it. Until it is known, no link is
 * better than a broken one.
 * @param hasToken the viewer has come with one.
 */
export function useMayList(api: Api, hasToken: boolean): boolean {
  const [may, setMay] = useState<boolean | null>(hasToken ? null : true);
  usePoll(
    async (signal) => {
      try {
        await api.streamers({ signal });
        setMay(true);
      } catch (error) {
        if (isRefused(error)) setMay(false);
      }
    },
    ASK_AGAIN_MS,
    may === null,
  );
  return may === true;
}

/** An enlarged picture is moved along with the mouse: at an edge of the window is the edge of the picture. */
export function usePanning(element: HTMLElement | null, input: InputController | null): void {
  useEffect(() => {
    if (element === null || input === null) return undefined;
    const moved = ({ pointerType, clientX, clientY }: PointerEvent): void => {
      // Fingers push it; what is not enlarged has no hidden parts.
      if (pointerType !== "mouse" || input.zoom <= 1) return;
      const { left, top, width, height } = element.getBoundingClientRect();
      if (width > 0 && height > 0) input.lookAt((clientX - left) / width, (clientY - top) / height);
    };
    window.addEventListener("pointermove", moved, { capture: true });
    return () => {
      window.removeEventListener("pointermove", moved, { capture: true });
    };
  }, [element, input]);
}

/** A window that is being resized is asked about once it has come to rest. */
const REST_MS = 300;

/** A session that follows the size of the window, and the size that it goes back to. */
export type Fitted = Pick<StreamInfo, "slot"> & Size;

type Size = { readonly width: number; readonly height: number };

/** Whether two sizes are the same but for the rounding to even sides. Pure. */
export function isAbout(a: Size, b: Size): boolean {
  return Math.abs(a.width - b.width) < 2 && Math.abs(a.height - b.height) < 2;
}

/**
 * Keeps the desktop in a slot at the size of an element. When the page is left, the desktop gets back the size that it had, unless
 * somebody else has resized it meanwhile.
 * @param fitted null: leave the size as it is.
 */
export function useFitting(client: OrielClient, element: HTMLElement | null, fitted: Fitted | null): void {
  useEffect(() => {
    if (fitted === null || element === null) return undefined;
    const { slot, width, height } = fitted;
    let timer: ReturnType<typeof setTimeout> | undefined;
    let asked: Size | null = null;
    const observer = new ResizeObserver(() => {
      clearTimeout(timer);
      timer = setTimeout(() => {
        asked = { width: element.clientWidth, height: element.clientHeight };
        client.resize(slot, asked.width, asked.height);
      }, REST_MS);
    });
    observer.observe(element);
    const left = new AbortController();
    window.addEventListener(
      "pagehide",
      () => {
        const now = client.slots.get(slot)?.info ?? null;
        if (asked === null || now === null) return;
        const { width: nowWidth, height: nowHeight } = now;
        if (nowWidth === null || nowHeight === null || !isAbout({ width: nowWidth, height: nowHeight }, asked)) return;
        // Not over the connection, which ends with the page.
        client.api.resize(client.streamerId, { slot, width, height }, { keepalive: true }).catch(() => undefined);
      },
      // Before the client leaves.
      { capture: true, signal: left.signal },
    );
    return () => {
      clearTimeout(timer);
      observer.disconnect();
      left.abort();
    };
  }, [client, element, fitted]);
}
