/** Plays as soon as possible: steering needs low latency. */
export function preferLatency(receiver: RTCRtpReceiver): void {
  if (receiver.track.kind !== "video") return;
  const tunable = receiver as RTCRtpReceiver & {
    jitterBufferTarget?: number | null;
    playoutDelayHint?: number | null;
  };
  if ("jitterBufferTarget" in tunable) tunable.jitterBufferTarget = 0;
  if ("playoutDelayHint" in tunable) tunable.playoutDelayHint = 0;
}
