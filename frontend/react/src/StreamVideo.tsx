import { playStream } from "@oriel/client";
import type { MultiStreamClient } from "@oriel/client/multistream";
import { useEffect, useRef } from "react";

type StreamVideoProps = {
  readonly client: MultiStreamClient | null;
  readonly slot: number;
  readonly muted: boolean;
  readonly label: string;
  /** The browser allowed the picture, but no sound without a click. */
  readonly onMuted?: (() => void) | undefined;
};

/** The picture of one slot. The element is attached once: a switch changes what its track carries. */
export function StreamVideo({ client, slot, muted, label, onMuted }: StreamVideoProps) {
  const element = useRef<HTMLVideoElement>(null);
  const fellBack = useRef(onMuted);
  useEffect(() => {
    fellBack.current = onMuted;
  });
  useEffect(() => {
    const video = element.current;
    if (video === null || client === null) return;
    video.muted = muted;
    void playStream(video, client.stream(slot)).then((playing) => {
      if (!muted && playing === "muted") fellBack.current?.();
    });
  }, [client, slot, muted]);
  return <video ref={element} muted autoPlay playsInline aria-label={label} data-testid="stream-video" />;
}
