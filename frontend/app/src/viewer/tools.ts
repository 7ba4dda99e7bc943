/** The buttons of the toolbar: their names, when they are enabled, and what they do. */

import type { ClipboardCopy, OrielClient } from "@oriel/client";
import { SOUND_OFFER } from "./SoundOffer";
import type { Tool } from "./Toolbar";
import type { Microphone } from "./useMicrophone";
import { type ScreenKeyboard, TOUCH_SCREEN } from "./usePhone";
import type { SessionView } from "./useSession";
import type { Settings } from "./useSettings";
import type { Fitted } from "./useViewing";
import type { Views } from "./views";

/** The panel that is open below the toolbar. */
export type Panel = "none" | "clipboard" | "share" | "files";

export type Toolbox = {
  readonly client: OrielClient;
  readonly views: Views;
  readonly session: SessionView;
  readonly settings: Settings;
  /** What the session's programs hear of this peer. */
  readonly microphone: Microphone;
  readonly keyboard: ScreenKeyboard;
  /** The main view takes touches as such. */
  readonly takesTouch: boolean;
  /** This peer may steer, and wants to. */
  readonly steers: boolean;
  /** There is sound that is still muted, and no room beside the picture to offer it. */
  readonly offersSound: boolean;
  /** The same, wherever it is offered. */
  readonly soundOffered: boolean;
  readonly panel: Panel;
  readonly setPanel: (panel: Panel) => void;
  /** The session has files that this viewer may have. */
  readonly hasFiles: boolean;
  /** Content copied in the session that waits for a click. */
  readonly offered: ClipboardCopy | null;
  readonly takeOffered: () => Promise<boolean>;
  /** The pointer is locked to the picture. */
  readonly locked: boolean;
  /** The size that a fitted session goes back to; null: it is not fitted. */
  readonly fitted: Fitted | null;
  readonly setFitted: (fitted: Fitted | null) => void;
  /** Whether the content of the main view can be resized. */
  readonly resizable: boolean;
  readonly fullscreen: { readonly possible: boolean; readonly fullscreen: boolean; readonly toggle: () => void };
};

/** All buttons, from left to right. */
export function toolsOf(box: Toolbox): readonly Tool[] {
  return [
    sound(box),
    ...(box.session.hasMicrophone ? [microphone(box)] : []),
    ...(TOUCH_SCREEN ? [screenKeyboard(box)] : []),
    pointerLock(box),
    ...(TOUCH_SCREEN && box.takesTouch ? [touch(box)] : []),
    clipboard(box),
    ...(box.hasFiles ? [files(box)] : []),
    fit(box),
    share(box),
    thumbnails(box),
    follow(box),
    watchOnly(box),
    stats(box),
    fullscreen(box),
  ];
}

function sound({ session, settings: { muted, setMuted }, offersSound, soundOffered }: Toolbox): Tool {
  return {
    id: "sound",
    icon: muted ? "muted" : "sound",
    label: !muted ? "Sound off" : soundOffered ? SOUND_OFFER : "Sound on",
    ...(offersSound ? { text: SOUND_OFFER, highlighted: true } : {}),
    pressed: !muted,
    disabled: !session.hasSound,
    use: () => {
      setMuted(!muted);
    },
  };
}

function microphone({ session: { role, rights }, microphone: { device, heard, toggle } }: Toolbox): Tool {
  const may = role === "controller" && rights.includes("publish");
  const open = device.kind === "on" || device.kind === "opening";
  const label = !may
    ? "You may not speak to the session's programs"
    : heard
      ? "The session's programs hear you: microphone off"
      : open
        ? "The microphone is being turned on: turn it off"
        : "Let the session's programs hear your microphone";
  return {
    id: "microphone",
    icon: open ? "microphone" : "microphone-off",
    label,
    pressed: open,
    highlighted: heard,
    disabled: !may && !open,
    use: toggle,
  };
}

function pointerLock({ session: { input }, locked, steers }: Toolbox): Tool {
  return {
    id: "lock",
    icon: "pointer",
    label: "Lock the pointer (Escape unlocks)",
    pressed: locked,
    disabled: !steers,
    use: () => {
      // Refused right after an unlock by the viewer: a second click does it.
      input?.lockPointer().catch(() => undefined);
    },
  };
}

function screenKeyboard({ keyboard: { open, toggle }, steers }: Toolbox): Tool {
  return {
    id: "screen-keyboard",
    icon: "keyboard",
    label: open ? "Close the keyboard" : "Keyboard",
    pressed: open,
    disabled: !steers && !open,
    use: toggle,
  };
}

function touch({ settings: { touchMode, setTouchMode }, steers }: Toolbox): Tool {
  return {
    id: "touch",
    icon: "touch",
    label: touchMode === "mouse" ? "Fingers are the mouse" : "Fingers are fingers",
    pressed: touchMode === "touch",
    disabled: !steers,
    use: () => {
      setTouchMode(touchMode === "mouse" ? "touch" : "mouse");
    },
  };
}

function clipboard({ session: { role }, panel, setPanel, offered, takeOffered }: Toolbox): Tool {
  return {
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
}

function files({ panel, setPanel }: Toolbox): Tool {
  return {
    id: "files",
    icon: "folder",
    label: "Files of the session",
    pressed: panel === "files",
    use: () => {
      setPanel(panel === "files" ? "none" : "files");
    },
  };
}

function fit({ client, session: { info }, fitted, setFitted, steers, resizable }: Toolbox): Tool {
  return {
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
  };
}

function share({ session: { role }, panel, setPanel }: Toolbox): Tool {
  return {
    id: "share",
    icon: "share",
    label: "Share windows and streams",
    pressed: panel === "share",
    disabled: role !== "controller",
    use: () => {
      setPanel(panel === "share" ? "none" : "share");
    },
  };
}

function thumbnails({ session: { several }, settings }: Toolbox): Tool {
  return {
    id: "thumbnails",
    icon: "thumbnails",
    label: settings.thumbnails ? "Hide what else is shared" : "Show what else is shared",
    pressed: settings.thumbnails && several,
    disabled: !several,
    use: () => {
      settings.setThumbnails(!settings.thumbnails);
    },
  };
}

function follow({ views, session: { arrangement, hasWindows } }: Toolbox): Tool {
  return {
    id: "follow",
    icon: "follow",
    label: "Follow the window that has the keyboard",
    pressed: arrangement.followFocus,
    disabled: !hasWindows && !arrangement.followFocus,
    use: () => {
      views.follow(!arrangement.followFocus);
    },
  };
}

function watchOnly({ session: { role }, settings, steers }: Toolbox): Tool {
  return {
    id: "watch-only",
    icon: "eye",
    label: role === "viewer" ? "You may only watch" : "Watch only",
    pressed: !steers,
    disabled: role !== "controller",
    use: () => {
      settings.setWatchOnly(!settings.watchOnly);
    },
  };
}

function stats({ settings: { statsShown, setStatsShown } }: Toolbox): Tool {
  return {
    id: "stats",
    icon: "stats",
    label: "Statistics",
    pressed: statsShown,
    use: () => {
      setStatsShown(!statsShown);
    },
  };
}

function fullscreen({ fullscreen: { possible, fullscreen: full, toggle } }: Toolbox): Tool {
  return {
    id: "fullscreen",
    icon: full ? "windowed" : "fullscreen",
    label: full ? "Leave full screen" : "Full screen",
    pressed: full,
    disabled: !possible,
    use: toggle,
  };
}
