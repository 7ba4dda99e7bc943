/** React's view of one session: one connection that lives as long as the component. */

import { type ClientState, type Control, OrielClient, type SlotView, type TokenSource } from "@oriel/client";
import { useEffect, useRef, useState } from "react";

export type DesktopOptions = {
  /** Shown to the server, where it asks for one. */
  readonly token?: TokenSource | undefined;
  /** The name that others see. */
  readonly displayName?: string | undefined;
};

export type DesktopSession = {
  /** Null before the first rendering has been committed. */
  readonly client: OrielClient | null;
  readonly state: ClientState;
  readonly slots: ReadonlyMap<number, SlotView>;
  /** The server has sent which slots show something. */
  readonly streamsKnown: boolean;
  /** Input would arrive now. */
  readonly inputOpen: boolean;
  readonly control: Control;
};

const UNCONNECTED: DesktopSession = {
  client: null,
  state: { kind: "idle" },
  slots: new Map(),
  streamsKnown: false,
  inputOpen: false,
  control: { mode: "shared", holder: null, requests: [] },
};

function seen(client: OrielClient): DesktopSession {
  const { state, slots, streamsKnown, inputOpen, control } = client;
  return { client, state, slots, streamsKnown, inputOpen, control };
}

/** Connects to a session. Another session or server is another connection; another token is used with the next one. */
export function useDesktop(server: string | URL, session: string, options: DesktopOptions = {}): DesktopSession {
  const [view, setView] = useState(UNCONNECTED);
  const baseUrl = String(server);
  const latest = useRef(options);
  useEffect(() => {
    latest.current = options;
  });
  useEffect(() => {
    const token = (): string | null => {
      const source = latest.current.token ?? null;
      return typeof source === "function" ? source() : source;
    };
    const { displayName } = latest.current;
    const client = new OrielClient({
      baseUrl,
      streamerId: session,
      token,
      ...(displayName === undefined ? {} : { displayName }),
    });
    const changed = (): void => {
      setView(seen(client));
    };
    const stops = (["state", "slots", "input", "control"] as const).map((type) => client.on(type, changed));
    // The state says how it went.
    client.connect().catch(() => undefined);
    return () => {
      for (const stop of stops) stop();
      client.disconnect();
      setView(UNCONNECTED);
    };
  }, [baseUrl, session]);
  return view;
}
