/** React's view of a multistream session: one connection that lives as long as the component. */

import { type ClientState, OrielError, type TokenSource } from "@oriel/client";
import { MultiStreamClient, type SlotStatus } from "@oriel/client/multistream";
import { useEffect, useRef, useState } from "react";
import { changedTiles, configsOf, type Tile } from "./slots";

export type MultiStream = {
  /** Null before the first rendering has been committed. */
  readonly client: MultiStreamClient | null;
  readonly state: ClientState;
  /** By slot. */
  readonly statuses: ReadonlyMap<number, SlotStatus>;
  /** Why the server refused the session; null unless it did. */
  readonly refused: string | null;
};

const NONE: ReadonlyMap<number, SlotStatus> = new Map();
const IDLE: ClientState = { kind: "idle" };

/**
 * Connects to a server and shows tiles in slots. Another stream in a tile is a switch; another number of tiles,
 * or another server, is another connection.
 */
export function useMultiStream(
  server: string | URL,
  tiles: readonly Tile[],
  token: TokenSource = null,
): MultiStream {
  const [session, setSession] = useState<MultiStream>({
    client: null,
    state: IDLE,
    statuses: NONE,
    refused: null,
  });
  const shown = useRef(tiles);
  const url = String(server);
  const count = tiles.length;
  // The initial slots of the session; later changes are switches.
  const latest = useRef(tiles);
  // Read at each connection: another token is no reason to make another one.
  const latestToken = useRef(token);
  useEffect(() => {
    latest.current = tiles;
    latestToken.current = token;
  });

  useEffect(() => {
    if (count === 0) return undefined;
    const shownToken = (): string | null => {
      const source = latestToken.current;
      return typeof source === "function" ? source() : source;
    };
    const client = new MultiStreamClient(url, { token: shownToken });
    shown.current = latest.current;
    const change = (part: Partial<MultiStream>): void => {
      setSession((old) => {
        const mine = old.client === client ? old : { client, state: IDLE, statuses: NONE, refused: null };
        return { ...mine, ...part };
      });
    };
    const stops = [
      client.on("state", (state) => {
        change({ state });
      }),
      client.on("status", () => {
        change({ statuses: new Map(client.statuses) });
      }),
    ];
    client.connect(configsOf(shown.current)).catch((error: unknown) => {
      if (error instanceof OrielError && error.reason === "refused") change({ refused: error.message });
    });
    return () => {
      for (const stop of stops) stop();
      client.disconnect();
    };
  }, [url, count]);

  const { client } = session;
  useEffect(() => {
    if (client === null || tiles.length !== shown.current.length) return;
    const changed = changedTiles(shown.current, tiles);
    shown.current = tiles;
    for (const { slot, stream, quality } of changed) {
      // The result shows in the slot's status.
      client.switchStream(slot, stream, quality).catch(() => undefined);
    }
  }, [client, tiles]);

  return session;
}
