/** Waiting for conditions, never for times. */

import { setTimeout as pause } from "node:timers/promises";

const POLL_MS = 40;

/** The first value of `read` that is neither undefined, null nor false; fails when `ms` have passed. */
export async function until<T>(
  what: string,
  read: () => Promise<T | undefined | null | false> | T | undefined | null | false,
  ms = 15_000,
): Promise<T> {
  const end = performance.now() + ms;
  for (;;) {
    const value = await read();
    if (value !== undefined && value !== null && value !== false) return value;
    if (performance.now() > end) throw new Error(`waited ${String(ms)} ms in vain: ${what}`);
    await pause(POLL_MS);
  }
}

/** A period over which something is measured, or in which something must not happen. */
export async function period(ms: number): Promise<void> {
  await pause(ms);
}
