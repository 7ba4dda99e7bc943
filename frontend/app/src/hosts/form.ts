/** The forms of the hosts' page as plain data, and what the server makes of them. Pure. */

import type { AddHostRequest, CreateRequest, Host } from "@oriel/client";
import type { Tone } from "../ui/Pill";
import { t } from "../i18n/words";

/** `name`, `name:port`, `1.2.3.4`, `[::1]:47989` or `::1`; null when the port is none. */
export function addressOf(text: string): AddHostRequest | null {
  const trimmed = text.trim();
  const [, bracketed, plain, port] = /^(?:\[([^\]]*)\]|([^:]*))(?::(\d+))?$/.exec(trimmed) ?? [];
  const address = bracketed ?? plain;
  // A bare IPv6 address has colons, but none of them is before a port.
  if (address === undefined) return trimmed === "" || /[^0-9a-f:.%]/i.test(trimmed) ? null : { address: trimmed };
  if (address === "") return null;
  if (port === undefined) return { address };
  const number = Number(port);
  return number >= 1 && number <= 65535 ? { address, http_port: number } : null;
}

/** How a stream is to be. */
export type Quality = {
  readonly size: string;
  readonly fps: string;
  readonly mbps: string;
};

export const SIZES = ["1280 × 720", "1920 × 1080", "2560 × 1440", "3840 × 2160"] as const;
export const RATES = ["30", "60", "120"] as const;
export const USUAL: Quality = { size: SIZES[0], fps: "60", mbps: "15" };

/** The body that starts an app. */
export function startOf(host: Host, app: number, { size, fps, mbps }: Quality): CreateRequest {
  const [width = 0, height = 0] = size.split(" × ").map(Number);
  return {
    source: {
      type: "moonlight",
      host_id: host.id,
      app,
      width,
      height,
      fps: Number(fps),
      bitrate_kbps: Math.round(Number(mbps) * 1000),
    },
  };
}

/** How a host is, in a word. */
export function stateOf({ state, paired, certificate_changed: changed, current_app: app }: Host): { readonly tone: Tone; readonly text: string } {
  if (state === "offline") return { tone: "quiet", text: t("host-offline") };
  if (changed) return { tone: "busy", text: t("host-other-certificate") };
  if (!paired) return { tone: "busy", text: t("host-not-paired") };
  return app === null ? { tone: "good", text: t("host-ready") } : { tone: "good", text: t("host-plays", { app: app.name }) };
}
