/** Whether this browser can decode by itself, and what: asked before the decoders are loaded. */

import type { VideoCodec } from "../generated";

/** How each codec is asked for before anything of it has come. */
const SAMPLES: readonly [VideoCodec, string][] = [
  ["H264", "avc1.42e01f"],
  ["VP8", "vp8"],
  ["VP9", "vp09.00.51.08"],
  ["AV1", "av01.0.13M.08"],
  ["H265", "hev1.1.6.L153.B0"],
];

/** Whether the browser can decode at all: pages that are neither HTTPS nor of this machine have no WebCodecs. */
export function hasWebCodecs(): boolean {
  return typeof VideoDecoder !== "undefined" && typeof AudioDecoder !== "undefined";
}

let known: Promise<readonly VideoCodec[]> | undefined;

/** The codecs that the browser decodes. It is asked once: the first time takes a moment. */
export function decodableCodecs(): Promise<readonly VideoCodec[]> {
  return (known ??= askCodecs());
}

async function askCodecs(): Promise<readonly VideoCodec[]> {
  if (!hasWebCodecs()) return [];
  const asked = SAMPLES.map(async ([name, codec]) => {
    try {
      return (await VideoDecoder.isConfigSupported({ codec })).supported === true ? [name] : [];
    } catch {
      return [];
    }
  });
  return (await Promise.all(asked)).flat();
}
