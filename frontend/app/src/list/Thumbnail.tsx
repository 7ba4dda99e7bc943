import { type Api } from "@oriel/client";
import { useEffect, useRef, useState } from "react";
import { isSame, skipsAfter } from "./backoff";
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

  const last = useRef<{ readonly bytes: Uint8Array | null; readonly skips: number; readonly left: number }>({ bytes: null, skips: 0, left: 0 });
  usePoll(
    async (signal) => {
      if (slot === null) return;
      const { bytes: before, skips, left } = last.current;
      if (left > 0) {
        last.current = { bytes: before, skips, left: left - 1 };
        return;
      }
      try {
        const picture = await api.snapshot(id, { slot, format: "jpeg", width: WIDTH_PX }, { signal });
        const bytes = new Uint8Array(await picture.arrayBuffer());
        if (signal.aborted) return;
        const same = isSame(before, bytes);
        const wait = skipsAfter(skips, same);
        last.current = { bytes, skips: wait, left: wait };
        if (!same) setUrl(URL.createObjectURL(picture));
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
