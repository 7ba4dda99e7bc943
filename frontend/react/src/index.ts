/**
 * React components that show and steer sessions, and show streams, many of them over one connection.
 *
 * ```tsx
 * import { CameraGrid, Desktop } from "@oriel/react";
 * import "@oriel/react/styles.css";
 *
 * <Desktop server="https://host/" session="mine" token={token} />
 * <CameraGrid server="https://host/" slots={["door", { stream: "yard", quality: "360p" }]} />
 * ```
 */

export { CameraGrid, type CameraGridProps } from "./CameraGrid";
export { Desktop, type DesktopProps } from "./Desktop";
export { type GridSlot, type Tone, TONES } from "./slots";
export { StatusBadge } from "./StatusBadge";
export { StreamView, type StreamViewProps } from "./StreamView";
export { type DesktopOptions, type DesktopSession, useDesktop } from "./useDesktop";
export { type MultiStream, useMultiStream } from "./useMultiStream";
export { ENGLISH, type Words, WordsContext } from "./words";
