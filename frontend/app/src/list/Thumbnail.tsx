import { type Api } from "@oriel/client";
import { useEffect, useRef, useState } from "react";
import { skipsAfter } from "./backoff";
import { Icon } from "./Icon";
import { usePoll } from "../ui/usePoll";
import { t } from "../i18n/words";

const PERIOD_MS = 5_000;
const WIDTH_PX = 480;

type ThumbnailProps = {
  readonly api: Api;
  readonly id: string;
  /** Null: it shows nothing. */
  readonly slot: number | null;
  readonly live: boolean;
};

/** A picture of what a streamer shows, renewed while it can be seen. */
export function Thumbnail(props: ThumbnailProps) {
  const { api, id, slot, live } = props;
  const frame = useRef<HTMLDivElement>(null);
  const [inView, setInView] = useState(false);
  const [url, setUrl] = useState<string | null>(null);

  useEffect(() => {
    const element = frame.current;
    if (element === null) return undefined;
    const observer = new IntersectionObserver(([entry]) => {
      setInView(entry?.isIntersecting ?? false);
    });
    observer.observe(element);
    return () => {
      observer.disconnect();
    };
  }, []);

  useEffect(
    () => () => {
      if (url !== null) URL.revokeObjectURL(url);
    },
    [url],
  );

  const last = useRef<{ readonly etag: string | null; readonly skips: number; readonly left: number }>({ etag: null, skips: 0, left: 0 });
  usePoll(
    async (signal) => {
      if (slot === null) return;
      const { etag: before, skips, left } = last.current;
      if (left > 0) {
        last.current = { etag: before, skips, left: left - 1 };
        return;
      }
      try {
        const changed = await api.newSnapshot(id, before, { slot, format: "jpeg", width: WIDTH_PX }, { signal });
        if (signal.aborted) return;
        const wait = skipsAfter(skips, changed === null);
        last.current = { etag: changed === null ? before : changed.etag, skips: wait, left: wait };
        if (changed !== null) setUrl(URL.createObjectURL(changed.picture));
      } catch {
        // The last picture stays; the card's state says how the streamer is.
      }
    },
    PERIOD_MS,
    live && inView && slot !== null,
  );

  return (
    <div className="thumbnail" ref={frame} data-testid="thumbnail">
      {url === null || slot === null ? (
        <span className="thumbnail-empty">
          <Icon name="window" />
          {live && slot === null && <span>{t("nothing-is-shared")}</span>}
        </span>
      ) : (
        <img src={url} decoding="async" alt={t("picture-of", { name: id })} className={live ? "" : "stale"} />
      )}
    </div>
  );
}
