import type { InputController, OrielClient } from "@oriel/client";
import { useEffect, useState, useSyncExternalStore } from "react";
import { t } from "../i18n/words";
import { bitrate } from "../ui/format";
import { canBeLess, keepLimit, keptLimit, type Limit, LIMITS } from "./limit";
import { arePointersHidden, hidePointers, onPointersHidden } from "./pointersWanted";
import type { Settings } from "./useSettings";

type ViewPanelProps = {
  readonly client: OrielClient;
  /** Name of the source in the main view. */
  readonly source: string | null;
  readonly input: InputController;
  readonly settings: Settings;
  readonly hasSound: boolean;
};

const STEP = 1.25;

/** How large this viewer alone sees the picture, how it is scaled, and how loud the sound is. */
export function ViewPanel({ client, source, input, settings, hasSound }: ViewPanelProps) {
  const { scaling, setScaling } = settings;
  const [zoom, setZoom] = useState(input.zoom);
  const pointersHidden = useSyncExternalStore(onPointersHidden, arePointersHidden);
  const show = (scale: number): void => {
    setZoom(scaled(input, scale));
  };
  const pixels = Math.round((zoom / input.nativeZoom) * 100);
  return (
    <section className="panel view-panel" aria-label={t("view")} data-testid="view-panel">
      <div className="chips" role="group" aria-label={t("view-size")}>
        <Choice id="fit" name={t("view-fit")} on={zoom === 1} use={() => { show(1); }} />
        <Choice id="native" name={t("view-native")} on={pixels === 100} use={() => { show(input.nativeZoom); }} />
        <Choice id="smaller" name={t("view-smaller")} use={() => { show(zoom / STEP); }} />
        <Choice id="larger" name={t("view-larger")} use={() => { show(zoom * STEP); }} />
        <output data-testid="zoom">{t("percent", { percent: pixels })}</output>
      </div>
      <div className="chips" role="group" aria-label={t("view-scaling")}>
        <Choice id="smooth" name={t("view-smooth")} on={scaling === "smooth"} use={() => { setScaling("smooth"); }} />
        <Choice id="sharp" name={t("view-sharp")} on={scaling === "sharp"} use={() => { setScaling("sharp"); }} />
      </div>
      <div className="chips">
        <Choice id="pointers" name={t("view-pointers")} on={!pointersHidden} use={() => { hidePointers(!pointersHidden); }} />
      </div>
      {hasSound && <Sound settings={settings} />}
      <p className="hint">{t("view-hint")}</p>
      <DataLimit client={client} source={source} />
    </section>
  );
}

/** Some phones leave the volume to their own keys. */
function canSetVolume(): boolean {
  const video = document.createElement("video");
  video.volume = 0.5;
  return video.volume === 0.5;
}

function Sound({ settings: { muted, setMuted, volume, setVolume } }: { readonly settings: Settings }) {
  const percent = Math.round(volume * 100);
  return (
    <div className="chips" role="group" aria-label={t("sound")}>
      <Choice id="muted" name={t("sound-muted")} on={muted} use={() => { setMuted(!muted); }} />
      {canSetVolume() && (
        <label className="volume">
          {t("volume")}
          <input
            type="range"
            min="0"
            max="100"
            step="5"
            value={percent}
            aria-valuetext={t("percent", { percent })}
            data-testid="volume"
            onChange={({ target }) => {
              setVolume(Number(target.value) / 100);
              // Whoever turns it wants to hear it.
              setMuted(false);
            }}
          />
          <output>{t("percent", { percent })}</output>
        </label>
      )}
    </div>
  );
}

/** How much this viewer wants to be sent at most; nothing where the server cannot send less. */
function DataLimit({ client, source }: Pick<ViewPanelProps, "client" | "source">) {
  const [limit, setLimit] = useState(keptLimit);
  const [offered, setOffered] = useState(false);
  useEffect(() => {
    const stop = new AbortController();
    client.api.sources(client.streamerId, { signal: stop.signal }).then(
      (sources) => {
        setOffered(sources.some((one) => one.name === source && canBeLess(one)));
      },
      // Nothing is offered of which it is not known whether it helps.
      () => undefined,
    );
    return () => {
      stop.abort();
    };
  }, [client, source]);
  const choose = (wanted: Limit | null): void => {
    if (wanted === limit) return;
    setLimit(wanted);
    keepLimit(wanted);
    client.setMaxBitrate(wanted);
    // Said when connecting.
    client.disconnect();
    client.connect().catch(() => undefined);
  };
  if (!offered) return null;
  return (
    <>
      <div className="chips" role="group" aria-label={t("data-limit")}>
        <Choice id="limit-none" name={t("data-automatic")} on={limit === null} use={() => { choose(null); }} />
        {LIMITS.map((most) => (
          <Choice
            key={most}
            id={`limit-${most}`}
            name={t("data-at-most", { rate: bitrate(most * 1000) })}
            on={limit === most}
            use={() => { choose(most); }}
          />
        ))}
      </div>
      <p className="hint">{t("data-hint")}</p>
    </>
  );
}

/** A separate function, as a component may not assign to what it is given. */
function scaled(input: InputController, scale: number): number {
  input.zoom = scale;
  return input.zoom;
}

type ChoiceProps = { readonly id: string; readonly name: string; readonly on?: boolean; readonly use: () => void };

function Choice({ id, name, on, use }: ChoiceProps) {
  return (
    <button className="button small toggle" type="button" aria-pressed={on} data-testid={`view-${id}`} onClick={use}>
      {name}
    </button>
  );
}
