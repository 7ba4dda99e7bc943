/** Who is in a room, in words. Pure. */

import type { Room } from "@oriel/client";
import { t } from "../i18n/words";

/** 3 of 8 in it. */
export function occupancy({ participants, max_participants: most }: Pick<Room, "participants" | "max_participants">): string {
  if (participants === undefined) return t("room-most", { most });
  return participants === 0 ? t("room-nobody", { most }) : t("room-occupancy", { count: participants, most });
}
