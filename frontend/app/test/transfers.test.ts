import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { ProblemError } from "@oriel/client";
import { received } from "../src/viewer/files/transfers";

const WHOLE = "0123456789";

beforeEach(() => {
  vi.useFakeTimers();
});
afterEach(() => {
  vi.useRealTimers();
});

/** A body that ends after `text`, or breaks there. */
function body(text: string, breaks: boolean): ReadableStream<Uint8Array> {
  let sent = false;
  return new ReadableStream({
    pull(controller) {
      if (!sent) controller.enqueue(new TextEncoder().encode(text));
      else if (breaks) controller.error(new TypeError("network"));
      else controller.close();
      sent = true;
    },
  });
}

type Step = Response | Error;

function answer(status: number, text: string, etag: string | null, breaks = false): Response {
  return new Response(body(text, breaks), { status, headers: etag === null ? {} : { etag } });
}

function problem(status: number): ProblemError {
  return new ProblemError({ type: "about:blank", title: "", status, detail: "", code: "code", request_id: "r" });
}

/** Asks for what these steps bring, one after the other. */
async function run(steps: Step[], attempts = 3): Promise<{ text: string; asked: object[]; told: number[] }> {
  const asked: object[] = [];
  const told: number[] = [];
  const ask = (headers: object): Promise<Response> => {
    asked.push(headers);
    const step = steps[asked.length - 1] ?? new TypeError("too often");
    return step instanceof Error ? Promise.reject(step) : Promise.resolve(step);
  };
  const receiving = received(ask, WHOLE.length, attempts, (done) => told.push(done), new AbortController().signal);
  const text = receiving.then((blob) => blob.text(), (error: unknown) => String(error));
  await vi.runAllTimersAsync();
  return { text: await text, asked, told };
}

it("a download goes on where it broke off", async () => {
  const steps = [answer(200, "0123", '"a"', true), new TypeError("refused"), problem(503), answer(206, "456789", '"a"')];
  const { text, asked, told } = await run(steps, 4);
  expect(text).toBe(WHOLE);
  const rest = { range: "bytes=4-", "if-range": '"a"' };
  expect(asked).toEqual([{}, rest, rest, rest]);
  expect(told).toEqual([4, 10]);
});

it("a download of a file that has changed, or has no strong tag, begins again", async () => {
  for (const [tag, second] of [['"a"', { range: "bytes=4-", "if-range": '"a"' }], ['W/"a"', {}], [null, {}]] as const) {
    const { text, asked, told } = await run([answer(200, "abcd", tag, true), answer(200, WHOLE, '"b"')]);
    expect({ text, asked, told }).toEqual({ text: WHOLE, asked: [{}, second], told: [4, 10] });
  }
});

it("a download fails at a refusal, and when nothing has come for several requests", async () => {
  const refused = await run([answer(200, "0123", '"a"', true), problem(404)]);
  expect([refused.asked.length, refused.text]).toEqual([2, expect.stringContaining("Error")]);
  const broken = (from: number): Response => answer(from === 0 ? 200 : 206, WHOLE[from] ?? "", '"a"', true);
  // Each brings something, and then three bring nothing.
  const { asked, told } = await run([broken(0), broken(1), broken(2), broken(3), new TypeError("1"), new TypeError("2")]);
  expect(told).toEqual([1, 2, 3, 4]);
  expect(asked.length).toBe(6);
});
