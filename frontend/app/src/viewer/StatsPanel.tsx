import type { Latency, NetworkPath } from "@oriel/client";
import { useState } from "react";
import { bitrate, milliseconds, rate } from "../ui/format";
import { usePoll } from "../ui/usePoll";
import type { ViewerModel, ViewerStats } from "./model";
import { t } from "../i18n/words";

/** Figures of the connection, once a second. */
export function StatsPanel({ model }: { readonly model: ViewerModel }) {
  const [stats, setStats] = useState<ViewerStats | null>(null);
  usePoll(async (signal) => {
    const next = await model.stats();
    if (!signal.aborted) setStats(next);
  }, 1_000);
  return (
    <section className="stats" aria-label={t("statistics")} data-testid="stats">
      <dl>
        {rows(stats).map(([name, value]) => (
          <div key={name}>
            <dt>{name}</dt>
            <dd>{value}</dd>
          </div>
        ))}
      </dl>
    </section>
  );
}

function allowed({ allowsBps }: NetworkPath): string {
  return allowsBps === null ? t("stats-no-limit") : bitrate(allowsBps);
}

function latencyOf(latency: Latency | null): string {
  return latency === null ? "–" : t("stats-late-value", { half: milliseconds(latency.p50Ms), most: milliseconds(latency.p95Ms) });
}

/** How media comes, as people write it. */
function pathName(transport: string): string {
  return transport === "websocket" ? "WebSocket" : transport.toUpperCase() || "–";
}

function rows(stats: ViewerStats | null): [string, string][] {
  const connection = stats?.connection ?? null;
  if (stats === null || connection === null) return [[t("stats-connection"), t("stats-none")]];
  const roundTrip = stats.roundTripMs ?? connection.iceRoundTripMs;
  return [
    [t("stats-presented"), rate(stats.presentedFps)],
    [t("stats-decoded"), rate(connection.fps)],
    [t("stats-picture"), `${connection.width} × ${connection.height}`],
    [t("stats-bitrate"), bitrate(connection.bitrateBps)],
    [t("stats-allows"), allowed(stats.path)],
    [t("stats-path"), pathName(connection.transport)],
    [t("stats-late"), latencyOf(stats.latency)],
    [t("stats-round-trip"), milliseconds(roundTrip)],
    [t("stats-jitter"), milliseconds(connection.jitterBufferMs)],
    [t("stats-decoding"), milliseconds(connection.decodeMs)],
    [t("stats-dropped"), String(connection.framesDropped)],
    [t("stats-lost"), String(connection.packetsLost)],
    [t("stats-first"), milliseconds(stats.firstFrameMs, 0)],
    [t("stats-decoder"), [connection.codec, connection.decoder].filter((word) => word !== "").join(" · ") || "–"],
  ];
}
