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
  /** Where the last welcome came from; before there was one, what the client was given. */
  readonly present: URL;
  /** Where else the streamer can be reached, as of the last welcome. */
  readonly others: readonly URL[];
  /** What is tried: 0 is the present one, n the nth of the others. */
  readonly trying: number;
  /** How often all of them have failed since the last welcome. */
  readonly rounds: number;
};

/** Others that are tried in one round at most: when so many nodes do not answer, it is not for them. */
const MOST_OTHERS = 8;
/** Without an answer for this long, another node is tried; in each further round for twice as long, as it may be the network that is slow. */
const PATIENCE_MS = 700;
const MOST_PATIENCE_MS = 8_000;

/** @param base root of the web-server as seen from here. */
export function frontsAt(base: string | URL): Fronts {
  const home = new URL(".", base);
  return { home, present: home, others: [], trying: 0, rounds: 0 };
}

/** What is tried now. */
export function tried({ present, others, trying }: Fronts): URL {
  return others[trying - 1] ?? present;
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
  const first = Math.floor(random * others.length);
  return { home, present, others: [...others.slice(first), ...others.slice(0, first)].slice(0, MOST_OTHERS), trying: 0, rounds: 0 };
}

/** What is tried does not answer. */
export function failed(fronts: Fronts): Fronts {
  const { others, trying, rounds } = fronts;
  return trying < others.length ? { ...fronts, trying: trying + 1 } : { ...fronts, trying: 0, rounds: rounds + 1 };
}

/** How long to wait for an answer before another one is tried, ms; null where there is no other one. */
export function patience({ others, rounds }: Fronts): number | null {
  return others.length === 0 ? null : Math.min(PATIENCE_MS * 2 ** rounds, MOST_PATIENCE_MS);
}

/** The root that a URL names; none where it is no URL, or less safe than `home`: what is sent there is secret. */
function rootOf(text: string, home: URL): URL[] {
  try {
    const url = new URL(".", text.endsWith("/") ? text : `${text}/`);
    const isSafe = url.protocol === "https:" || (url.protocol === "http:" && home.protocol !== "https:" && home.protocol !== "wss:");
    return isSafe ? [url] : [];
  } catch {
    return [];
  }
}
