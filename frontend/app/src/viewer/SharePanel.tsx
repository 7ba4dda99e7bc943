import { type OrielClient, ProblemError, type SlotRequest, type Source, type Window } from "@oriel/client";
import { type ReactNode, useState } from "react";
import { usePoll } from "../ui/usePoll";
import { useClientValue } from "./hooks";
import { labelOf, labelOfWindow } from "./label";

const POLL_MS = 2_000;

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
      setError(failure instanceof ProblemError ? failure.message : "The server cannot be reached.");
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
    <section className="panel share-panel" aria-label="Share" data-testid="share-panel">
      {error !== null && (
        <p className="field-error" role="alert" data-testid="share-error">
          {error}
        </p>
      )}
      {shared.length > 0 && (
        <Group title="Shared with everybody">
          {shared.map(({ slot, info }) => (
            <Row
              key={slot}
              name={labelOf(info)}
              detail={info.width === null || info.height === null ? "No picture yet" : `${info.width} × ${info.height}`}
              action="Stop"
              testId={`stop-${slot}`}
              disabled={busy !== null}
              onAction={() => void run(`stop-${slot}`, () => api.clearSlot(streamerId, slot))}
            />
          ))}
        </Group>
      )}
      {windows.length > 0 && (
        <Group title="Windows">
          {windows.map((window) => (
            <Row
              key={window.id}
              name={labelOfWindow(window)}
              detail={[window.app, `${window.width} × ${window.height}`]
                .filter((text) => text !== "")
                .join(" · ")}
              action={busy === `window-${window.id}` ? "Sharing…" : "Share"}
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
        <Group title={offers?.windows === null ? "Streams" : "The rest"}>
          {sources.map(({ name, source, state, size }) => (
            <Row
              key={name}
              name={labelOf({
                source: name,
                windowName: null,
                appName: null,
                input: source.type === "desktop",
              })}
              detail={size === null ? state : `${size[0]} × ${size[1]}`}
              action={busy === name ? "Sharing…" : "Share"}
              testId={`share-${name}`}
              disabled={busy !== null}
              onAction={() => void share(name, { source: name })}
            />
          ))}
        </Group>
      )}
      {offers === null && <p className="quiet-text">Looking for what can be shared…</p>}
      {offers !== null && windows.length === 0 && sources.length === 0 && (
        <p className="quiet-text">
          {shared.length === 0 ? "There is nothing that could be shared." : "There is nothing else to share."}
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
