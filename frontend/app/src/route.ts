/** Which page a path is, relative to the document's base. Pure. */

export type Route =
  | { readonly page: "list" }
  | { readonly page: "viewer"; readonly streamerId: string }
  | { readonly page: "unknown" };

/**
 * @param path of the location, `/prefix/s/demo`.
 * @param basePath of the document's base, `/prefix/`.
 */
export function routeOf(path: string, basePath: string): Route {
  const rest = path.startsWith(basePath) ? path.slice(basePath.length) : path.replace(/^\//, "");
  if (rest === "" || rest === "index.html") return { page: "list" };
  const encoded = /^s\/([^/]+)\/?$/.exec(rest)?.[1];
  if (encoded === undefined) return { page: "unknown" };
  try {
    return { page: "viewer", streamerId: decodeURIComponent(encoded) };
  } catch {
    return { page: "unknown" };
  }
}
