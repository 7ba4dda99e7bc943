import type { TokenSource } from "@oriel/client";
import { type MouseEvent, useContext, useMemo, useState } from "react";
import { explain, normalise } from "./slots";
import { StatusBadge } from "./StatusBadge";
import { StreamVideo } from "./StreamVideo";
import { useMultiStream } from "./useMultiStream";
import { WordsContext } from "./words";

export type StreamViewProps = {
  /** Root of the web-server. */
  readonly server: string | URL;
  /** Shown to the server, where it asks for one. */
  readonly token?: TokenSource;
  /** Name of the stream; another one is a switch, not another connection. */
  readonly stream: string;
  /** `""` or `"native"`: the stream itself; else a rendition as in `"360p"`. */
  readonly quality?: string;
  /** Sound off to begin with; a click turns it on and off. Default: true. */
  readonly muted?: boolean;
  /** Show how it is doing also while all is well. Default: false. */
  readonly badge?: boolean;
};

/** One stream, as large as its parent. */
export function StreamView(props: StreamViewProps) {
  const { server, stream, quality = "", badge = false, token = null } = props;
  const [muted, setMuted] = useState(props.muted ?? true);
  const tiles = useMemo(() => normalise([{ stream, quality }]), [stream, quality]);
  const { client, statuses, refused } = useMultiStream(server, tiles, token);
  const status = statuses.get(0) ?? null;
  const words = useContext(WordsContext);
  const text = refused ?? explain(status, words);
  const toggle = (event: MouseEvent): void => {
    event.preventDefault();
    setMuted(!muted);
  };
  return (
    <div className="oriel-view" data-testid="stream-view" data-status={status?.status ?? "connecting"}>
      <StreamVideo
        client={client}
        slot={0}
        muted={muted}
        label={stream}
        onMuted={() => {
          setMuted(true);
        }}
      />
      <button
        className="oriel-sound"
        type="button"
        onClick={toggle}
        aria-pressed={!muted}
        data-testid="sound"
      >
        <span className="oriel-hint">{muted ? words.clickForSound : words.clickToMute}</span>
      </button>
      {text !== null && (
        <p className="oriel-text" role="status">
          {text}
        </p>
      )}
      {status !== null && (badge || status.status !== "active") && <StatusBadge status={status.status} />}
    </div>
  );
}
