/** Plays as soon as possible: what is steered cannot be looked at later. */
export function preferLatency(receiver: RTCRtpReceiver): void {
  if (receiver.track.kind !== "video") return;
  const tunable = receiver as RTCRtpReceiver & {
    jitterBufferTarget?: number | null;
    playoutDelayHint?: number | null;
  };
  if ("jitterBufferTarget" in tunable) tunable.jitterBufferTarget = 0;
  if ("playoutDelayHint" in tunable) tunable.playoutDelayHint = 0;
}
