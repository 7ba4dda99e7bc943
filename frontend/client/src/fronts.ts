/**
 * At which node of a cluster the client signals, and which one it tries next when that does not answer. Any node serves every streamer, so
 * that a lost one costs a client its WebSocket and nothing else. Pure.
 *
 * ```text
 * present ─fails─▶ 1st other ─fails─▶ … ─fails─▶ last other ─fails─▶ present, in the next round
 *    ▲───────────welcome─────┴────────────────────────┘
 * ```
 */

export type Fronts = {
  /** What the client was given, which may lead to any node. */
  readonly home: URL;
  /** In the order in which they are tried. The first is where the last welcome came from; before there was one, what the client was given. */
  readonly roots: readonly [URL, ...URL[]];
  /** How often one of them has not answered since the last welcome. */
  readonly failures: number;
};

/** Roots that are tried in one round at most: when so many nodes do not answer, it is not for them. */
const MOST_ROOTS = 9;
/** Without an answer for this long, another node is tried; in each further round for twice as long, as it may be the network that is slow. */
const PATIENCE_MS = 700;
const MOST_PATIENCE_MS = 8_000;

/** @param base root of the web-server as seen from here. */
export function frontsAt(base: string | URL): Fronts {
  const home = new URL(".", base);
  return { home, roots: [home], failures: 0 };
}

/** What is tried now. */
export function tried({ roots, failures }: Fronts): URL {
  return roots[failures % roots.length] ?? roots[0];
}

/** Whether this round is under way: what is tried now has not been tried since it began. */
export function isUnderWay({ roots, failures }: Fronts): boolean {
  return failures % roots.length > 0;
}

/** How long to wait for an answer before another one is tried, ms; null where there is no other one. */
export function patience({ roots, failures }: Fronts): number | null {
  const round = Math.floor(failures / roots.length);
  return roots.length === 1 ? null : Math.min(PATIENCE_MS * 2 ** round, MOST_PATIENCE_MS);
}

/**
 * What is tried has welcomed the client.
 * @param nodes URLs that the server has told.
 * @param random from 0 to 1: so that the clients of a lost node do not all go to the same one.
 */
export function welcomed(fronts: Fronts, nodes: readonly string[], random: number): Fronts {
  const { home } = fronts;
  const present = tried(fronts);
  const known = new Map([...nodes.flatMap((node) => rootOf(node, home)), home].map((url) => [url.href, url]));
  known.delete(present.href);
  const others = [...known.values()];
  const first = others.splice(0, Math.floor(random * others.length));
  return { home, roots: [present, ...[...others, ...first].slice(0, MOST_ROOTS - 1)], failures: 0 };
}

/** The root that a URL names; none where it is no URL, or less safe than `home`: what is sent there is secret. */
function rootOf(text: string, home: URL): URL[] {
  try {
    const url = new URL(".", text.endsWith("/") ? text : `${text}/`);
    const isSafe = url.protocol === "https:" || (url.protocol === "http:" && !home.protocol.endsWith("s:"));
    return isSafe ? [url] : [];
  } catch {
    return [];
  }
}
