import { describe, expect, it } from "vitest";
import { fieldOf, NEW_FORM, requestOf } from "../src/list/form";
import { rootFromList, rootFromViewer, streamerIdOf } from "../src/location";
import { bitrate, duration, milliseconds } from "../src/ui/format";

describe("an address", () => {
  it("leads to the root of the server, below any path", () => {
    expect(rootFromList("http://h/").href).toBe("http://h/");
    expect(rootFromList("http://h/oriel/?a=b").href).toBe("http://h/oriel/");
    expect(rootFromViewer("http://h/s/demo").href).toBe("http://h/");
    expect(rootFromViewer("http://h/oriel/s/demo/?a#b").href).toBe("http://h/oriel/");
  });

  it("of a viewer names its streamer", () => {
    expect(streamerIdOf("/s/demo")).toBe("demo");
    expect(streamerIdOf("/oriel/s/a%2Db/")).toBe("a-b");
    for (const path of ["/x", "/s/", "/s/a/b", "/s/%E0%A4%A"]) expect(streamerIdOf(path), path).toBeNull();
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
  });

  it("shows a problem at its field", () => {
    const problem = { type: "", title: "", status: 422, detail: "", code: "", request_id: "" };
    expect(fieldOf({ ...problem, field: "source.width" }, "desktop")).toBe("width");
    expect(fieldOf({ ...problem, field: "slots" }, "desktop")).toBeNull();
    expect(fieldOf({ ...problem, field: "source.command" }, "test")).toBeNull();
    expect(fieldOf({ ...problem, status: 409 }, "desktop")).toBe("id");
    expect(fieldOf(problem, "desktop")).toBeNull();
  });
});

describe("figures", () => {
  it("are short", () => {
    expect([duration(3_900), duration(720_000), duration(7_500_000), duration(273_600_000)]).toEqual([
      "3 s",
      "12 min",
      "2 h 05 min",
      "3 d 4 h",
    ]);
    expect([bitrate(830_400), bitrate(2_412_000)]).toEqual(["830 kbit/s", "2.4 Mbit/s"]);
    expect([milliseconds(null), milliseconds(12.34)]).toEqual(["–", "12.3 ms"]);
  });
});
