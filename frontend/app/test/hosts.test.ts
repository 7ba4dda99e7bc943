import type { Host } from "@oriel/client";
import { describe, expect, it } from "vitest";
import { addressOf, startOf, stateOf, USUAL } from "../src/hosts/form";

const HOST: Host = {
  id: "h1",
  address: "10.0.0.2",
  http_port: 47989,
  https_port: 47984,
  name: "tower",
  unique_id: "u",
  state: "online",
  paired: true,
  codecs: ["h264"],
  certificate_changed: false,
  current_app: null,
  pairing: null,
};

describe("the address of a host", () => {
  it("is a name or an IP address, with a port or without", () => {
    expect(addressOf(" tower.local ")).toEqual({ address: "tower.local" });
    expect(addressOf("10.0.0.2:48989")).toEqual({ address: "10.0.0.2", http_port: 48989 });
    expect(addressOf("[fe80::1]:47989")).toEqual({ address: "fe80::1", http_port: 47989 });
    expect(addressOf("[fe80::1]")).toEqual({ address: "fe80::1" });
    expect(addressOf("fe80::1")).toEqual({ address: "fe80::1" });
  });

  it("is nothing without a name, or with a port that is none", () => {
    for (const text of ["", "  ", ":47989", "tower:0", "tower:70000", "tower:x", "http://tower"]) {
      expect(addressOf(text), text).toBeNull();
    }
  });
});

describe("a host", () => {
  it("is started with size, rate and bitrate", () => {
    expect(startOf(HOST, 7, { ...USUAL, mbps: "7.5" })).toEqual({
      source: { type: "moonlight", host_id: "h1", app: 7, width: 1280, height: 720, fps: 60, bitrate_kbps: 7500 },
    });
  });

  it("says how it is in a word", () => {
    expect(stateOf(HOST)).toEqual({ tone: "good", text: "ready" });
    expect(stateOf({ ...HOST, certificate_changed: true }).text).toBe("another certificate");
    expect(stateOf({ ...HOST, current_app: { id: 1, name: "Chess" } }).text).toBe("plays Chess");
    expect(stateOf({ ...HOST, paired: false }).text).toBe("not paired");
    expect(stateOf({ ...HOST, paired: false, state: "offline" }).text).toBe("offline");
  });
});
