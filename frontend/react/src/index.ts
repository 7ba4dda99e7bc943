/**
 * React components that show streams, many of them over one connection.
 *
 * ```tsx
 * import { CameraGrid } from "@oriel/react";
 * import "@oriel/react/styles.css";
 *
 * <CameraGrid server="https://host/" slots={["door", { stream: "yard", quality: "360p" }]} />
 * ```
 */

export { CameraGrid, type CameraGridProps } from "./CameraGrid";
export { type GridSlot, type Tone, TONES } from "./slots";
export { StatusBadge } from "./StatusBadge";
export { StreamView, type StreamViewProps } from "./StreamView";
export { type MultiStream, useMultiStream } from "./useMultiStream";
