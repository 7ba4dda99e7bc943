/** What the address of the list asks for. Pure. */

/** `?node=NAME`: the list shows the sessions of that node; null when none is named. */
export function nodeOf(search: string): string | null {
  const node = new URLSearchParams(search).get("node") ?? "";
  return node === "" ? null : node;
}

/** The list of the sessions of a node. */
export function listOfNode(root: URL, node: string): URL {
  const url = new URL(root);
  url.searchParams.set("node", node);
  return url;
}
