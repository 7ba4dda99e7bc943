import type { ClientState, InputController, KeyboardMode } from "@oriel/client";
import { useEffect, useState } from "react";
import { Icon } from "../ui/Icon";
import type { Tone } from "../ui/Pill";
import { ClipboardPanel } from "./ClipboardPanel";
import { useClientState, useClientValue, useInput, useLatest, useShownSlot } from "./hooks";
import type { ViewerModel } from "./model";
import { Stage } from "./Stage";
import { StateOverlay } from "./StateOverlay";
import { StatsPanel } from "./StatsPanel";
import { type Tool, Toolbar } from "./Toolbar";
import { useFullscreen } from "./useFullscreen";
import { useFitting, useHasPicture, useInputEvents } from "./useViewing";
import "./viewer.css";

/** One streamer, watched and steered. */
export function ViewerPage({ model }: { readonly model: ViewerModel }) {
  const { client, meter, screen } = model;
  const [page, setPage] = useState<HTMLElement | null>(null);
  const [toolbar, setToolbar] = useState<HTMLElement | null>(null);

  const { state, at } = useClientState(client);
  const slot = useShownSlot(client);
  const role = useClientValue(client, "role", (current) => current.role);
  const participants = useClientValue(client, "participants", (current) => current.participants);
  const interrupted = useLatest(client, "interrupted", false);
  const input = useInput(screen);
  const hasPicture = useHasPicture(client, meter);
  const { fullscreen, toggle: toggleFullscreen } = useFullscreen(page);
  const { locked, offered, fromSession, takeOffered } = useInputEvents(client, input, toolbar);

  const [muted, setMuted] = useState(true);
  const [panel, setPanel] = useState<"none" | "clipboard">("none");
  const [statsShown, setStatsShown] = useState(false);
  const [fitting, setFitting] = useState(false);
  const [watchOnly, setWatchOnly] = useState(false);
  const [keyboardMode, setKeyboardMode] = useState<KeyboardMode>("physical");
  useFitting(client, page, fitting && role === "controller");

  useEffect(() => {
    document.title = `${client.streamerId} – Oriel`;
  }, [client]);
  useEffect(() => {
    screen.setMuted(muted);
  }, [screen, muted]);
  useEffect(() => {
    if (input !== null) apply(input, !watchOnly, keyboardMode);
  }, [input, watchOnly, keyboardMode]);

  const steers = role === "controller" && !watchOnly;
  const hasSound = slot?.info?.audioMid !== undefined && slot.info.audioMid !== null;
  const live = state.kind === "connected" || (state.kind === "reconnecting" && state.mediaFlows);
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
  const tools: readonly Tool[] = [
    {
      id: "sound",
      icon: muted ? "muted" : "sound",
      label: muted ? "Sound on" : "Sound off",
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
    clipboardTool,
    {
      id: "fit",
      icon: "fit",
      label: "Fit the session to the window",
      pressed: fitting,
      disabled: !steers,
      use: () => {
        setFitting(!fitting);
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
      use: toggleFullscreen,
    },
  ];
  const { tone, text } = describe(state, live, interrupted, hasPicture);

  return (
    <div
      className="viewer"
      ref={setPage}
      data-testid="viewer"
      data-state={state.kind}
      data-live={live && hasPicture}
    >
      <Stage screen={screen} dimmed={!live || interrupted} />
      <StateOverlay
        streamerId={client.streamerId}
        listUrl={model.root.href}
        state={state}
        at={at}
        slot={slot}
        hasPicture={hasPicture}
        interrupted={interrupted}
        reached={client.peerId !== null}
        onRetry={() => {
          client.connect().catch(() => undefined);
        }}
      />
      {statsShown && <StatsPanel model={model} />}
      {hasSound && muted && live && (
        <button
          className="sound-offer"
          type="button"
          data-testid="sound-offer"
          onMouseDown={(event) => {
            event.preventDefault();
          }}
          onClick={() => {
            setMuted(false);
          }}
        >
          <Icon name="muted" /> Click for sound
        </button>
      )}
      <Toolbar
        name={client.streamerId}
        listUrl={model.root.href}
        tone={tone}
        status={text}
        watchers={participants.length}
        tools={tools}
        keyboardMode={keyboardMode}
        onKeyboardMode={setKeyboardMode}
        hold={panel !== "none" || offered !== null || !live}
        setElement={setToolbar}
        onLeave={toPicture}
      >
        {panel === "clipboard" && (
          <ClipboardPanel input={input} fromSession={fromSession} onDone={toPicture} />
        )}
      </Toolbar>
    </div>
  );
}

/** Hands the page's settings to the input. */
function apply(input: InputController, enabled: boolean, mode: KeyboardMode): void {
  input.enabled = enabled;
  input.keyboardMode = mode;
}

type Status = { readonly tone: Tone; readonly text: string };

function describe(state: ClientState, live: boolean, interrupted: boolean, hasPicture: boolean): Status {
  switch (state.kind) {
    case "idle":
      return { tone: "quiet", text: "idle" };
    case "connecting":
      return { tone: "busy", text: "connecting" };
    case "connected":
      if (interrupted) return { tone: "busy", text: "interrupted" };
      return hasPicture ? { tone: "good", text: "live" } : { tone: "busy", text: "waiting" };
    case "reconnecting":
      return { tone: "busy", text: live ? "live, reconnecting" : "reconnecting" };
    case "ended":
      return { tone: state.reason.kind === "left" ? "quiet" : "bad", text: "ended" };
  }
}
