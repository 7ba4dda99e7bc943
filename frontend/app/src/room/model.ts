/** What the page of a room is about: the client, the devices, and the person's name. Made before anything is rendered. */

import { type Api, OrielClient } from "@oriel/client";
import { keep, kept } from "../ui/kept";
import { LocalMedia } from "./localMedia";

const NAME_KEY = "oriel.name";

export type RoomModel = {
  readonly id: string;
  /** Root of the web-server. */
  readonly root: URL;
  readonly api: Api;
  readonly client: OrielClient;
  readonly media: LocalMedia;
  /** It has come with a token, or with the admin secret. */
  readonly hasToken: boolean;
};

/** Does not connect: the person joins. */
export function createRoomModel(id: string, root: URL, token: string | null): RoomModel {
  const name = rememberedName();
  // Lips and voices of people belong together.
  const options = { streamerId: id, baseUrl: root, token, lipSync: true };
  const client = new OrielClient(name === "" ? options : { ...options, displayName: name });
  const media = new LocalMedia();
  window.addEventListener("pagehide", () => {
    media.closeAll();
  });
  const stats = (): Promise<never> => Promise.reject(new Error("a room has no main view"));
  window.oriel = { client, stats };
  return { id, root, api: client.api, client, media, hasToken: token !== null };
}

/** The name of the last time; empty for none. */
export function rememberedName(): string {
  return kept(NAME_KEY) ?? "";
}

export function rememberName(name: string): void {
  keep(NAME_KEY, name);
}
