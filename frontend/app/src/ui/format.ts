/** Figures as people of the page's language read them. Pure. */

import { language, t } from "../i18n/words";

type Unit = "second" | "minute" | "hour" | "day";

const SECONDS: Readonly<Record<Unit, number>> = { second: 1, minute: 60, hour: 3600, day: 86_400 };

function inUnit(value: number, unit: Unit): string {
  return new Intl.NumberFormat(language(), { style: "unit", unit, unitDisplay: "short" }).format(value);
}

/** The largest unit that a time has one of, and the next smaller one. */
function unitOf(s: number): { readonly unit: Unit; readonly smaller: Unit | null } {
  if (s < 60) return { unit: "second", smaller: null };
  if (s < 3600) return { unit: "minute", smaller: null };
  return s < 86_400 ? { unit: "hour", smaller: "minute" } : { unit: "day", smaller: "hour" };
}

/** 3 sec, 12 min, 2 hr 5 min, 3 days 4 hr. */
export function duration(ms: number): string {
  const s = Math.max(0, Math.floor(ms / 1000));
  const { unit, smaller } = unitOf(s);
  const whole = inUnit(Math.floor(s / SECONDS[unit]), unit);
  return smaller === null ? whole : `${whole} ${inUnit(Math.floor((s % SECONDS[unit]) / SECONDS[smaller]), smaller)}`;
}

/** 3 minutes ago. */
export function ago(ms: number): string {
  const s = Math.max(0, Math.floor(ms / 1000));
  const { unit } = unitOf(s);
  return new Intl.RelativeTimeFormat(language()).format(-Math.floor(s / SECONDS[unit]), unit);
}

function decimal(value: number, digits: number): string {
  return new Intl.NumberFormat(language(), { minimumFractionDigits: digits, maximumFractionDigits: digits }).format(value);
}

/** 830 kbit/s, 2.4 Mbit/s. */
export function bitrate(bps: number): string {
  return bps >= 1_000_000 ? `${decimal(bps / 1_000_000, 1)} Mbit/s` : `${decimal(bps / 1000, 0)} kbit/s`;
}

/** 12.3 ms; a dash when there is no figure. */
export function milliseconds(ms: number | null, digits = 1): string {
  return ms === null ? "–" : `${decimal(ms, digits)} ms`;
}

/** Frames per second; a picture in which nothing moves needs none. */
export function rate(fps: number): string {
  const whole = Math.round(fps);
  return whole === 0 ? t("still") : t("fps", { rate: whole });
}

/** Ann, Bob and Cyd. */
export function listed(names: readonly string[]): string {
  return new Intl.ListFormat(language()).format(names);
}

/** 24 Dec 2026, 14:05. */
export function dateAndTime(at: Date): string {
  return at.toLocaleString(language(), { dateStyle: "medium", timeStyle: "short" });
}

/** 14:05. */
export function timeOfDay(at: Date): string {
  return at.toLocaleTimeString(language(), { hour: "2-digit", minute: "2-digit" });
}

const SIZES = ["byte", "kilobyte", "megabyte", "gigabyte", "terabyte"] as const;

/** 830 bytes, 1.5 kB, 120 MB. */
export function bytes(count: number): string {
  let value = count;
  let step = 0;
  while (value >= 1000 && step < SIZES.length - 1) {
    value /= 1000;
    step += 1;
  }
  const digits = step === 0 || value >= 100 ? 0 : 1;
  return new Intl.NumberFormat(language(), {
    style: "unit",
    unit: SIZES[step] ?? "byte",
    // Only the short names of bytes have no plural.
    unitDisplay: step === 0 ? "long" : "short",
    minimumFractionDigits: digits,
    maximumFractionDigits: digits,
  }).format(value);
}
