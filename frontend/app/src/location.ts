/**
 * Where the pages are: the list, the grid, the hosts, the nodes, the rooms and the page with one stream at the root of the web-server, a
 * viewer at `s/{id}` and a room at `r/{id}` below it. All addresses are relative, so that a proxy can put them below any path. Pure.
 */

/** The root of the web-server, seen from the list and its neighbours. */
export function rootFromList(page: string): URL {
  return new URL(".", page);
}

/** The root of the web-server, seen from a viewer or a room. */
export function rootFromViewer(page: string): URL {
  return new URL("..", page.replace(/\/+(?=$|[?#])/, ""));
}

/** The streamer that the address of a viewer or a room names; null when it names none. */
export function streamerIdOf(path: string): string | null {
  const encoded = /\/[rs]\/([^/]+)\/?$/.exec(path)?.[1];
  if (encoded === undefined) return null;
  try {
    return decodeURIComponent(encoded);
  } catch {
    return null;
  }
}

/** What the address of a grid asks for. */
export type GridWish = {
  /** Null: all there are. */
  readonly streams: readonly string[] | null;
  /** Rendition of the small pictures. */
  readonly quality: string;
};

/** `?streams=a,b,c&quality=360p`, all of it optional. */
export function gridOf(search: string): GridWish {
  const query = new URLSearchParams(search);
  const names = (query.get("streams") ?? "").split(",").map((name) => name.trim());
  const streams = names.filter((name) => name !== "");
  return {
    streams: streams.length === 0 ? null : streams,
    quality: query.get("quality") ?? "",
  };
}

/** `?relay`: the viewer uses TURN servers only, to see whether they work. */
export function transportOf(search: string): RTCIceTransportPolicy {
  return new URLSearchParams(search).has("relay") ? "relay" : "all";
}

/** The address of a grid with its streams in another order; the rest of it stays. */
export function arrangedGrid(page: string, streams: readonly string[]): URL {
  const url = new URL(page);
  url.searchParams.set("streams", streams.join(","));
  return url;
}

/** `?src=NAME&quality=`; null when no stream is named. */
export function streamOf(search: string): { readonly stream: string; readonly quality: string } | null {
  const query = new URLSearchParams(search);
  const stream = query.get("src") ?? "";
  return stream === "" ? null : { stream, quality: query.get("quality") ?? "" };
}
