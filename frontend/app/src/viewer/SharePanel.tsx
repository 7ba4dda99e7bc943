import type { OrielClient, SlotRequest, Source, SourceState, Window } from "@oriel/client";
import { type ReactNode, useState } from "react";
import { usePoll } from "../ui/usePoll";
import { useClientValue } from "./hooks";
import { labelOf, labelOfWindow } from "./label";
import { messageOf } from "../ui/problem";
import { type PlainKey, t } from "../i18n/words";

const POLL_MS = 2_000;

const STATES: Readonly<Record<SourceState, PlainKey>> = {
  idle: "source-idle",
  starting: "source-starting",
  running: "source-running",
  offline: "source-is-offline",
};

type Offers = {
  /** Null where the session has no desktop. */
  readonly windows: readonly Window[] | null;
  readonly sources: readonly Source[];
};

/** Lists what is shared with everybody, and what could be. */
export function SharePanel({ client }: { readonly client: OrielClient }) {
  const { api, streamerId } = client;
  const slots = useClientValue(client, "slots", (current) => current.slots);
  const [offers, setOffers] = useState<Offers | null>(null);
  const [busy, setBusy] = useState<string | null>(null);
  const [error, setError] = useState<string | null>(null);

  usePoll(async (signal) => {
    const [windows, sources] = await Promise.all([
      // A session without a desktop returns an error.
      api.windows(streamerId, { signal }).catch(() => null),
      api.sources(streamerId, { signal }).catch(() => []),
    ]);
    if (!signal.aborted) setOffers({ windows, sources });
  }, POLL_MS);

  const run = async (key: string, work: () => Promise<unknown>): Promise<void> => {
    setBusy(key);
    setError(null);
    try {
      await work();
    } catch (failure) {
      setError(messageOf(failure));
    }
    setBusy(null);
  };
  const share = (key: string, request: SlotRequest): Promise<void> =>
    run(key, () => api.share(streamerId, request));

  const shared = [...slots.values()].flatMap(({ slot, info }) => (info === null ? [] : [{ slot, info }]));
  const isShared = (source: string): boolean => shared.some(({ info }) => info.source === source);
  const windows = (offers?.windows ?? []).filter(({ id }) => !isShared(`window-${id}`));
  const sources = (offers?.sources ?? []).filter(
    ({ name, source }) => source.type !== "window" && !isShared(name),
  );

  return (
    <section className="panel share-panel" aria-label={t("share")} data-testid="share-panel">
      {error !== null && (
        <p className="field-error" role="alert" data-testid="share-error">
          {error}
        </p>
      )}
      {shared.length > 0 && (
        <Group title={t("shared-with-everybody")}>
          {shared.map(({ slot, info }) => (
            <Row
              key={slot}
              name={labelOf(info)}
              detail={info.width === null || info.height === null ? t("no-picture-yet") : `${info.width} × ${info.height}`}
              action={t("stop")}
              testId={`stop-${slot}`}
              disabled={busy !== null}
              onAction={() => void run(`stop-${slot}`, () => api.clearSlot(streamerId, slot))}
            />
          ))}
        </Group>
      )}
      {windows.length > 0 && (
        <Group title={t("windows")}>
          {windows.map((window) => (
            <Row
              key={window.id}
              name={labelOfWindow(window)}
              detail={[window.app, `${window.width} × ${window.height}`]
                .filter((text) => text !== "")
                .join(" · ")}
              action={busy === `window-${window.id}` ? t("sharing") : t("share")}
              testId={`share-window-${window.id}`}
              disabled={busy !== null}
              onAction={() =>
                void share(`window-${window.id}`, { source: { type: "window", window_id: window.id } })
              }
            />
          ))}
        </Group>
      )}
      {sources.length > 0 && (
        <Group title={offers?.windows === null ? t("share-streams") : t("share-others")}>
          {sources.map(({ name, source, state, size }) => (
            <Row
              key={name}
              name={labelOf({
                source: name,
                windowName: null,
                appName: null,
                input: source.type === "desktop",
              })}
              detail={size === null ? t(STATES[state]) : `${size[0]} × ${size[1]}`}
              action={busy === name ? t("sharing") : t("share")}
              testId={`share-${name}`}
              disabled={busy !== null}
              onAction={() => void share(name, { source: name })}
            />
          ))}
        </Group>
      )}
      {offers === null && <p className="quiet-text">{t("share-looking")}</p>}
      {offers !== null && windows.length === 0 && sources.length === 0 && (
        <p className="quiet-text">
          {shared.length === 0 ? t("share-nothing") : t("share-nothing-else")}
        </p>
      )}
    </section>
  );
}

function Group({ title, children }: { readonly title: string; readonly children: ReactNode }) {
  return (
    <>
      <h2>{title}</h2>
      <ul>{children}</ul>
    </>
  );
}

type RowProps = {
  readonly name: string;
  readonly detail: string;
  readonly action: string;
  readonly testId: string;
  readonly disabled: boolean;
  readonly onAction: () => void;
};

function Row({ name, detail, action, testId, disabled, onAction }: RowProps) {
  return (
    <li>
      <span className="share-name" title={name}>
        {name}
        <span className="quiet-text">{detail}</span>
      </span>
      <button
        className="button small"
        type="button"
        disabled={disabled}
        data-testid={testId}
        onClick={onAction}
      >
        {action}
      </button>
    </li>
  );
}
