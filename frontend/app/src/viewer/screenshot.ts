/** Saves the picture of the main view. Loaded when it is first wanted. */

import type { OrielClient } from "@oriel/client";
import { t } from "../i18n/words";
import { save } from "../ui/save";
import type { Screen } from "./screen";

/** The session and the time here, in an order that sorts: `demo-2026-03-09-140509.png`. Pure. */
export function nameOfScreenshot(session: string, at: Date): string {
  const two = (value: number): string => String(value).padStart(2, "0");
  const day = [at.getFullYear(), two(at.getMonth() + 1), two(at.getDate())].join("-");
  const time = [at.getHours(), at.getMinutes(), at.getSeconds()].map(two).join("");
  return `${session}-${day}-${time}.png`;
}

/** @returns what became of it, in words. */
export async function saveScreenshot(client: OrielClient, screen: Screen): Promise<string> {
  // As it was before it was compressed; what the server does not give is taken from what is shown.
  const picture = await client.api.snapshot(client.streamerId, { slot: screen.slot }).catch(() => shown(screen.video));
  if (picture === null) return t("screenshot-failed");
  const name = nameOfScreenshot(client.streamerId, new Date());
  save(picture, name);
  return t("screenshot-saved", { name });
}

/** The frame that a video shows now, in its own size; null while it shows none. */
function shown(video: HTMLVideoElement | null): Promise<Blob | null> {
  if (video === null || video.videoWidth === 0) return Promise.resolve(null);
  const canvas = document.createElement("canvas");
  canvas.width = video.videoWidth;
  canvas.height = video.videoHeight;
  canvas.getContext("2d")?.drawImage(video, 0, 0);
  return new Promise((done) => {
    canvas.toBlob(done, "image/png");
  });
}
