import { type SubmitEvent, useEffect, useId, useRef, useState } from "react";
import { Icon, type IconName } from "./Icon";
import { useLocalMedia } from "./hooks";
import "../ui/form.css";
import { measure } from "./level";
import type { Device, LocalMedia } from "./localMedia";
import { LocalVideo } from "./TileView";
import { t } from "../i18n/words";
import { LanguageChoice } from "../ui/LanguageChoice";

/** The server takes no longer name. */
export const NAME_CHARS = 64;

type LobbyProps = {
  readonly title: string;
  /** Who is in already, in words; null while that is not known. */
  readonly occupancy: string | null;
  readonly media: LocalMedia;
  readonly name: string;
  readonly onJoin: (name: string) => void;
};

/** Before joining: a name, the devices and what they give. All of them may stay off. */
export function Lobby({ title, occupancy, media, name: remembered, onJoin }: LobbyProps) {
  const [name, setName] = useState(remembered);
  const nameId = useId();
  const { camera } = useLocalMedia(media);
  const submit = (event: SubmitEvent<HTMLFormElement>): void => {
    event.preventDefault();
    onJoin(name.trim());
  };
  return (
    <main className="lobby" data-testid="lobby">
      <div className="lobby-preview">
        {camera.kind === "on" ? (
          <LocalVideo track={camera.track} testId="preview" />
        ) : (
          <p className="quiet-text">{camera.kind === "opening" ? t("camera-starting") : t("camera-is-off")}</p>
        )}
      </div>
      <form className="lobby-form" onSubmit={submit}>
        <h1>{title}</h1>
        {occupancy !== null && <p className="quiet-text">{occupancy}</p>}
        <div className="field">
          <label htmlFor={nameId}>{t("your-name")}</label>
          <input
            id={nameId}
            value={name}
            maxLength={NAME_CHARS}
            autoComplete="name"
            data-testid="name"
            onChange={(event) => {
              setName(event.target.value);
            }}
          />
        </div>
        <DeviceSettings media={media} />
        {!isSecureContext && (
          <p className="field-error" role="alert" data-testid="insecure">
            {t("join-anyway", { trouble: t("device-insecure") })}
          </p>
        )}
        <button className="button primary" type="submit" data-testid="join">
          {t("join")}
        </button>
        <LanguageChoice />
      </form>
    </main>
  );
}

/** Camera and microphone: on or off, which one, what is wrong, and how loud. */
export function DeviceSettings({ media }: { readonly media: LocalMedia }) {
  const state = useLocalMedia(media);
  const { microphone } = state;
  return (
    <div className="devices">
      <DeviceRow
        kind="camera"
        label={t("camera")}
        which={t("which-camera")}
        any={t("any-camera")}
        device={state.camera}
        choices={state.cameras}
        chosen={state.cameraId}
        media={media}
      />
      <DeviceRow
        kind="microphone"
        label={t("microphone")}
        which={t("which-microphone")}
        any={t("any-microphone")}
        device={microphone}
        choices={state.microphones}
        chosen={state.microphoneId}
        media={media}
      />
      {microphone.kind === "on" && <LevelMeter track={microphone.track} />}
    </div>
  );
}

type DeviceRowProps = {
  readonly kind: "camera" | "microphone";
  readonly label: string;
  /** Names the choice of one of several. */
  readonly which: string;
  /** Whichever the browser takes. */
  readonly any: string;
  readonly device: Device;
  readonly choices: readonly { readonly id: string; readonly label: string }[];
  readonly chosen: string | null;
  readonly media: LocalMedia;
};

function DeviceRow({ kind, label, which, any, device, choices, chosen, media }: DeviceRowProps) {
  const on = device.kind === "on";
  const icon: IconName = on ? kind : `${kind}-off`;
  const state = device.kind === "opening" ? t("device-starting") : on ? t("on") : t("off");
  const current = on ? (device.track.getSettings().deviceId ?? "") : (chosen ?? "");
  return (
    <div className="device">
      <button
        className={on ? "button device-switch on" : "button device-switch"}
        type="button"
        role="switch"
        aria-checked={on}
        aria-label={`${label}, ${state}`}
        disabled={device.kind === "opening"}
        data-testid={`${kind}-switch`}
        onClick={() => {
          if (on) media.close(kind);
          else void media.open(kind);
        }}
      >
        <Icon name={icon} />
        <span>{state}</span>
      </button>
      <select
        aria-label={which}
        value={choices.some(({ id }) => id === current) ? current : ""}
        disabled={choices.length === 0}
        data-testid={`${kind}-choice`}
        onChange={(event) => {
          void media.choose(kind, event.target.value);
        }}
      >
        <option value="">{choices.length === 0 ? label : any}</option>
        {choices.map(({ id, label: name }) => (
          <option key={id} value={id}>
            {name}
          </option>
        ))}
      </select>
      {device.kind === "failed" && (
        <p className="field-error" role="alert" data-testid={`${kind}-error`}>
          {device.message}
        </p>
      )}
    </div>
  );
}

/** How loud the microphone is. */
function LevelMeter({ track }: { readonly track: MediaStreamTrack }) {
  const bar = useRef<HTMLDivElement>(null);
  const meter = useRef<HTMLDivElement>(null);
  useEffect(
    () =>
      // Not by way of React: it changes some times a second.
      measure(track, (level) => {
        if (bar.current !== null) bar.current.style.transform = `scaleX(${level.toFixed(3)})`;
        meter.current?.setAttribute("aria-valuenow", String(Math.round(level * 100)));
      }),
    [track],
  );
  return (
    <div
      ref={meter}
      className="level"
      role="meter"
      aria-label={t("microphone-level")}
      aria-valuemin={0}
      aria-valuemax={100}
      aria-valuenow={0}
      data-testid="level"
    >
      <div ref={bar} className="level-bar" />
    </div>
  );
}
