/** Plays streams in video elements, within the autoplay rules of browsers. */

/** How it plays. `blocked`: not even a silent picture is allowed before the user does something. */
export type Playing = "with-sound" | "muted" | "blocked";

/**
 * Plays a track or a stream in a video element. With sound if it is not muted and the browser allows it, which
 * most do only after a click; else muted.
 */
export async function playStream(
  video: HTMLVideoElement,
  what: MediaStream | MediaStreamTrack,
): Promise<Playing> {
  const stream = what instanceof MediaStream ? what : new MediaStream([what]);
  if (video.srcObject !== stream) video.srcObject = stream;
  video.playsInline = true;
  try {
    await video.play();
    return video.muted ? "muted" : "with-sound";
  } catch (error) {
    // Another load has replaced it, or the element is gone: it must not be played any more.
    if (error instanceof DOMException && error.name === "AbortError") return "blocked";
    if (video.muted) return "blocked";
  }
  video.muted = true;
  try {
    await video.play();
    return "muted";
  } catch {
    return "blocked";
  }
}
