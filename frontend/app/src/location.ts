/**
 * Where the pages are: the list at the root of the web-server, a viewer at `s/{id}` below it. All addresses
 * are relative, so that a proxy can put both below any path. Pure.
 */

/** The root of the web-server, seen from the list. */
export function rootFromList(page: string): URL {
  return new URL(".", page);
}

/** The root of the web-server, seen from a viewer. */
export function rootFromViewer(page: string): URL {
  return new URL("..", page.replace(/\/+(?=$|[?#])/, ""));
}

/** The streamer that a viewer's address names; null when it names none. */
export function streamerIdOf(path: string): string | null {
  const encoded = /\/s\/([^/]+)\/?$/.exec(path)?.[1];
  if (encoded === undefined) return null;
  try {
    return decodeURIComponent(encoded);
  } catch {
    return null;
  }
}
