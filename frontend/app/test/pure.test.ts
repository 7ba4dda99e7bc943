import type { Source, StreamInfo } from "@oriel/client";
import { describe, expect, it } from "vitest";
import { fieldOf, NEW_FORM, requestOf } from "../src/list/form";
import { camerasOf } from "../src/grid/cameras";
import { describeSource, shownSlot } from "../src/list/describe";
import { arrangedGrid, gridOf, rootFromList, rootFromViewer, streamerIdOf, streamOf } from "../src/location";
import { sessionOf, splitToken } from "../src/token";
import { canBeLess } from "../src/viewer/limit";
import { volumeOf } from "../src/viewer/useSettings";
import { nameOfScreenshot } from "../src/viewer/screenshot";
import { bitrate, bytes, duration, milliseconds, rate } from "../src/ui/format";
import {
  arrange,
  type Arrangement,
  type ArrangementEvent,
  neighbour,
  PRESUMED,
} from "../src/viewer/arrangement";
import { join } from "../src/viewer/files/transfers";
import { labelOf, labelOfWindow } from "../src/viewer/label";
import { roomAround } from "../src/viewer/room";
import { canRetry } from "../src/viewer/EndedOverlay";
import { canFill } from "../src/viewer/useFullscreen";
import { isAbout } from "../src/viewer/useViewing";

describe("the room around a picture", () => {
  it("is where an offer covers nothing of it", () => {
    const wide = { width: 1280, height: 720 };
    expect(roomAround({ width: 844, height: 390 }, wide)).toBe("icon");
    expect(roomAround({ width: 390, height: 844 }, wide)).toBe("text");
    expect(roomAround({ width: 1600, height: 700 }, wide)).toBe("icon");
    expect(roomAround({ width: 1920, height: 700 }, wide)).toBe("text");
    expect(roomAround({ width: 844, height: 390 }, { width: 844, height: 390 })).toBe("none");
    expect(roomAround({ width: 1280, height: 760 }, wide)).toBe("none");
  });
});

describe("the grid", () => {
  it("shows a camera once, not its renditions", () => {
    const ffmpeg = { type: "ffmpeg", video: "copy", audio: true, loop: false, always_on: false } as const;
    const streams = [
      { name: "door", source: { ...ffmpeg, input: "rtsp://camera/1" } },
      { name: "door-360p", source: { ...ffmpeg, input: "door", height: 360 } },
      { name: "file", source: { ...ffmpeg, input: "gone" } },
    ];
    expect(camerasOf(streams)).toEqual(["door", "file"]);
  });
});

describe("a session that fits the window", () => {
  it("has the size of the window but for even sides", () => {
    expect(isAbout({ width: 800, height: 500 }, { width: 801, height: 501 })).toBe(true);
    expect(isAbout({ width: 800, height: 500 }, { width: 802, height: 500 })).toBe(false);
    expect(isAbout({ width: 800, height: 500 }, { width: 800, height: 600 })).toBe(false);
  });
});

describe("the volume", () => {
  it("is what was kept, unless that is none", () => {
    expect(["0", "0.35", "1"].map(volumeOf)).toEqual([0, 0.35, 1]);
    for (const text of [null, "", "2", "-1", "loud"]) expect(volumeOf(text), String(text)).toBe(1);
  });
});

describe("a limit of what is sent", () => {
  it("is offered for what the server encodes, not for what it passes through", () => {
    const offered = (source: object): boolean => canBeLess({ source } as Pick<Source, "source">);
    for (const source of [{ type: "desktop" }, { type: "test" }, { type: "window" }, { type: "ffmpeg", video: "h264" }]) expect(offered(source)).toBe(true);
    for (const source of [{ type: "ffmpeg", video: "copy" }, { type: "rtsp" }, { type: "moonlight" }]) expect(offered(source)).toBe(false);
  });
});

describe("a screenshot", () => {
  it("is called by its session and the time, so that names sort", () => {
    expect(nameOfScreenshot("demo", new Date(2026, 2, 9, 14, 5, 9))).toBe("demo-2026-03-09-140509.png");
  });
});

describe("a guest's token", () => {
  it("says which session it is for", () => {
    const claims = btoa(JSON.stringify({ sub: "a.b-c", role: "viewer" })).replaceAll("=", "");
    expect(sessionOf(`header.${claims}.signature`)).toBe("a.b-c");
    for (const other of ["an-admin-secret", "with.dots.inside", `h.${btoa("[1]")}.s`, `h.${btoa("null")}.s`]) {
      expect(sessionOf(other)).toBeNull();
    }
  });
});

describe("an end", () => {
  it("offers another try only where one can help", () => {
    expect(canRetry({ kind: "left" })).toBe(true);
    expect(canRetry({ kind: "refused", message: "no", code: "removed" })).toBe(true);
    expect(canRetry({ kind: "failed" })).toBe(false);
    expect(canRetry({ kind: "stopped" })).toBe(false);
    expect(canRetry({ kind: "not-found" })).toBe(false);
  });
});

describe("full screen", () => {
  it("is offered only where the browser has it", () => {
    expect(canFill({ fullscreenEnabled: true })).toBe(true);
    expect(canFill({ fullscreenEnabled: false })).toBe(false);
    expect(canFill({})).toBe(false);
  });
});

describe("an address", () => {
  it("leads to the root of the server, below any path", () => {
    expect(rootFromList("http://h/").href).toBe("http://h/");
    expect(rootFromList("http://h/oriel/?a=b").href).toBe("http://h/oriel/");
    expect(rootFromViewer("http://h/s/demo").href).toBe("http://h/");
    expect(rootFromViewer("http://h/oriel/s/demo/?a#b").href).toBe("http://h/oriel/");
  });

  it("is rid of its token, and of nothing else", () => {
    expect(splitToken("#token=a.b-c_d")).toEqual({ token: "a.b-c_d", hash: "" });
    expect(splitToken("#here&token=a%2Eb&there=1")).toEqual({ token: "a.b", hash: "#here&there=1" });
    expect(splitToken("#token=%E0%A4%A")).toEqual({ token: "%E0%A4%A", hash: "" });
    for (const hash of ["", "#", "#here", "#token=", "#mytoken=x"]) {
      expect(splitToken(hash).token, hash).toBeNull();
    }
    expect(splitToken("#here").hash).toBe("#here");
  });

  it("of a viewer names its streamer", () => {
    expect(streamerIdOf("/s/demo")).toBe("demo");
    expect(streamerIdOf("/oriel/s/a%2Db/")).toBe("a-b");
    for (const path of ["/x", "/s/", "/s/a/b", "/s/%E0%A4%A"]) expect(streamerIdOf(path), path).toBeNull();
  });
});

describe("the address of a page with streams", () => {
  it("names them, or leaves it open", () => {
    expect(gridOf("?streams=a, b,,c&quality=360p")).toEqual({
      streams: ["a", "b", "c"],
      quality: "360p",
    });
    expect(gridOf("")).toEqual({ streams: null, quality: "" });
    const arranged = arrangedGrid("http://h/oriel/grid?quality=360p&streams=a,b", ["b", "a c"]);
    expect(gridOf(arranged.search)).toEqual({ streams: ["b", "a c"], quality: "360p" });
    expect(arranged.pathname).toBe("/oriel/grid");
    expect(streamOf("?src=door&quality=360p")).toEqual({ stream: "door", quality: "360p" });
    expect([streamOf(""), streamOf("?src=")]).toEqual([null, null]);
  });
});

describe("a streamer in the list", () => {
  const test = { type: "test", width: 640, height: 360, fps: 10, audio: true } as const;
  const rtsp = { type: "rtsp", url: "rtsp://h/", transport: "tcp", audio: true, always_on: false } as const;
  const spec = { share: true, slots: 4 };

  it("is described by its main source, or by how many streams it has", () => {
    const none = { slots: [], stats: null };
    expect(describeSource({ ...none, spec: { ...spec, source: test } })).toBe("Test picture 640 × 360");
    expect(describeSource({ ...none, spec: { ...spec, source: rtsp, sources: { a: rtsp } } })).toBe(
      "Camera, 1 stream",
    );
    expect(describeSource({ ...none, spec: { ...spec, sources: { a: rtsp, b: rtsp } } })).toBe("2 streams");
  });

  it("is pictured by the first slot that shows something", () => {
    const info = (slot: number): StreamInfo => ({
      trackId: `video${slot}`,
      mid: "0",
      audioMid: null,
      slot,
      source: "main",
      windowName: null,
      appName: null,
      isFocused: true,
      width: 640,
      height: 360,
      codec: "H264",
      fps: 10,
      cursor: "client",
      input: true,
      microphone: false,
      camera: false,
    });
    expect(shownSlot({ slots: [info(2), info(1)] })).toBe(1);
    expect(shownSlot({ slots: [] })).toBeNull();
  });
});

describe("what a slot shows", () => {
  const named = { source: "main", windowName: null, appName: null, input: true };

  it("is called by the best name that it has", () => {
    expect(labelOf({ ...named, windowName: "Editor", appName: "xed" })).toBe("Editor");
    expect(labelOf({ ...named, windowName: "", appName: "xed" })).toBe("xed");
    expect([labelOf(named), labelOf({ ...named, input: false })]).toEqual(["Desktop", "Main picture"]);
    expect(labelOf({ ...named, source: "door" })).toBe("door");
    expect(labelOfWindow({ title: "", app: "" })).toBe("A window without a title");
  });
});

describe("the arrangement of slots", () => {
  const run = (...events: ArrangementEvent[]): Arrangement =>
    events.reduce<Arrangement>((state, event) => arrange(state, event), PRESUMED);
  const known = (...slots: number[]): ArrangementEvent => ({ type: "known", slots });
  const picked = (slot: number): ArrangementEvent => ({ type: "picked", slot });
  const gone = (slot: number, reason: string | null = null): ArrangementEvent => ({
    type: "deactivated",
    slot,
    label: `S${slot}`,
    reason,
  });

  it("shows what is there first, and nothing when there is nothing", () => {
    expect(run(known(2, 1))).toMatchObject({ main: 1, order: [1, 2] });
    expect(run(known())).toMatchObject({ main: null, order: [] });
    expect(run(known(), { type: "activated", slot: 3 })).toMatchObject({ main: 3, order: [3] });
  });

  it("keeps its main view when something new is shared", () => {
    expect(run(known(1), { type: "activated", slot: 0 })).toMatchObject({ main: 1, order: [1, 0] });
  });

  it("falls back to what was looked at before, and says why", () => {
    const state = run(known(0, 1, 2), picked(2), picked(1), gone(1, "the window was closed"));
    expect(state).toMatchObject({ main: 2, order: [0, 2], notice: "“S1” is gone: the window was closed" });
    expect(arrange(state, gone(2))).toMatchObject({ main: 0, notice: "“S2” is no longer shared" });
    expect(run(known(0), gone(0))).toMatchObject({ main: null, order: [] });
  });

  it("is silent about what was not in the main view", () => {
    expect(run(known(0, 1), gone(1))).toMatchObject({ main: 0, notice: null });
  });

  it("never falls back to what has gone meanwhile", () => {
    expect(run(known(0, 1, 2), picked(1), picked(2), gone(1), gone(2)).main).toBe(0);
  });

  it("follows the focus while that is wanted", () => {
    const focused: ArrangementEvent = { type: "focused", slot: 2 };
    expect(run(known(0, 1, 2), focused).main).toBe(0);
    const follow: ArrangementEvent = { type: "follow", on: true, focused: 1 };
    expect(run(known(0, 1, 2), follow).main).toBe(1);
    expect(run(known(0, 1, 2), follow, focused).main).toBe(2);
    expect(run(known(0, 1, 2), follow, { ...follow, on: false }, focused).main).toBe(1);
  });

  it("is changed by dragging and by keys", () => {
    const moved = (slot: number, to: number): ArrangementEvent => ({ type: "moved", slot, to });
    const state = run(known(0, 1, 2, 3), moved(3, 1));
    expect(state.order).toEqual([0, 3, 1, 2]);
    expect(arrange(state, moved(0, 2)).order).toEqual([3, 1, 2, 0]);
    expect(arrange(state, moved(0, 9))).toBe(state);
    expect([neighbour(state, 3, 1), neighbour(state, 3, -1), neighbour(state, 2, 1)]).toEqual([
      1,
      null,
      null,
    ]);
  });
});

describe("the form", () => {
  it("leaves out what was left empty", () => {
    expect(requestOf({ ...NEW_FORM, command: " ", id: "" })).toEqual({
      source: { type: "desktop", width: 1280, height: 720, fps: 30 },
    });
    expect(requestOf({ ...NEW_FORM, type: "test", id: " a " })).toEqual({
      id: "a",
      source: { type: "test", width: 1280, height: 720, fps: 30 },
    });
    expect(requestOf({ ...NEW_FORM, type: "rtsp", url: " rtsp://h/ " }).source).toEqual({
      type: "rtsp",
      url: "rtsp://h/",
    });
    expect(requestOf({ ...NEW_FORM, type: "ffmpeg", url: "a.mp4" }).source).toEqual({
      type: "ffmpeg",
      input: "a.mp4",
    });
  });

  it("shows a problem at its field", () => {
    const problem = { type: "", title: "", status: 422, detail: "", code: "", request_id: "" };
    expect(fieldOf({ ...problem, field: "source.width" }, "desktop")).toBe("width");
    expect(fieldOf({ ...problem, field: "slots" }, "desktop")).toBeNull();
    expect(fieldOf({ ...problem, field: "source.command" }, "test")).toBeNull();
    expect(fieldOf({ ...problem, status: 409 }, "desktop")).toBe("id");
    expect(fieldOf({ ...problem, field: "source.input" }, "ffmpeg")).toBe("url");
    expect(fieldOf({ ...problem, field: "source.url" }, "rtsp")).toBe("url");
    expect(fieldOf(problem, "desktop")).toBeNull();
  });
});

describe("a path in the session's home", () => {
  it("is encoded as the server does it", () => {
    expect(join("", ["a b", "grüße (1)!.txt"])).toBe("a%20b/gr%C3%BC%C3%9Fe%20%281%29%21.txt");
    expect(join("a%20b", ["c"])).toBe("a%20b/c");
  });
});

describe("figures", () => {
  it("are short", () => {
    expect([duration(3_900), duration(720_000), duration(7_500_000), duration(273_600_000)]).toEqual([
      "3 sec",
      "12 min",
      "2 hr 5 min",
      "3 days 4 hr",
    ]);
    expect([bytes(0), bytes(999), bytes(1500), bytes(123_456_789)]).toEqual(["0 bytes", "999 bytes", "1.5 kB", "123 MB"]);
    expect([bitrate(830_400), bitrate(2_412_000)]).toEqual(["830 kbit/s", "2.4 Mbit/s"]);
    expect([milliseconds(null), milliseconds(12.34)]).toEqual(["–", "12.3 ms"]);
  });
});

describe("a frame rate", () => {
  it("is still when nothing moves", () => {
    expect([0, 0.4, 0.6, 29.97].map(rate)).toEqual(["still", "still", "1 fps", "30 fps"]);
  });
});
