/** What the viewer page shows: the client and the meter of its frames, made before anything is rendered. */

import { type ConnectionStats, OrielClient } from "@oriel/client";
import { FrameMeter } from "./meter";
import { Screen, SHOWN_SLOT } from "./screen";

export type ViewerStats = {
  /** Null while there is no connection. */
  readonly connection: ConnectionStats | null;
  /** Frames presented since the page was opened. */
  readonly presented: number;
  readonly presentedFps: number;
  /** Over the data channel; null when nothing answers. */
  readonly roundTripMs: number | null;
  /** From the opening of the WebSocket to the first presented frame. */
  readonly firstFrameMs: number | null;
};

export type ViewerModel = {
  readonly client: OrielClient;
  /** Root of the web-server: the list of all streamers. */
  readonly root: URL;
  readonly meter: FrameMeter;
  readonly screen: Screen;
  readonly stats: () => Promise<ViewerStats>;
};

declare global {
  interface Window {
    /** For scripts on the page, and for tests. */
    oriel?: Pick<ViewerModel, "client" | "stats">;
  }
}

/**
 * Makes the client and connects it.
 * @param root of the web-server.
 */
export function createViewer(streamerId: string, root: URL): ViewerModel {
  const client = new OrielClient({ streamerId, baseUrl: root });
  const meter = new FrameMeter();
  const screen = new Screen(client, meter);
  const stats = (): Promise<ViewerStats> => readStats(client, meter);
  // How it went is the client's state, which the page shows.
  client.connect().catch(() => undefined);
  window.oriel = { client, stats };
  return { client, root, meter, screen, stats };
}

async function readStats(client: OrielClient, meter: FrameMeter): Promise<ViewerStats> {
  const [connection, roundTripMs] = await Promise.all([
    client.stats(SHOWN_SLOT),
    client.ping().catch(() => null),
  ]);
  const now = performance.now();
  return {
    connection,
    roundTripMs,
    presented: meter.presented,
    presentedFps: meter.fps(now),
    firstFrameMs: firstFrameMs(),
  };
}

function firstFrameMs(): number | null {
  const frame = performance.getEntriesByName("oriel:first-frame")[0];
  if (frame === undefined) return null;
  const opening = performance
    .getEntriesByName("oriel:opening")
    .filter(({ startTime }) => startTime <= frame.startTime)
    .pop();
  return opening === undefined ? null : frame.startTime - opening.startTime;
}
