/** The model of the viewer page: the client and its views, created before anything is rendered. */

import { type Api, type ConnectionStats, type Latency, type NetworkPath, OrielClient } from "@oriel/client";
import { keptLimit } from "./limit";
import { Views } from "./views";

export type ViewerStats = {
  /** Null while there is no connection. */
  readonly connection: ConnectionStats | null;
  /** Frames that the main view's slot has presented since the page was opened. */
  readonly presented: number;
  readonly presentedFps: number;
  /** Over the data channel; null when nothing answers. */
  readonly roundTripMs: number | null;
  /** How late pictures are seen; null while it is not measured. */
  readonly latency: Latency | null;
  /** From the opening of the WebSocket to the first presented frame. */
  readonly firstFrameMs: number | null;
  /** What the network allows. */
  readonly path: NetworkPath;
};

export type ViewerModel = {
  readonly client: OrielClient;
  /** Root of the web-server: the list of all streamers. */
  readonly root: URL;
  readonly views: Views;
  readonly api: Api;
  /** It has come with a token, or with the admin secret. */
  readonly hasToken: boolean;
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
 * @param token for it; null: none.
 * @param iceTransportPolicy which paths media may take.
 */
export function createViewer(
  streamerId: string,
  root: URL,
  token: string | null,
  iceTransportPolicy: RTCIceTransportPolicy,
): ViewerModel {
  const client = new OrielClient({ streamerId, baseUrl: root, token, iceTransportPolicy, pointers: true });
  client.setMaxBitrate(keptLimit());
  const views = new Views(client);
  const stats = (): Promise<ViewerStats> => readStats(client, views);
  // How it went is the client's state, which the page shows.
  client.connect().catch(() => undefined);
  window.oriel = { client, stats };
  return { client, root, views, api: client.api, hasToken: token !== null, stats };
}

async function readStats(client: OrielClient, views: Views): Promise<ViewerStats> {
  const screen = views.main;
  const [connection, roundTripMs] = await Promise.all([
    screen === null ? null : client.stats(screen.slot),
    client.ping().catch(() => null),
  ]);
  const now = performance.now();
  return {
    connection,
    roundTripMs,
    latency: screen === null ? null : client.latency(screen.slot),
    presented: screen?.meter.presented ?? 0,
    presentedFps: screen?.meter.fps(now) ?? 0,
    firstFrameMs: firstFrameMs(),
    path: client.path,
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
