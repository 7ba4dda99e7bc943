/** What a streamer is, in a few words. Pure. */

import type { SourceSpec, Streamer } from "@oriel/client";
import { type PlainKey, t } from "../i18n/words";

const KINDS: Readonly<Record<SourceSpec["type"], PlainKey>> = {
  desktop: "desktop",
  test: "kind-test",
  window: "kind-window",
  rtsp: "kind-camera",
  ffmpeg: "kind-file",
  exec: "kind-program",
  moonlight: "kind-moonlight",
  publish: "kind-published",
};

type Described = Pick<Streamer, "spec" | "slots" | "stats">;

/** The main source with its size, and how many others there are. */
export function describeSource({ spec, slots, stats }: Described): string {
  const others = Object.keys(spec.sources ?? {}).length;
  if (spec.source === undefined) return t("streams", { count: others });
  const kind = t(KINDS[spec.source.type]);
  const shown = slots.find(({ source }) => source === "main");
  const size = [shown, stats?.video, spec.source].find(
    (candidate) => candidate !== undefined && "width" in candidate && candidate.width !== null && candidate.width > 0,
  );
  const main = size !== undefined && "width" in size ? `${kind} ${size.width} × ${size.height}` : kind;
  return others === 0 ? main : `${main}, ${t("streams", { count: others })}`;
}

/** The slot whose picture stands for the streamer; null while it shows nothing. Elsewhere the slots are not known: the usual one. */
export function shownSlot({ slots }: Pick<Streamer, "slots">, elsewhere = false): number | null {
  if (elsewhere) return 0;
  return slots.length === 0 ? null : Math.min(...slots.map(({ slot }) => slot));
}
