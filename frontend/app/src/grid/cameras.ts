import type { Source } from "@oriel/client";

/**
 * The streams that are pictures of their own, by name: one that ffmpeg makes of another stream is that one again, smaller.
 * Pure.
 */
export function camerasOf(streams: readonly Pick<Source, "name" | "source">[]): readonly string[] {
  const names = new Set(streams.map(({ name }) => name));
  return streams
    .filter(({ source }) => !(source.type === "ffmpeg" && names.has(source.input)))
    .map(({ name }) => name);
}
