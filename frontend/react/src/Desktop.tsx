import {
  type ClientState,
  type ClipboardCopy,
  copyToClipboard,
  type InputController,
  type KeyboardMode,
  type OrielClient,
  playStream,
  type TokenSource,
  type TouchMode,
} from "@oriel/client";
import { useContext, useEffect, useRef, useState } from "react";
import { describe, WordsContext } from "./words";
import { useDesktop } from "./useDesktop";

export type DesktopProps = {
  /** Root of the web-server. Another one is another connection. */
  readonly server: string | URL;
  /** Id of the session. Another one is another connection. */
  readonly session: string;
  /** Shown to the server, where it asks for one. */
  readonly token?: TokenSource;
  /** The name that others see, unless the token brings one. */
  readonly displayName?: string;
  /** Which slot is shown. Default: 0. */
  readonly slot?: number;
  /** Watch only: keyboard and pointer stay with the page. Default: false. */
  readonly readOnly?: boolean;
  /** Sound off to begin with; a button turns it on and off. Default: true. */
  readonly muted?: boolean;
  /** Take the keyboard as soon as input is possible, unless something else in the page has it. Default: false. */
  readonly autoFocus?: boolean;
  /** Keys by their place, or by the character that they make. Default: `physical`. */
  readonly keyboardMode?: KeyboardMode;
  /** How touches are sent. Default: `mouse`. */
  readonly touchMode?: TouchMode;
  /** Names the picture for those who cannot see it. Default: the id of the session. */
  readonly label?: string;
  /** Called with each state of the connection. */
  readonly onState?: (state: ClientState) => void;
  /** Called when the keyboard goes to the session, or no longer. */
  readonly onFocusChange?: (focused: boolean) => void;
  /** Receives the client, for what the component does not offer. */
  readonly onClient?: (client: OrielClient) => void;
};

/** The newest value, for effects that shall not begin anew with it. */
function useLatest<T>(value: T): { readonly current: T } {
  const latest = useRef(value);
  useEffect(() => {
    latest.current = value;
  });
  return latest;
}

/** A session that can be watched and steered, as large as its parent. */
export function Desktop(props: DesktopProps) {
  const { server, session, token, displayName, slot = 0, readOnly = false, autoFocus = false } = props;
  const { keyboardMode = "physical", touchMode = "mouse", label = session } = props;
  const [muted, setMuted] = useState(props.muted ?? true);
  const picture = useRef<HTMLVideoElement>(null);
  const [shown, setShown] = useState<MediaStream | null>(null);
  const { client, state, slots, streamsKnown, inputOpen, control } = useDesktop(server, session, { token, displayName });
  const view = slots.get(slot) ?? null;
  const stream = view?.stream ?? null;
  const { focused, offered, takeOffered } = useInput(client, picture, { ...props, slot, readOnly, autoFocus, keyboardMode, touchMode });

  const latest = useLatest(props);
  useEffect(() => {
    if (client !== null) latest.current.onClient?.(client);
  }, [client, latest]);
  useEffect(() => {
    latest.current.onState?.(state);
  }, [state, latest]);
  useEffect(() => {
    const element = picture.current;
    if (element === null || stream === null) return;
    element.muted = muted;
    void playStream(element, stream).then((playing) => {
      if (!muted && playing === "muted") setMuted(true);
    });
  }, [picture, stream, muted]);
  useEffect(() => {
    const element = picture.current;
    return element === null || stream === null ? undefined : client?.measureLatency(element, slot);
  }, [client, picture, slot, stream]);

  const info = view?.info ?? null;
  const words = useContext(WordsContext);
  const text = describe(state, shown !== null && shown === stream, streamsKnown && info === null, words);
  const hasSound = info !== null && info.audioMid !== null;
  const mayAsk = client?.role === "controller" && control.mode === "exclusive" && !client.inControl;
  const peerId = client?.peerId ?? null;
  const asked = peerId !== null && control.requests.includes(peerId);
  const ended = state.kind === "ended";
  return (
    <div
      className={focused ? "oriel-desktop oriel-focused" : "oriel-desktop"}
      data-testid="desktop"
      data-state={state.kind}
      data-input={inputOpen && !readOnly ? "open" : "closed"}
    >
      {/* The cursor and the field for the keyboard are put in here beside the video. */}
      <div className="oriel-surface">
        <video
          ref={picture}
          muted
          autoPlay
          playsInline
          disablePictureInPicture
          aria-label={label}
          onPlaying={(event) => {
            setShown(event.currentTarget.srcObject as MediaStream | null);
          }}
        />
      </div>
      {text !== null && (
        <p className="oriel-text" role="status">
          {text}
        </p>
      )}
      <div className="oriel-actions">
        {ended && (
          <button
            type="button"
            onClick={() => {
              client?.connect().catch(() => undefined);
            }}
          >
            {words.connectAgain}
          </button>
        )}
        {!readOnly && mayAsk && (
          <button
            type="button"
            disabled={asked}
            onClick={() => {
              client.requestControl();
            }}
          >
            {asked ? words.askedForControl : words.askForControl}
          </button>
        )}
        {offered !== null && (
          <button type="button" onClick={takeOffered}>
            {words.copyFromSession}
          </button>
        )}
        {hasSound && !ended && (
          <button
            type="button"
            aria-pressed={!muted}
            onClick={() => {
              setMuted(!muted);
            }}
          >
            {muted ? words.soundOn : words.soundOff}
          </button>
        )}
      </div>
    </div>
  );
}

type InputProps = Pick<DesktopProps, "onFocusChange"> &
  Required<Pick<DesktopProps, "slot" | "readOnly" | "autoFocus" | "keyboardMode" | "touchMode">>;

/** Steers with the element that shows the session, while it is there. */
function useInput(client: OrielClient | null, picture: { readonly current: HTMLVideoElement | null }, props: InputProps) {
  const { slot, readOnly, keyboardMode, touchMode } = props;
  const [focused, setFocused] = useState(false);
  const [offered, setOffered] = useState<ClipboardCopy | null>(null);
  const latest = useLatest(props);
  useEffect(() => {
    const video = picture.current;
    if (client === null || video === null || readOnly) return undefined;
    const input: InputController = client.attachInput(video, { slot, keyboardMode, touchMode });
    const focusIfIdle = (open: boolean): void => {
      const idle = document.activeElement === null || document.activeElement === document.body;
      if (open && idle && latest.current.autoFocus) input.focus();
    };
    const stops = [
      input.on("focus", (now) => {
        setFocused(now);
        latest.current.onFocusChange?.(now);
      }),
      input.on("clipboard-offered", setOffered),
      client.on("clipboard", () => {
        setOffered(null);
      }),
      client.on("input", focusIfIdle),
    ];
    focusIfIdle(client.inputOpen);
    return () => {
      for (const stop of stops) stop();
      input.detach();
      setFocused(false);
      setOffered(null);
    };
  }, [client, picture, slot, readOnly, keyboardMode, touchMode, latest]);

  const takeOffered = (): void => {
    if (client === null || offered === null) return;
    void copyToClipboard(offered, () => client.api.clipboardPicture(client.streamerId)).then((copied) => {
      if (copied) setOffered(null);
    });
  };
  return { focused, offered, takeOffered };
}
