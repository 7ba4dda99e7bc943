import { afterEach, expect, it, vi } from "vitest";
import { Api } from "../src/api";

const PART = 4 * 1024 * 1024;
const ENTRY = { name: "large", path: "in/large", kind: "file", size: 10 * 1024 * 1024, modified: "2026-01-01T00:00:00Z" };

afterEach(() => {
  vi.unstubAllGlobals();
  vi.useRealTimers();
});

/** A server that keeps what comes, and answers the third request with a broken connection after half of its part. */
function stub(): { readonly ranges: string[] } {
  const ranges: string[] = [];
  let received = 0;
  vi.stubGlobal("fetch", (_: URL, init: RequestInit): Promise<Response> => {
    const range = new Headers(init.headers).get("content-range") ?? "";
    ranges.push(range);
    const size = (init.body as Blob).size;
    if (ranges.length === 3) {
      received += size / 2;
      return Promise.reject(new TypeError("network"));
    }
    received += size;
    return Promise.resolve(
      received === ENTRY.size ? Response.json(ENTRY, { status: 201 }) : Response.json({ received, total: ENTRY.size }, { status: 202 }),
    );
  });
  return { ranges };
}

it("a large upload goes on where the connection broke", async () => {
  vi.useFakeTimers();
  const { ranges } = stub();
  const told: number[] = [];
  const uploading = new Api("http://host/").putFile("desk", "in/large", new Blob([new Uint8Array(ENTRY.size)]), {
    onProgress: (done) => told.push(done),
  });
  await vi.runAllTimersAsync();
  expect(await uploading).toEqual(ENTRY);
  const total = ENTRY.size;
  expect(ranges).toEqual([
    `bytes */${total}`,
    `bytes 0-${PART - 1}/${total}`,
    `bytes ${PART}-${2 * PART - 1}/${total}`,
    `bytes */${total}`,
    `bytes ${1.5 * PART}-${total - 1}/${total}`,
  ]);
  expect(told).toEqual([0, PART, 1.5 * PART, total]);
});

it("a refusal is not tried again", async () => {
  const answer = { type: "about:blank", title: "Payload Too Large", status: 413, detail: "too long", code: "file_too_large", request_id: "r" };
  const fetch = vi.fn(() => Promise.resolve(Response.json(answer, { status: 413 })));
  vi.stubGlobal("fetch", fetch);
  const uploading = new Api("http://host/").putFile("desk", "large", new Blob([new Uint8Array(ENTRY.size)]));
  await expect(uploading).rejects.toMatchObject({ code: "file_too_large" });
  expect(fetch).toHaveBeenCalledOnce();
});
