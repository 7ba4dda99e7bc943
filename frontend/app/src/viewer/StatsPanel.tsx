import type { Latency, NetworkPath } from "@oriel/client";
import { useState } from "react";
import { bitrate, milliseconds, rate } from "../ui/format";
import { usePoll } from "../ui/usePoll";
import type { ViewerModel, ViewerStats } from "./model";

/** Figures of the connection, once a second. */
export function StatsPanel({ model }: { readonly model: ViewerModel }) {
  const [stats, setStats] = useState<ViewerStats | null>(null);
  usePoll(async (signal) => {
    const next = await model.stats();
    if (!signal.aborted) setStats(next);
  }, 1_000);
  return (
    <aside className="stats" aria-label="Statistics" data-testid="stats">
      <dl>
        {rows(stats).map(([name, value]) => (
          <div key={name}>
            <dt>{name}</dt>
            <dd>{value}</dd>
          </div>
        ))}
      </dl>
    </aside>
  );
}

function allowed({ allowsBps }: NetworkPath): string {
  return allowsBps === null ? "no limit seen" : bitrate(allowsBps);
}

function latencyOf(latency: Latency | null): string {
  return latency === null ? "–" : `${milliseconds(latency.p50Ms)}, 95 % within ${milliseconds(latency.p95Ms)}`;
}

/** How media comes, as people write it. */
function pathName(transport: string): string {
  return transport === "websocket" ? "WebSocket" : transport.toUpperCase() || "–";
}

function rows(stats: ViewerStats | null): [string, string][] {
  const connection = stats?.connection ?? null;
  if (stats === null || connection === null) return [["Connection", "none"]];
  const roundTrip = stats.roundTripMs ?? connection.iceRoundTripMs;
  return [
    ["Presented", rate(stats.presentedFps)],
    ["Decoded", rate(connection.fps)],
    ["Picture", `${connection.width} × ${connection.height}`],
    ["Bitrate", bitrate(connection.bitrateBps)],
    ["Network allows", allowed(stats.path)],
    ["Path", pathName(connection.transport)],
    ["Capture to screen", latencyOf(stats.latency)],
    ["Round trip", milliseconds(roundTrip)],
    ["Jitter buffer", milliseconds(connection.jitterBufferMs)],
    ["Decoding", milliseconds(connection.decodeMs)],
    ["Frames dropped", String(connection.framesDropped)],
    ["Packets lost", String(connection.packetsLost)],
    ["First frame", milliseconds(stats.firstFrameMs, 0)],
    ["Decoder", [connection.codec, connection.decoder].filter((word) => word !== "").join(" · ") || "–"],
  ];
}
