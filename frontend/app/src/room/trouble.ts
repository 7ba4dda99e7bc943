/** Why a camera, a microphone or a screen cannot be had, in words, and what to do about it. Pure. */

import { t } from "../i18n/words";

export type DeviceKind = "camera" | "microphone" | "screen";

const BUSY = { camera: "camera-busy", microphone: "microphone-busy", screen: "screen-busy" } as const;
const CHANGED = { camera: "camera-changed", microphone: "microphone-changed", screen: "screen-changed" } as const;
const UNUSABLE = { camera: "camera-unusable", microphone: "microphone-unusable", screen: "screen-unusable" } as const;

/**
 * What an error of `getUserMedia` or `getDisplayMedia` means; null where there is nothing to say: the choice of a screen was
 * cancelled.
 * @param secure `isSecureContext` of the page.
 */
export function explain(kind: DeviceKind, error: unknown, secure: boolean): string | null {
  // Browsers give devices to pages that came over https, and to those of this computer.
  if (!secure) return t("device-insecure");
  const name = error instanceof Error ? error.name : "";
  switch (name) {
    case "NotAllowedError":
    case "SecurityError":
      return kind === "screen" ? null : t(kind === "camera" ? "camera-refused" : "microphone-refused");
    case "NotFoundError":
      return t(kind === "screen" ? "screen-missing" : kind === "camera" ? "camera-missing" : "microphone-missing");
    case "NotReadableError":
    case "AbortError":
      return t(BUSY[kind]);
    case "OverconstrainedError":
      return t(CHANGED[kind]);
    case "TypeError":
    case "NotSupportedError":
      return t(kind === "screen" ? "screen-unsupported" : "device-insecure");
    default:
      return t(UNUSABLE[kind], { why: name === "" ? String(error) : name });
  }
}
