/** The buttons of the toolbar: their names, when they are enabled, and what they do. */

import type { ClipboardCopy, OrielClient } from "@oriel/client";
import { t } from "../i18n/words";
import { withWords } from "./onDemand";
import type { Tool } from "./Toolbar";
import { type ScreenKeyboard, TOUCH_SCREEN } from "./usePhone";
import type { SessionView } from "./useSession";
import type { Fullscreen } from "./useFullscreen";
import type { Settings } from "./useSettings";
import type { Fitted } from "./useViewing";
import type { Views } from "./views";

/** The panel that is open below the toolbar. */
export type Panel = "none" | "clipboard" | "files" | "invite" | "keys" | "people" | "share" | "view";

export type Toolbox = {
  readonly client: OrielClient;
  readonly views: Views;
  readonly session: SessionView;
  readonly settings: Settings;
  /** Those of the devices that the session's programs can have of this peer. */
  readonly devices: readonly Tool[];
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
  readonly fullscreen: Fullscreen;
  /** This viewer may give others links. */
  readonly mayInvite: boolean;
};

/** All buttons, from left to right. */
export function toolsOf(box: Toolbox): readonly Tool[] {
  return [
    sound(box),
    ...box.devices,
    ...(TOUCH_SCREEN ? [screenKeyboard(box)] : []),
    pointerLock(box),
    ...(TOUCH_SCREEN && box.takesTouch ? [touch(box)] : []),
    keys(box),
    clipboard(box),
    view(box),
    screenshot(box),
    ...(box.hasFiles ? [files(box)] : []),
    fit(box),
    share(box),
    ...(box.mayInvite ? [invite(box)] : []),
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
    label: !muted ? t("sound-off") : soundOffered ? t("sound-offer") : t("sound-on"),
    ...(offersSound ? { text: t("sound-offer"), highlighted: true } : {}),
    pressed: !muted,
    disabled: !session.hasSound,
    use: () => {
      setMuted(!muted);
    },
  };
}

function pointerLock({ session: { input }, locked, steers }: Toolbox): Tool {
  return {
    id: "lock",
    icon: "pointer",
    label: t("lock-pointer"),
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
    label: open ? t("keyboard-close") : t("keyboard"),
    pressed: open,
    disabled: !steers && !open,
    use: toggle,
  };
}

function touch({ settings: { touchMode, setTouchMode }, steers }: Toolbox): Tool {
  return {
    id: "touch",
    icon: "touch",
    label: touchMode === "mouse" ? t("fingers-mouse") : t("fingers-fingers"),
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
    label: offered === null ? t("clipboard") : t("clipboard-offer"),
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
    label: t("files-tool"),
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
    label: fitted !== null ? t("fit-back") : t("fit-window"),
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
    label: t("share-tool"),
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
    label: settings.thumbnails ? t("thumbnails-hide") : t("thumbnails-show"),
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
    label: t("follow"),
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
    label: role === "viewer" ? t("may-only-watch") : t("watch-only"),
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
    label: t("statistics"),
    pressed: statsShown,
    use: () => {
      setStatsShown(!statsShown);
    },
  };
}

function keys({ panel, setPanel, steers }: Toolbox): Tool {
  return {
    id: "keys",
    icon: "keys",
    label: t("keys"),
    pressed: panel === "keys",
    disabled: !steers,
    use: () => {
      setPanel(panel === "keys" ? "none" : "keys");
    },
  };
}

function view({ session: { input }, panel, setPanel }: Toolbox): Tool {
  return {
    id: "view",
    icon: "zoom",
    label: t("view"),
    pressed: panel === "view",
    disabled: input === null,
    use: () => {
      setPanel(panel === "view" ? "none" : "view");
    },
  };
}

function screenshot({ client, views, session: { hasPicture }, setPanel }: Toolbox): Tool {
  return {
    id: "screenshot",
    icon: "photo",
    label: t("screenshot"),
    disabled: !hasPicture,
    use: () => {
      const { main } = views;
      if (main === null) return;
      // It would cover what is told.
      setPanel("none");
      void withWords("panels", () => import("./screenshot")).then(async ({ saveScreenshot }) => {
        views.tell(await saveScreenshot(client, main));
      });
    },
  };
}

function invite({ panel, setPanel }: Toolbox): Tool {
  return {
    id: "invite",
    icon: "link",
    label: t("invite"),
    pressed: panel === "invite",
    use: () => {
      setPanel("invite");
    },
  };
}

function fullscreen({ fullscreen: { kind, on, toggle } }: Toolbox): Tool {
  const [enter, leave] = kind === "screen" ? [t("full-screen"), t("full-screen-leave")] : [t("full-window"), t("full-window-leave")];
  return {
    id: "fullscreen",
    icon: on ? "windowed" : "fullscreen",
    label: on ? leave : enter,
    pressed: on,
    use: toggle,
  };
}
