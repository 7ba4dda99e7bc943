/** Keeps what is published in step with the devices that are on. */

import type { OrielClient, PublishKind } from "@oriel/client";
import type { LocalMedia, LocalState } from "./localMedia";

const KINDS: readonly PublishKind[] = ["camera", "microphone", "screen"];

/** What is to be done: a null track ends a publication. Pure. */
export function changes<T>(
  published: ReadonlyMap<PublishKind, T>,
  wanted: ReadonlyMap<PublishKind, T>,
): readonly { readonly kind: PublishKind; readonly track: T | null }[] {
  return KINDS.filter((kind) => published.get(kind) !== wanted.get(kind)).map((kind) => ({
    kind,
    track: wanted.get(kind) ?? null,
  }));
}

function tracksOf(state: LocalState): ReadonlyMap<PublishKind, MediaStreamTrack> {
  return new Map(
    KINDS.flatMap((kind) => {
      const device = state[kind];
      return device.kind === "on" ? [[kind, device.track] as const] : [];
    }),
  );
}

/**
 * Publishes what is on, from now until the returned function is called.
 * @param failed told when the server does not take a device.
 */
export function publishAll(
  client: OrielClient,
  media: LocalMedia,
  failed: (kind: PublishKind, reason: string) => void,
): () => void {
  let published: ReadonlyMap<PublishKind, MediaStreamTrack> = new Map();
  let muted = false;
  const update = (): void => {
    const wanted = client.rights.includes("publish") ? tracksOf(media.state) : new Map<PublishKind, MediaStreamTrack>();
    const todo = changes(published, wanted);
    published = wanted;
    for (const { kind, track } of todo) {
      if (track === null) void client.unpublish(kind);
      else {
        // A moderator may have muted the one before.
        if (kind === "microphone") client.setMuted(media.state.muted);
        client.publish(kind, track).catch((error: unknown) => {
          // What was given up meanwhile, or goes on by itself, is none of the person's troubles.
          const refused = error instanceof Error && "reason" in error && error.reason === "refused";
          if (refused) failed(kind, error.message);
        });
      }
    }
    if (media.state.muted !== muted) {
      muted = media.state.muted;
      client.setMuted(muted);
    }
  };
  const stops = [media.subscribe(update), client.on("rights", update)];
  update();
  return () => {
    for (const stop of stops) stop();
    for (const kind of published.keys()) void client.unpublish(kind);
  };
}
