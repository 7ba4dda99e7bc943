/** Names of slots' contents for people. Pure. */

import type { StreamInfo } from "@oriel/client";
import { t } from "../i18n/words";

type Named = Pick<StreamInfo, "source" | "windowName" | "appName" | "input">;

/** The title of a window, else its program, else the name of the source. */
export function labelOf({ source, windowName, appName, input }: Named): string {
  const named = [windowName, appName].find((name) => name !== null && name !== "");
  if (named !== undefined && named !== null) return named;
  if (source !== "main") return source;
  return input ? t("desktop") : t("main-picture");
}

/** The name of a window before it is shared. */
export function labelOfWindow(window: { readonly title: string; readonly app: string }): string {
  if (window.title !== "") return window.title;
  return window.app === "" ? t("window-without-title") : window.app;
}
