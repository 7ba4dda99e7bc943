import type { Api, Host, HostApp } from "@oriel/client";
import { useEffect, useState } from "react";
import { ConfirmDialog } from "../ui/ConfirmDialog";
import { Icon } from "../list/Icon";
import { Pill } from "../ui/Pill";
import { type Quality, RATES, SIZES, startOf, stateOf, USUAL } from "./form";
import { messageOf } from "../ui/problem";
import { PairDialog } from "./PairDialog";
import { t } from "../i18n/words";

type HostCardProps = { readonly api: Api; readonly host: Host; readonly onChanged: () => Promise<void> };

type Open = "nothing" | "pairing" | "removing" | "quitting";

/** One host: how it is, what it can play, and a way to pair with it. */
export function HostCard({ api, host, onChanged }: HostCardProps) {
  const [open, setOpen] = useState<Open>("nothing");
  const [failure, setFailure] = useState<string | null>(null);
  const { tone, text } = stateOf(host);
  const name = host.name === "" ? host.address : host.name;
  const close = (): void => {
    setOpen("nothing");
    void onChanged();
  };
  const attempt = async (work: () => Promise<void>): Promise<void> => {
    setFailure(null);
    try {
      await work();
      await onChanged();
    } catch (error) {
      setFailure(messageOf(error));
    }
  };
  return (
    <li className="host" data-testid={`host-${host.id}`} data-paired={host.paired} data-state={host.state}>
      <header>
        <div>
          <h2>{name}</h2>
          <p className="quiet-text">
            {host.address}:{host.http_port}
          </p>
        </div>
        <Pill tone={tone} text={text} testId="host-state" />
        <span className="toolbar-gap" />
        {host.state === "offline" && (
          <button
            className="button"
            type="button"
            data-testid="wake"
            onClick={() => void attempt(() => api.wakeHost(host.id))}
          >
            <Icon name="power" /> {t("wake")}
          </button>
        )}
        {host.paired && host.current_app !== null && (
          <button
            className="button"
            type="button"
            data-testid="quit-app"
            onClick={() => {
              setOpen("quitting");
            }}
          >
            <Icon name="stop" /> {t("quit-app", { app: host.current_app.name })}
          </button>
        )}
        {(!host.paired || host.certificate_changed) && host.state === "online" && (
          <button
            className="button primary"
            type="button"
            data-testid="pair"
            onClick={() => {
              setOpen("pairing");
            }}
          >
            {t("pair")}
          </button>
        )}
        <button
          className="icon-button"
          type="button"
          aria-label={t("remove-host", { name })}
          title={t("remove")}
          data-testid="remove-host"
          onClick={() => {
            setOpen("removing");
          }}
        >
          <Icon name="trash" />
        </button>
      </header>
      {failure !== null && (
        <p className="field-error" role="alert" data-testid="host-error">
          {failure}
        </p>
      )}
      {host.certificate_changed && (
        <p className="field-error" data-testid="certificate-changed">
          {t("certificate-changed")}
        </p>
      )}
      {host.paired && !host.certificate_changed && host.state === "online" && <Apps api={api} host={host} />}
      {open === "pairing" && <PairDialog api={api} host={host} onClose={close} />}
      {open === "removing" && (
        <ConfirmDialog
          title={t("remove-host-question", { name })}
          text={t("remove-host-text")}
          action={t("remove")}
          onConfirm={() => api.removeHost(host.id)}
          onClose={close}
        />
      )}
      {open === "quitting" && (
        <ConfirmDialog
          title={host.current_app === null ? t("quit-what-runs") : t("quit-question", { app: host.current_app.name })}
          text={t("quit-text")}
          action={t("quit")}
          onConfirm={() => api.quitHostApp(host.id)}
          onClose={close}
        />
      )}
    </li>
  );
}

type Listing =
  | { readonly kind: "loading" }
  | { readonly kind: "loaded"; readonly apps: readonly HostApp[] }
  | { readonly kind: "failed"; readonly why: string };

/** What a host can play, as tiles. */
function Apps({ api, host }: { readonly api: Api; readonly host: Host }) {
  const [listing, setListing] = useState<Listing>({ kind: "loading" });
  const [quality, setQuality] = useState<Quality>(USUAL);
  const [starting, setStarting] = useState<number | null>(null);
  const [failure, setFailure] = useState<string | null>(null);
  const { id } = host;
  useEffect(() => {
    const stop = new AbortController();
    const load = async (): Promise<Listing> => {
      try {
        return { kind: "loaded", apps: await api.hostApps(id, { signal: stop.signal }) };
      } catch (error) {
        return { kind: "failed", why: messageOf(error) };
      }
    };
    void load().then((found) => {
      if (!stop.signal.aborted) setListing(found);
    });
    return () => {
      stop.abort();
    };
  }, [api, id]);

  const start = async (app: HostApp): Promise<void> => {
    setStarting(app.id);
    setFailure(null);
    try {
      const streamer = await api.create(startOf(host, app.id, quality));
      location.assign(`s/${encodeURIComponent(streamer.id)}`);
    } catch (error) {
      setStarting(null);
      setFailure(messageOf(error));
    }
  };
  if (listing.kind === "loading") return <p className="quiet-text">{t("loading")}</p>;
  if (listing.kind === "failed")
    return (
      <p className="field-error" role="alert" data-testid="apps-error">
        {listing.why}
      </p>
    );
  return (
    <>
      <div className="quality" role="group" aria-label={t("how-streamed")}>
        <Choice
          label={t("size")}
          values={SIZES}
          value={quality.size}
          onChange={(size) => {
            setQuality({ ...quality, size });
          }}
        />
        <Choice
          label={t("frames-per-second")}
          values={RATES}
          value={quality.fps}
          onChange={(fps) => {
            setQuality({ ...quality, fps });
          }}
        />
        <label>
          Mbit/s
          <input
            type="number"
            min="0.5"
            max="150"
            step="0.5"
            value={quality.mbps}
            data-testid="mbps"
            onChange={(event) => {
              setQuality({ ...quality, mbps: event.target.value });
            }}
          />
        </label>
      </div>
      {failure !== null && (
        <p className="field-error" role="alert" data-testid="start-error">
          {failure}
        </p>
      )}
      <ul className="apps" data-testid="apps">
        {listing.apps.map((app) => (
          <li key={app.id}>
            <button
              type="button"
              className={host.current_app?.id === app.id ? "app running" : "app"}
              disabled={starting !== null}
              data-testid={`app-${app.id}`}
              onClick={() => void start(app)}
            >
              <AppImage api={api} host={host.id} app={app} />
              <span>{starting === app.id ? t("starting") : app.name === "" ? t("app", { id: String(app.id) }) : app.name}</span>
            </button>
          </li>
        ))}
      </ul>
    </>
  );
}

/** The picture of an app, asked for with the viewer's token; an empty frame while there is none. */
function AppImage({ api, host, app }: { readonly api: Api; readonly host: string; readonly app: HostApp }) {
  const [url, setUrl] = useState<string | null>(null);
  useEffect(() => {
    const stop = new AbortController();
    let made: string | null = null;
    api.hostAppImage(host, app, { signal: stop.signal }).then(
      (picture) => {
        if (stop.signal.aborted) return;
        made = URL.createObjectURL(picture);
        setUrl(made);
      },
      // Not every app has one.
      () => undefined,
    );
    return () => {
      stop.abort();
      if (made !== null) URL.revokeObjectURL(made);
    };
  }, [api, host, app]);
  return url === null ? <span className="app-image" /> : <img className="app-image" src={url} alt="" />;
}

type ChoiceProps = {
  readonly label: string;
  readonly values: readonly string[];
  readonly value: string;
  readonly onChange: (value: string) => void;
};

function Choice({ label, values, value, onChange }: ChoiceProps) {
  return (
    <label>
      {label}
      <select
        value={value}
        onChange={(event) => {
          onChange(event.target.value);
        }}
      >
        {values.map((one) => (
          <option key={one}>{one}</option>
        ))}
      </select>
    </label>
  );
}
