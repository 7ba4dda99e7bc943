/** Figures as people read them. Pure. */

/** 3 s, 12 min, 2 h 05 min, 3 d 4 h. */
export function duration(ms: number): string {
  const s = Math.max(0, Math.floor(ms / 1000));
  if (s < 60) return `${s} s`;
  const min = Math.floor(s / 60);
  if (min < 60) return `${min} min`;
  const h = Math.floor(min / 60);
  if (h < 24) return `${h} h ${String(min % 60).padStart(2, "0")} min`;
  return `${Math.floor(h / 24)} d ${h % 24} h`;
}

/** 830 kbit/s, 2.4 Mbit/s. */
export function bitrate(bps: number): string {
  return bps >= 1_000_000 ? `${(bps / 1_000_000).toFixed(1)} Mbit/s` : `${Math.round(bps / 1000)} kbit/s`;
}

/** 12.3 ms; a dash when there is no figure. */
export function milliseconds(ms: number | null, digits = 1): string {
  return ms === null ? "–" : `${ms.toFixed(digits)} ms`;
}

export function count(n: number, one: string, many: string): string {
  return `${n} ${n === 1 ? one : many}`;
}

/** Frames per second; a picture in which nothing moves needs none. */
export function rate(fps: number): string {
  const whole = Math.round(fps);
  return whole === 0 ? "still" : `${whole} fps`;
}

/** 830 bytes, 1.5 kB, 120 MB. */
export function bytes(count: number): string {
  const units = ["bytes", "kB", "MB", "GB", "TB"];
  let value = count;
  let unit = 0;
  while (value >= 1000 && unit < units.length - 1) {
    value /= 1000;
    unit += 1;
  }
  return `${unit === 0 || value >= 100 ? Math.round(value) : value.toFixed(1)} ${units[unit] ?? ""}`;
}
