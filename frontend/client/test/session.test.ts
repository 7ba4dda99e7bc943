import { describe, expect, it } from "vitest";
import {
  advance,
  endOfStreamer,
  IDLE,
  retryDelay,
  type Session,
  type SessionEvent,
  type Step,
} from "../src/session";

/** Runs events, each with its time; the last step. */
function run(...events: [number, SessionEvent][]): Step {
  return events.reduce<Step>(({ state }, [now, event]) => advance(state, event, now, 0.5), {
    state: IDLE,
    commands: [],
  });
}

const START: [number, SessionEvent] = [0, { type: "start" }];
const CONNECTED: [number, SessionEvent] = [100, { type: "connected" }];

describe("a session", () => {
  it("opens a WebSocket at once", () => {
    expect(run(START)).toEqual({
      state: { kind: "connecting", step: "server" },
      commands: [{ type: "open", resume: false }],
    });
  });

  it("keeps the media and resumes when only the WebSocket is lost", () => {
    const lost = run(START, CONNECTED, [10_000, { type: "socket-lost", media: true, another: false }]);
    expect(lost.state).toEqual({ kind: "waiting", attempt: 1, retryAt: 10_250, media: true });
    expect(lost.commands).toEqual([
      { type: "close", keepMedia: true },
      { type: "wait", ms: 250 },
    ]);
    const retry = advance(lost.state, { type: "timer" }, 10_250, 0.5);
    expect(retry.commands).toEqual([{ type: "open", resume: true }]);
    const back = advance(retry.state, { type: "connected" }, 10_300, 0.5);
    expect(back.state.kind).toBe("connected");
  });

  it("begins afresh when the media is lost, even while waiting to resume", () => {
    const lost = run(
      START,
      CONNECTED,
      [10_000, { type: "socket-lost", media: true, another: false }],
      [10_100, { type: "media-lost" }],
    );
    expect(lost.commands).toEqual([{ type: "close", keepMedia: false }]);
    expect(advance(lost.state, { type: "timer" }, 10_250, 0.5).commands).toEqual([
      { type: "open", resume: false },
    ]);
  });

  it("tries each node of a cluster at once, and counts a failure when none of them is left", () => {
    let { state } = run(START, CONNECTED, [10_000, { type: "socket-lost", media: true, another: false }], [10_250, { type: "timer" }]);
    for (const now of [10_260, 10_270]) {
      const lost = advance(state, { type: "socket-lost", media: true, another: true }, now, 0.5);
      expect(lost.state).toEqual({ kind: "waiting", attempt: 1, retryAt: now, media: true });
      expect(lost.commands).toEqual([
        { type: "close", keepMedia: true },
        { type: "wait", ms: 0 },
      ]);
      const retry = advance(lost.state, { type: "timer" }, now, 0.5);
      expect(retry.commands).toEqual([{ type: "open", resume: true }]);
      state = retry.state;
    }
    const all = advance(state, { type: "socket-lost", media: true, another: false }, 10_280, 0.5);
    expect(all.state).toEqual({ kind: "waiting", attempt: 2, retryAt: 10_780, media: true });
    expect(advance(state, { type: "connected" }, 10_280, 0.5).state).toEqual({ kind: "connected", since: 10_280, attempts: 1 });
  });

  it("waits longer after each failure", () => {
    let state: Session = run(START).state;
    const waits: number[] = [];
    for (let i = 0; i < 8; i++) {
      const lost = advance(state, { type: "socket-lost", media: false, another: false }, 0, 0.5);
      for (const command of lost.commands) if (command.type === "wait") waits.push(command.ms);
      state = advance(lost.state, { type: "timer" }, 0, 0.5).state;
    }
    expect(waits).toEqual([250, 500, 1000, 2000, 4000, 8000, 8000, 8000]);
  });

  it("does not take a connection that fails at once for a good one", () => {
    const again = run(
      START,
      [0, { type: "media-lost" }],
      [250, { type: "timer" }],
      [300, { type: "connected" }],
      [400, { type: "media-lost" }],
    );
    expect(again.state).toMatchObject({ kind: "waiting", attempt: 2 });
    const later = run(START, CONNECTED, [60_000, { type: "media-lost" }]);
    expect(later.state).toMatchObject({ kind: "waiting", attempt: 1 });
  });

  it("does not wait when something makes success likely", () => {
    const woken = run(START, CONNECTED, [9_000, { type: "media-lost" }], [9_001, { type: "wake" }]);
    expect(woken.commands).toEqual([{ type: "open", resume: false }]);
    expect(run(START, CONNECTED, [200, { type: "wake" }]).commands).toEqual([]);
  });

  it("ends once, and can be started again", () => {
    const ended = run(START, CONNECTED, [200, { type: "end", reason: { kind: "not-found" } }]);
    expect(ended.commands).toEqual([{ type: "close", keepMedia: false }]);
    const state = ended.state;
    const left: SessionEvent = { type: "end", reason: { kind: "left" } };
    expect(advance(state, left, 300, 0.5)).toEqual({ state, commands: [] });
    expect(advance(state, { type: "timer" }, 300, 0.5)).toEqual({ state, commands: [] });
    expect(advance(state, { type: "media-lost" }, 300, 0.5)).toEqual({ state, commands: [] });
    expect(advance(state, { type: "start" }, 400, 0.5).state.kind).toBe("connecting");
  });

  it("never waits without a timer, and never has two sockets, whatever happens", () => {
    const events: SessionEvent[] = [
      { type: "start" },
      { type: "step", step: "transport" },
      { type: "connected" },
      { type: "socket-lost", media: true, another: false },
      { type: "socket-lost", media: false, another: false },
      { type: "socket-lost", media: true, another: true },
      { type: "socket-lost", media: false, another: true },
      { type: "media-lost" },
      { type: "timer" },
      { type: "wake" },
      { type: "end", reason: { kind: "left" } },
    ];
    let seed = 42;
    const random = (): number => (seed = (seed * 1_103_515_245 + 12_345) % 2_147_483_648) / 2_147_483_648;
    let state: Session = IDLE;
    let socket = false;
    for (let i = 0; i < 20_000; i++) {
      const event = events[Math.floor(random() * events.length)] ?? { type: "timer" };
      const step: Step = advance(state, event, i, random());
      if (event.type === "socket-lost") socket = false;
      for (const command of step.commands) {
        if (command.type === "close") socket = false;
        if (command.type === "open") {
          expect(socket, `${state.kind} ${event.type}`).toBe(false);
          socket = true;
        }
      }
      const entered = step.state.kind === "waiting" && state.kind !== "waiting";
      expect(step.commands.some(({ type }) => type === "wait")).toBe(entered);
      state = step.state;
    }
  });
});

describe("the delay before a retry", () => {
  it("differs by at most a quarter between clients", () => {
    expect([retryDelay(1, 0), retryDelay(1, 1)]).toEqual([188, 313]);
    expect(retryDelay(50, 1)).toBe(10_000);
  });
});

describe("the state of a streamer", () => {
  it("ends a session only when it does not come back by itself", () => {
    expect(endOfStreamer("failed", "no X server")).toEqual({ kind: "failed", message: "no X server" });
    expect(endOfStreamer("stopping", undefined)).toEqual({ kind: "stopped" });
    expect(endOfStreamer("stopped", "nobody used it")).toEqual({ kind: "stopped", message: "nobody used it" });
    for (const state of ["starting", "running", "restarting", "lost"] as const) {
      expect(endOfStreamer(state, undefined)).toBeUndefined();
    }
  });
});
