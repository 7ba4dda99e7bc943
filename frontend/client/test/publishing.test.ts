import { describe, expect, it } from "vitest";
import { OrielError } from "../src/errors";
import { layerActive, publishingMids } from "../src/peer/senders";
import { Publications } from "../src/publications";

const OFFER = [
  "v=0",
  "m=video 9 UDP/TLS/RTP/SAVPF 102",
  "a=mid:0",
  "a=sendonly",
  "m=video 9 UDP/TLS/RTP/SAVPF 102",
  "a=mid:8",
  "a=recvonly",
  "m=video 9 UDP/TLS/RTP/SAVPF 102",
  "a=mid:9",
  "a=recvonly",
  "m=audio 9 UDP/TLS/RTP/SAVPF 111",
  "a=mid:10",
  "a=recvonly",
  "m=application 9 UDP/DTLS/SCTP webrtc-datachannel",
  "a=mid:11",
  "",
].join("\r\n");

const track = {} as MediaStreamTrack;

describe("publishing", () => {
  it("goes to the sections in which the offer receives", () => {
    expect([...publishingMids(OFFER)]).toEqual([
      ["camera", "8"],
      ["screen", "9"],
      ["microphone", "10"],
    ]);
    expect([...publishingMids(OFFER.replaceAll("recvonly", "inactive"))]).toEqual([]);
  });

  it("sends the layers that anybody takes, and one of a screen", () => {
    expect(layerActive("camera", "l", null)).toBe(true);
    expect(layerActive("camera", "h", ["l"])).toBe(false);
    expect(layerActive("camera", undefined, ["h"])).toBe(true);
    expect(layerActive("camera", undefined, [])).toBe(false);
    expect(layerActive("screen", "l", ["h", "l"])).toBe(false);
  });

  it("is done when the streamer says so, and told to a new peer again", async () => {
    const publications = new Publications();
    const published = publications.want("camera", track, { name: "Ann" });
    expect(publications.messages()).toEqual([{ type: "publish", kind: "camera", name: "Ann" }]);
    publications.receive({ type: "published", kind: "camera", source: "ann", slot: 2 });
    expect(await published).toEqual({ kind: "camera", source: "ann", slot: 2 });
    publications.receive({ type: "published", kind: "camera", source: "ann" });
    expect(publications.current.get("camera")?.slot).toBeNull();
    publications.reset();
    expect(publications.current.size).toBe(0);
    expect(publications.messages()).toHaveLength(1);
    expect(publications.forget("camera")).toBe(true);
    expect(publications.messages()).toEqual([]);
  });

  it("is refused to whoever may not, and waits for nothing after it was unpublished", async () => {
    const publications = new Publications();
    const refused = publications.want("screen", track, {});
    publications.receive({ type: "error", code: "may_not_publish", message: "no" });
    await expect(refused).rejects.toBeInstanceOf(OrielError);
    expect(publications.messages()).toEqual([]);
    const lost = publications.want("microphone", track, {});
    publications.forget("microphone");
    await expect(lost).rejects.toMatchObject({ reason: "aborted" });
  });
});
