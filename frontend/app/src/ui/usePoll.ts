import { useEffect, useRef } from "react";

/**
 * Calls `work` at once and then `ms` after the end of each call, while `active` and the page is visible.
 * The signal aborts when that changes. `work` handles its own errors.
 */
export function usePoll(work: (signal: AbortSignal) => Promise<void>, ms: number, active = true): void {
  const latest = useRef(work);
  useEffect(() => {
    latest.current = work;
  });
  useEffect(() => {
    if (!active) return undefined;
    let run: AbortController | null = null;
    const stop = (): void => {
      run?.abort();
      run = null;
    };
    const start = (): void => {
      if (run !== null || document.visibilityState === "hidden") return;
      run = new AbortController();
      void repeat(run.signal, ms, (signal) => latest.current(signal));
    };
    const visibilityChanged = (): void => {
      if (document.visibilityState === "hidden") stop();
      else start();
    };
    document.addEventListener("visibilitychange", visibilityChanged);
    start();
    return () => {
      document.removeEventListener("visibilitychange", visibilityChanged);
      stop();
    };
  }, [ms, active]);
}

async function repeat(
  signal: AbortSignal,
  ms: number,
  work: (signal: AbortSignal) => Promise<void>,
): Promise<void> {
  while (!signal.aborted) {
    await work(signal);
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, ms);
      signal.addEventListener("abort", () => {
        clearTimeout(timer);
        resolve();
      });
    });
  }
}
