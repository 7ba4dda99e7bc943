/** React's view of the client: its state as values that change. */

import type { ClientEvents, ClientState, InputController, OrielClient } from "@oriel/client";
import { useCallback, useEffect, useRef, useState, useSyncExternalStore } from "react";
import type { Arrangement } from "./arrangement";
import type { Views } from "./views";

/** A value of the client that changes with one of its events; `read` must return the same value until then. */
export function useClientValue<T>(
  client: OrielClient,
  event: keyof ClientEvents,
  read: (client: OrielClient) => T,
): T {
  const subscribe = useCallback((changed: () => void) => client.on(event, changed), [client, event]);
  return useSyncExternalStore(subscribe, () => read(client));
}

/** The client's state, with the moment at which it began, for counting down. */
export function useClientState(client: OrielClient): { readonly state: ClientState; readonly at: number } {
  const [entry, setEntry] = useState(() => ({ state: client.state, at: performance.now() }));
  useEffect(() => {
    const update = (state: ClientState): void => {
      setEntry({ state, at: performance.now() });
    };
    update(client.state);
    return client.on("state", update);
  }, [client]);
  return entry;
}

/** The last payload of an event, or `initial`. */
export function useLatest<K extends keyof ClientEvents>(
  client: OrielClient,
  event: K,
  initial: ClientEvents[K],
): ClientEvents[K] {
  const [value, setValue] = useState(initial);
  useEffect(() => client.on(event, setValue), [client, event]);
  return value;
}

/** Why the session is being started again; null while it is not, or nothing is known of it. */
export function useRestart(client: OrielClient): string | null {
  const [reason, setReason] = useState<string | null>(null);
  useEffect(() => {
    const stops = [
      client.on("streamer-state", ({ state, reason }) => {
        setReason(state === "restarting" || state === "starting" ? reason : null);
      }),
      // Later losses are handled elsewhere.
      client.on("state", ({ kind }) => {
        if (kind === "connected") setReason(null);
      }),
    ];
    return () => {
      stops.forEach((stop) => {
        stop();
      });
    };
  }, [client]);
  return reason;
}

/** The page's view of the slots, and the input of the one in the main view. */
export function useViews(views: Views): {
  readonly arrangement: Arrangement;
  readonly input: InputController | null;
  readonly hasPicture: boolean;
} {
  const subscribe = useCallback((changed: () => void) => views.subscribe(changed), [views]);
  return {
    arrangement: useSyncExternalStore(subscribe, () => views.arrangement),
    input: useSyncExternalStore(subscribe, () => views.input),
    hasPicture: useSyncExternalStore(subscribe, () => views.hasPicture),
  };
}

/** `performance.now()`, as it was at the last tick of a clock that runs while active. */
export function useNow(active: boolean, everyMs: number): number {
  const [now, setNow] = useState(() => performance.now());
  useEffect(() => {
    if (!active) return undefined;
    const timer = setInterval(() => {
      setNow(performance.now());
    }, everyMs);
    return () => {
      clearInterval(timer);
    };
  }, [active, everyMs]);
  return now;
}

/** True for `ms` after `poke`, and while `hold` is true. */
export function useAwake(ms: number, hold: boolean): { readonly awake: boolean; readonly poke: () => void } {
  const [awake, setAwake] = useState(true);
  const timer = useRef<ReturnType<typeof setTimeout> | undefined>(undefined);
  const sleepLater = useCallback(() => {
    clearTimeout(timer.current);
    timer.current = setTimeout(() => {
      setAwake(false);
    }, ms);
  }, [ms]);
  const poke = useCallback(() => {
    setAwake(true);
    sleepLater();
  }, [sleepLater]);
  useEffect(() => {
    sleepLater();
    return () => {
      clearTimeout(timer.current);
    };
  }, [sleepLater]);
  return { awake: awake || hold, poke };
}
