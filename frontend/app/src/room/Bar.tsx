import type { OrielClient } from "@oriel/client";
import { type ReactNode, useState } from "react";
import { Icon, type IconName } from "./Icon";
import { useClientValue } from "../viewer/hooks";
import { useLocalMedia } from "./hooks";
import type { Device, LocalMedia } from "./localMedia";
import { t } from "../i18n/words";

export type PanelName = "none" | "chat" | "people" | "devices";

const EMOJI = ["👍", "👏", "❤️", "😂", "😮", "🎉"];

type BarProps = {
  readonly client: OrielClient;
  readonly media: LocalMedia;
  /** This person's hand is raised. */
  readonly raised: boolean;
  readonly panel: PanelName;
  readonly setPanel: (panel: PanelName) => void;
  readonly unread: number;
  readonly tell: (text: string) => void;
  readonly onLeave: () => void;
};

/** What somebody can do in a room. */
export function Bar({ client, media, raised, panel, setPanel, unread, tell, onLeave }: BarProps) {
  const rights = useClientValue(client, "rights", (current) => current.rights);
  const local = useLocalMedia(media);
  const publishes = rights.includes("publish");
  const speaks = local.microphone.kind === "on" && !local.muted;
  const toggle = (name: PanelName): void => {
    setPanel(panel === name ? "none" : name);
  };
  /** Says why a device cannot be had, at once. */
  const open = async (kind: "camera" | "microphone" | "screen"): Promise<void> => {
    await media.open(kind);
    const device = media.state[kind];
    if (device.kind === "failed") tell(device.message);
  };
  return (
    <section className="bar" aria-label={t("what-you-can-do")} data-testid="bar">
      {publishes ? (
        <>
          <Tool
            id="microphone"
            icon={speaks ? "microphone" : "microphone-off"}
            label={speaks ? t("microphone-mute") : t("microphone-unmute")}
            device={local.microphone}
            off={!speaks}
            onClick={() => {
              if (local.microphone.kind === "on") media.setMuted(!local.muted);
              else void open("microphone");
            }}
          />
          <Tool
            id="camera"
            icon={local.camera.kind === "on" ? "camera" : "camera-off"}
            label={local.camera.kind === "on" ? t("camera-off") : t("camera-on")}
            device={local.camera}
            off={local.camera.kind !== "on"}
            onClick={() => {
              if (local.camera.kind === "on") media.close("camera");
              else void open("camera");
            }}
          />
          {showsScreens() && (
            <Tool
              id="screen"
              icon="share"
              label={local.screen.kind === "on" ? t("screen-stop") : t("screen-show")}
              device={local.screen}
              pressed={local.screen.kind === "on"}
              onClick={() => {
                if (local.screen.kind === "on") media.close("screen");
                else void open("screen");
              }}
            />
          )}
        </>
      ) : (
        <span className="quiet-text bar-note" data-testid="watches-only">
          {t("link-lets-watch")}
        </span>
      )}
      {rights.includes("chat") && <Reactions client={client} />}
      <Tool
        id="hand"
        icon="hand"
        label={raised ? t("hand-lower") : t("hand-raise")}
        pressed={raised}
        onClick={() => {
          client.raiseHand(!raised);
        }}
      />
      <span className="bar-gap" />
      <Tool
        id="people"
        icon="people"
        label={t("panel-people")}
        pressed={panel === "people"}
        onClick={() => {
          toggle("people");
        }}
      />
      <Tool
        id="chat"
        icon="chat"
        label={unread === 0 ? t("chat") : t("chat-unread", { count: unread })}
        pressed={panel === "chat"}
        onClick={() => {
          toggle("chat");
        }}
      >
        {unread > 0 && (
          <span className="badge" aria-hidden="true" data-testid="unread">
            {unread > 99 ? "99+" : unread}
          </span>
        )}
      </Tool>
      {publishes && (
        <Tool
          id="devices"
          icon="sliders"
          label={t("devices")}
          pressed={panel === "devices"}
          onClick={() => {
            toggle("devices");
          }}
        />
      )}
      <button className="bar-button leave" type="button" aria-label={t("leave")} title={t("leave")} data-testid="leave" onClick={onLeave}>
        <Icon name="leave" />
      </button>
    </section>
  );
}

/** The id of the element of a tool, for the focus to return to it. */
export function toolId(id: string): string {
  return `bar-${id}`;
}

/** Phones do not show their screens. */
function showsScreens(): boolean {
  return isSecureContext && "getDisplayMedia" in navigator.mediaDevices;
}

type ToolProps = {
  readonly id: string;
  readonly icon: IconName;
  readonly label: string;
  readonly device?: Device;
  readonly off?: boolean;
  readonly pressed?: boolean;
  readonly expanded?: boolean;
  readonly onClick: () => void;
  readonly children?: ReactNode;
};

function Tool({ id, icon, label, device, off, pressed, expanded, onClick, children }: ToolProps) {
  const failed = device?.kind === "failed" ? device.message : null;
  const classes = ["bar-button", off === true ? "off" : "", failed === null ? "" : "failed"];
  return (
    <button
      id={toolId(id)}
      className={classes.filter((name) => name !== "").join(" ")}
      type="button"
      aria-label={label}
      aria-pressed={pressed}
      aria-expanded={expanded}
      aria-busy={device?.kind === "opening"}
      title={failed ?? label}
      disabled={device?.kind === "opening"}
      data-testid={`bar-${id}`}
      onClick={onClick}
    >
      <Icon name={icon} />
      {children}
    </button>
  );
}

/** Emoji that everybody sees for a moment. */
function Reactions({ client }: { readonly client: OrielClient }) {
  const [open, setOpen] = useState(false);
  return (
    <div
      className="reactions"
      onKeyDown={(event) => {
        if (event.key === "Escape") setOpen(false);
      }}
      onBlur={(event) => {
        if (!event.currentTarget.contains(event.relatedTarget)) setOpen(false);
      }}
    >
      <Tool
        id="react"
        icon="smile"
        label={t("react")}
        expanded={open}
        onClick={() => {
          setOpen(!open);
        }}
      />
      {open && (
        <div className="reaction-choice" role="group" aria-label={t("reactions")} data-testid="reactions">
          {EMOJI.map((emoji) => (
            <button
              key={emoji}
              type="button"
              aria-label={t("react-with", { emoji })}
              onClick={() => {
                client.react(emoji);
                setOpen(false);
              }}
            >
              {emoji}
            </button>
          ))}
        </div>
      )}
    </div>
  );
}
