/** Waiting for conditions, never for times. */

import { setTimeout as pause } from "node:timers/promises";

const POLL_MS = 40;
/** Far more than anything takes: a machine that stands still for seconds must fail no test, and what passes does not wait for it. */
const MOST_MS = 45_000;

/** The first value of `read` that is neither undefined, null nor false; fails when `ms` have passed. */
export async function until<T>(
  what: string,
  read: () => Promise<T | undefined | null | false> | T | undefined | null | false,
  ms = MOST_MS,
): Promise<T> {
  const end = performance.now() + ms;
  for (;;) {
    // Read once more after the deadline: this process may have stood still meanwhile.
    const isLast = performance.now() > end;
    const value = await read();
    if (value !== undefined && value !== null && value !== false) return value;
    if (isLast) throw new Error(`waited ${String(ms)} ms in vain: ${what}`);
    await pause(POLL_MS);
  }
}

/** Waits until what is read is `value`; when it never is, the error says what it was. */
export async function becomes(what: string, read: () => unknown, value: unknown, ms?: number): Promise<void> {
  let last: unknown;
  try {
    await until(
      what,
      async () => {
        last = await read();
        return JSON.stringify(last) === JSON.stringify(value);
      },
      ms,
    );
  } catch (error) {
    throw new Error(`${what}: ${JSON.stringify(last)} instead of ${JSON.stringify(value)}`, { cause: error });
  }
}

/**
 * Waits until something stays as it is while something else happens, as what was under way takes its time to arrive; returns how it is then.
 * What goes on, however slowly, is not the same after it.
 */
export async function unchanged<T>(what: string, read: () => Promise<T>, meanwhile: () => Promise<unknown>): Promise<T> {
  const { value } = await until(what, async () => {
    const before = await read();
    await meanwhile();
    const value = await read();
    return JSON.stringify(value) === JSON.stringify(before) && { value };
  });
  return value;
}

/** A period over which something is measured, or in which something must not happen. */
export async function period(ms: number): Promise<void> {
  await pause(ms);
}
