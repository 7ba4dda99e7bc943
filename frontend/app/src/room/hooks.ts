/** React's view of the devices, the chat and the size of an area. */

import type { OrielClient, Participant } from "@oriel/client";
import { useCallback, useEffect, useRef, useState, useSyncExternalStore } from "react";
import type { Size } from "./layout";
import type { LocalMedia, LocalState } from "./localMedia";
import { newsOf } from "./people";

/** How long a notice and a reaction stay. */
const NOTICE_MS = 6_000;
const REACTION_MS = 4_000;

export function useLocalMedia(media: LocalMedia): LocalState {
  const subscribe = useCallback((changed: () => void) => media.subscribe(changed), [media]);
  return useSyncExternalStore(subscribe, () => media.state);
}

/** The size of an element as it changes; nothing before it is known. */
export function useSize(element: HTMLElement | null): Size {
  const [size, setSize] = useState<Size>({ width: 0, height: 0 });
  useEffect(() => {
    if (element === null) return undefined;
    const observer = new ResizeObserver(() => {
      setSize({ width: element.clientWidth, height: element.clientHeight });
    });
    observer.observe(element);
    return () => {
      observer.disconnect();
    };
  }, [element]);
  return size;
}

/** How many messages others have written since the chat was looked at. */
export function useUnread(client: OrielClient, looking: boolean): number {
  const [unread, setUnread] = useState(0);
  useEffect(
    () =>
      client.on("chat-message", ({ peerId }) => {
        if (peerId !== client.peerId) setUnread((count) => count + 1);
      }),
    [client],
  );
  if (looking && unread > 0) setUnread(0);
  return unread;
}

/** The last thing that happened, in words; it is forgotten after some seconds. */
export function useNotice(): { readonly notice: string | null; readonly tell: (text: string) => void } {
  const [notice, setNotice] = useState<string | null>(null);
  const timer = useRef<ReturnType<typeof setTimeout> | undefined>(undefined);
  const tell = useCallback((text: string) => {
    clearTimeout(timer.current);
    setNotice(text);
    timer.current = setTimeout(() => {
      setNotice(null);
    }, NOTICE_MS);
  }, []);
  useEffect(
    () => () => {
      clearTimeout(timer.current);
    },
    [],
  );
  return { notice, tell };
}

/** Tells who comes, leaves, raises a hand or shows a screen. */
export function useNews(client: OrielClient, tell: (text: string) => void): void {
  useEffect(() => {
    let before: readonly Participant[] = client.participants;
    return client.on("participants", (after) => {
      const news = newsOf(before, after, client.peerId);
      before = after;
      if (news.length > 0) tell(`${news.join(". ")}.`);
    });
  }, [client, tell]);
}

/** The emoji that each peer shows now. */
export function useReactions(client: OrielClient): ReadonlyMap<string, string> {
  const [reactions, setReactions] = useState<ReadonlyMap<string, string>>(new Map());
  useEffect(() => {
    const timers = new Map<string, ReturnType<typeof setTimeout>>();
    const stop = client.on("reaction", ({ peerId, emoji }) => {
      clearTimeout(timers.get(peerId));
      setReactions((old) => new Map(old).set(peerId, emoji));
      const forget = (): void => {
        setReactions((old) => new Map([...old].filter(([key]) => key !== peerId)));
      };
      timers.set(peerId, setTimeout(forget, REACTION_MS));
    });
    return () => {
      stop();
      for (const timer of timers.values()) clearTimeout(timer);
    };
  }, [client]);
  return reactions;
}
