/** Names of people. Pure. */

import type { Participant } from "@oriel/client";
import { t } from "../i18n/words";

/** What somebody is called: the name that was given, else a short mark to tell guests apart. */
export function nameOf({ displayName, peerId }: Pick<Participant, "displayName" | "peerId">): string {
  return displayName === undefined || displayName === "" ? t("guest", { mark: peerId.slice(-4) }) : displayName;
}
