// Uses what the packages export as a page would; it is only compiled.

import { Api, type ClientState, OrielClient, OrielError, playStream, ProblemError, type SourceSpec } from "@oriel/client";
import { MultiStreamClient, type SlotStatus } from "@oriel/client/multistream";
import { CameraGrid, Desktop, StreamView } from "@oriel/react";
import "@oriel/react/styles.css";

export async function session(video: HTMLVideoElement, token: string | null): Promise<() => void> {
  const client = new OrielClient({ baseUrl: "https://host/", streamerId: "demo", token, role: "controller" });
  const states: ClientState["kind"][] = [];
  client.on("state", ({ kind }) => states.push(kind));
  client.on("slots", (slots) => {
    const stream = slots.get(0)?.stream;
    if (stream !== undefined) void playStream(video, stream);
  });
  try {
    await client.connect();
  } catch (error) {
    if (!(error instanceof OrielError) || error.reason !== "not-connected") throw error;
  }
  const input = client.attachInput(video, { slot: 0, keyboardMode: "physical" });
  return () => {
    input.detach();
    client.disconnect();
  };
}

export async function wall(seen: (status: SlotStatus) => void): Promise<void> {
  const client = new MultiStreamClient("https://host/", { token: () => null, audio: "focused" });
  await client.connect([{ slot: 0, stream: "door", quality: "360p" }], seen);
}

export async function fields(source: SourceSpec["type"]): Promise<string | undefined> {
  try {
    await new Api().create({ source: { type: source } as { type: "test" } }, { wait: "running" });
    return undefined;
  } catch (error) {
    // @ts-expect-error an unknown error has no field
    const wrong: unknown = error.field;
    return error instanceof ProblemError ? error.field : String(wrong);
  }
}

// @ts-expect-error there is no such source
export const unknown: Parameters<Api["create"]>[0] = { source: { type: "telepathy" } };

export const all = (
  <>
    <Desktop server="https://host/" session="mine" readOnly muted={false} onState={({ kind }) => void kind} />
    <StreamView server="https://host/" stream="door" badge />
    <CameraGrid server={new URL("https://host/")} slots={["door", { stream: "yard", quality: "360p" }]} />
    {/* @ts-expect-error a desktop needs a session */}
    <Desktop server="https://host/" />
  </>
);
