import type { ClientState, InputController, KeyboardMode, TouchMode } from "@oriel/client";
import { useEffect, useState } from "react";
import { Icon } from "../ui/Icon";
import type { Tone } from "../ui/Pill";
import { ClipboardPanel } from "./ClipboardPanel";
import { ControlBar } from "./ControlBar";
import { HostNotice } from "./HostNotice";
import { useClientState, useClientValue, useLatest, useRestart, useViews } from "./hooks";
import { labelOf } from "./label";
import type { ViewerModel } from "./model";
import { SharePanel } from "./SharePanel";
import { Stage } from "./Stage";
import { StateOverlay } from "./StateOverlay";
import { StatsPanel } from "./StatsPanel";
import { type Tool, Toolbar } from "./Toolbar";
import { useFullscreen } from "./useFullscreen";
import { useRoom } from "./room";
import { type Fitted, useFitting, useInputEvents, useMayList } from "./useViewing";
import "./viewer.css";

const SOUND_OFFER = "Click for sound";
const TOUCH_SCREEN = navigator.maxTouchPoints > 0;

/** One streamer, watched and steered. */
export function ViewerPage({ model }: { readonly model: ViewerModel }) {
  const { client, views } = model;
  const [stage, setStage] = useState<HTMLElement | null>(null);
  const [page, setPage] = useState<HTMLElement | null>(null);
  const [toolbar, setToolbar] = useState<HTMLElement | null>(null);

  const { state, at } = useClientState(client);
  const { arrangement, input, hasPicture } = useViews(views);
  const slots = useClientValue(client, "slots", (current) => current.slots);
  const slot = arrangement.main === null ? null : (slots.get(arrangement.main) ?? null);
  const info = slot?.info ?? null;
  const role = useClientValue(client, "role", (current) => current.role);
  const participants = useClientValue(client, "participants", (current) => current.participants);
  const interrupted = useLatest(client, "interrupted", false);
  const restarting = useRestart(client);
  const { possible: canFullscreen, fullscreen, toggle: toggleFullscreen } = useFullscreen(page);
  const { locked, offered, fromSession, takeOffered } = useInputEvents(client, input, toolbar);

  const mayList = useMayList(model.api, model.hasToken);
  const listUrl = mayList ? model.root.href : null;

  const [muted, setMuted] = useState(true);
  const [panel, setPanel] = useState<"none" | "clipboard" | "share">("none");
  const [statsShown, setStatsShown] = useState(false);
  const [fitted, setFitted] = useState<Fitted | null>(null);
  const [watchOnly, setWatchOnly] = useState(false);
  const [keyboardMode, setKeyboardMode] = useState<KeyboardMode>("physical");
  const [touchMode, setTouchMode] = useState<TouchMode>("mouse");
  const [thumbnails, setThumbnails] = useState(true);
  const resizable = info?.input === true && info.windowName === null;
  const fits = fitted !== null && fitted.slot === info?.slot && resizable && role === "controller";
  useFitting(client, stage, fits ? fitted : null);

  useEffect(() => {
    document.title = `${client.streamerId} – Oriel`;
  }, [client]);
  useEffect(() => {
    views.setMuted(muted);
  }, [views, muted]);
  useEffect(() => {
    if (input !== null) apply(input, !watchOnly, keyboardMode, touchMode);
  }, [input, watchOnly, keyboardMode, touchMode]);

  const inControl = useClientValue(client, "control", (current) => current.inControl);
  const steers = role === "controller" && inControl && !watchOnly;
  const live = state.kind === "connected" || (state.kind === "reconnecting" && state.mediaFlows);
  const hasSound = info !== null && info.audioMid !== null;
  const soundOffered = hasSound && muted && live;
  const room = useRoom(stage, info);
  const several = arrangement.order.length > 1;
  const windows = [...slots.values()].some((view) => view.info !== null && view.info.windowName !== null);
  const toPicture = (): void => {
    setPanel("none");
    input?.focus();
  };
  const clipboardTool: Tool = {
    id: "clipboard",
    icon: "clipboard",
    label: offered === null ? "Clipboard" : "Copy the session's clipboard",
    pressed: panel === "clipboard",
    highlighted: offered !== null,
    disabled: role !== "controller",
    use: () => {
      void takeOffered().then((copied) => {
        if (!copied) setPanel(panel === "clipboard" ? "none" : "clipboard");
      });
    },
  };
  const touchTool: Tool = {
    id: "touch",
    icon: "touch",
    label: touchMode === "mouse" ? "Fingers are the mouse" : "Fingers are fingers",
    pressed: touchMode === "touch",
    disabled: !steers,
    use: () => {
      setTouchMode(touchMode === "mouse" ? "touch" : "mouse");
    },
  };
  const tools: readonly Tool[] = [
    {
      id: "sound",
      icon: muted ? "muted" : "sound",
      label: !muted ? "Sound off" : soundOffered ? SOUND_OFFER : "Sound on",
      // Where there is room beside the picture it is offered there.
      ...(soundOffered && room === "none" ? { text: SOUND_OFFER, highlighted: true } : {}),
      pressed: !muted,
      disabled: !hasSound,
      use: () => {
        setMuted(!muted);
      },
    },
    {
      id: "lock",
      icon: "pointer",
      label: "Lock the pointer (Escape unlocks)",
      pressed: locked,
      disabled: !steers,
      use: () => {
        // Refused right after an unlock by the viewer: a second click does it.
        input?.lockPointer().catch(() => undefined);
      },
    },
    ...(TOUCH_SCREEN ? [touchTool] : []),
    clipboardTool,
    {
      id: "fit",
      icon: "fit",
      label: fitted !== null ? "Back to the size before, for everybody" : "Fit the session to the window, for everybody",
      pressed: fitted !== null,
      disabled: !steers || !resizable,
      use: () => {
        if (fitted !== null) {
          client.resize(fitted.slot, fitted.width, fitted.height);
          setFitted(null);
        } else if (info !== null) {
          const { slot, width, height } = info;
          if (width !== null && height !== null) setFitted({ slot, width, height });
        }
      },
    },
    {
      id: "share",
      icon: "share",
      label: "Share windows and streams",
      pressed: panel === "share",
      disabled: role !== "controller",
      use: () => {
        setPanel(panel === "share" ? "none" : "share");
      },
    },
    {
      id: "thumbnails",
      icon: "thumbnails",
      label: thumbnails ? "Hide what else is shared" : "Show what else is shared",
      pressed: thumbnails && several,
      disabled: !several,
      use: () => {
        setThumbnails(!thumbnails);
      },
    },
    {
      id: "follow",
      icon: "follow",
      label: "Follow the window that has the keyboard",
      pressed: arrangement.followFocus,
      disabled: !windows && !arrangement.followFocus,
      use: () => {
        views.follow(!arrangement.followFocus);
      },
    },
    {
      id: "watch-only",
      icon: "eye",
      label: role === "viewer" ? "You may only watch" : "Watch only",
      pressed: !steers,
      disabled: role !== "controller",
      use: () => {
        setWatchOnly(!watchOnly);
      },
    },
    {
      id: "stats",
      icon: "stats",
      label: "Statistics",
      pressed: statsShown,
      use: () => {
        setStatsShown(!statsShown);
      },
    },
    {
      id: "fullscreen",
      icon: fullscreen ? "windowed" : "fullscreen",
      label: fullscreen ? "Leave full screen" : "Full screen",
      pressed: fullscreen,
      disabled: !canFullscreen,
      use: toggleFullscreen,
    },
  ];
  const nothingShared = arrangement.main === null;
  const { tone, text } = describe(state, live, interrupted, hasPicture, nothingShared);

  return (
    <div
      className="viewer"
      ref={setPage}
      data-testid="viewer"
      data-state={state.kind}
      data-live={live && hasPicture}
    >
      <div
        ref={setStage}
        className={thumbnails && several ? "picture-area with-row" : "picture-area"}
        aria-hidden="true"
      />
      <div className="stage-area">
        <Stage
          client={client}
          views={views}
          arrangement={arrangement}
          dimmed={!live || interrupted}
          thumbnails={thumbnails}
        />
      </div>
      <StateOverlay
        streamerId={client.streamerId}
        listUrl={listUrl}
        hasToken={model.hasToken}
        state={state}
        at={at}
        slot={slot}
        nothingShared={nothingShared}
        sharing={panel === "share"}
        hasPicture={hasPicture}
        interrupted={interrupted}
        restarting={restarting}
        reached={client.peerId !== null}
        onRetry={() => {
          client.connect().catch(() => undefined);
        }}
        onRestart={async () => {
          await model.api.restart(client.streamerId);
          client.connect().catch(() => undefined);
        }}
        onLog={() => model.api.log(client.streamerId)}
        onShare={
          role === "controller"
            ? () => {
                setPanel("share");
              }
            : null
        }
      />
      {arrangement.notice !== null && (
        <p className="notice" role="status" data-testid="notice">
          {arrangement.notice}
        </p>
      )}
      <HostNotice client={client} />
      {live && <ControlBar client={client} />}
      {statsShown && <StatsPanel model={model} />}
      {soundOffered && room !== "none" && (
        <button
          className={room === "icon" ? "sound-offer narrow" : "sound-offer"}
          type="button"
          aria-label={SOUND_OFFER}
          title={SOUND_OFFER}
          data-testid="sound-offer"
          onMouseDown={(event) => {
            event.preventDefault();
          }}
          onClick={() => {
            setMuted(false);
          }}
        >
          <Icon name="muted" />
          {room === "text" && <> {SOUND_OFFER}</>}
        </button>
      )}
      <Toolbar
        name={client.streamerId}
        subject={info !== null && (several || info.windowName !== null) ? labelOf(info) : null}
        listUrl={listUrl}
        tone={tone}
        status={text}
        watchers={participants.length}
        tools={tools}
        keyboardMode={keyboardMode}
        onKeyboardMode={setKeyboardMode}
        hold={panel !== "none" || offered !== null || !live || nothingShared}
        setElement={setToolbar}
        onLeave={toPicture}
      >
        {panel === "clipboard" && (
          <ClipboardPanel
            input={input}
            fromSession={fromSession}
            fetchPicture={() => client.api.clipboardPicture(client.streamerId)}
            onDone={toPicture}
          />
        )}
        {panel === "share" && <SharePanel client={client} />}
      </Toolbar>
    </div>
  );
}

/** Hands the page's settings to the input. */
function apply(input: InputController, enabled: boolean, keyboard: KeyboardMode, touch: TouchMode): void {
  input.enabled = enabled;
  input.keyboardMode = keyboard;
  input.touchMode = touch;
}

type Status = { readonly tone: Tone; readonly text: string };

function describe(
  state: ClientState,
  live: boolean,
  interrupted: boolean,
  hasPicture: boolean,
  nothingShared: boolean,
): Status {
  switch (state.kind) {
    case "idle":
      return { tone: "quiet", text: "idle" };
    case "connecting":
      return { tone: "busy", text: "connecting" };
    case "connected":
      if (interrupted) return { tone: "busy", text: "interrupted" };
      if (nothingShared) return { tone: "quiet", text: "nothing shared" };
      return hasPicture ? { tone: "good", text: "live" } : { tone: "busy", text: "waiting" };
    case "reconnecting":
      return { tone: "busy", text: live ? "live, reconnecting" : "reconnecting" };
    case "ended":
      return { tone: state.reason.kind === "left" ? "quiet" : "bad", text: "ended" };
  }
}
