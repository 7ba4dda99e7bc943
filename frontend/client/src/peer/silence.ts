/** Notices that nothing arrives on a connection any more, sooner than ICE does, which waits for several checks. Pure. */

/** What a connection has received so far, of any kind: packets, requests and responses of ICE. */
export function heard(report: Iterable<Record<string, unknown>>): number | null {
  let sum: number | null = null;
  for (const entry of report) {
    const counters =
      entry.type === "transport"
        ? [entry.packetsReceived]
        : entry.type === "candidate-pair" && entry.nominated === true
          ? [entry.requestsReceived, entry.responsesReceived]
          : [];
    for (const counter of counters) {
      if (typeof counter === "number") sum = (sum ?? 0) + counter;
    }
  }
  return sum;
}

/** The streamer sends something every second. After this many without anything the path leads nowhere. */
const SILENT_SECONDS = 3;

/** To be asked once a second. */
export class Silence {
  #last: number | null = null;
  #seconds = 0;

  /** Whether the connection is silent, by what it has received in all; `null`: the browser does not say. */
  isSilent(count: number | null): boolean {
    this.#seconds = count !== null && count === this.#last ? this.#seconds + 1 : 0;
    this.#last = count;
    return this.#seconds >= SILENT_SECONDS;
  }
}
