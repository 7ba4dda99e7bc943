/**
 * The token of this tab: it comes in the address as `#token=…`, which browsers send to nobody, and is taken out of
 * there at once, so that it is in no history and no copied address. It lives as long as the tab. A new tab asks those that are open for
 * an administrator's, so that what is opened beside the list does not ask a person again; it is in nothing that outlives them.
 */

import { keep, kept } from "./ui/kept";

const KEY = "oriel.token";

/** Other tabs answer at once, but for a machine that is very busy. */
const MOST_WAIT_MS = 2_000;

/** An address without the token in its fragment, and that token. Pure. */
export function splitToken(hash: string): { readonly token: string | null; readonly hash: string } {
  const rest: string[] = [];
  let token: string | null = null;
  for (const part of hash.replace(/^#/, "").split("&")) {
    const named = /^token=(.+)$/.exec(part)?.[1];
    if (named === undefined) rest.push(part);
    else token = decode(named);
  }
  const kept = rest.filter((part) => part !== "").join("&");
  return { token, hash: kept === "" ? "" : `#${kept}` };
}

function decode(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

/** The session that a guest's token is for; null for what is none, such as an admin secret. The server alone checks it. Pure. */
export function sessionOf(token: string): string | null {
  const [, claims] = token.split(".");
  if (claims === undefined) return null;
  try {
    const { sub } = JSON.parse(atob(claims.replaceAll("-", "+").replaceAll("_", "/"))) as { readonly sub?: unknown };
    return typeof sub === "string" ? sub : null;
  } catch {
    return null;
  }
}

/** The token that the address brings, else the one that it brought before; null for none. */
export function tokenOfTab(): string | null {
  const { token, hash } = splitToken(location.hash);
  if (token === null) return sessionStorage.getItem(KEY);
  keepToken(token);
  history.replaceState(history.state, "", `${location.pathname}${location.search}${hash}`);
  return token;
}

/**
 * The token of this tab, else an administrator's of another tab with a page of the same web-server; null for none. From now on the other
 * tabs can ask this one.
 * @param root of the web-server.
 */
export async function takeToken(root: URL): Promise<string | null> {
  const own = tokenOfTab();
  // Where no tab has had a token, there is none to wait for.
  const token = own ?? (kept(asked(root)) === null ? null : await ofAnotherTab(root));
  if (token !== null && sessionOf(token) === null) keep(asked(root), "1");
  new BroadcastChannel(asked(root)).onmessage = ({ data, currentTarget }) => {
    const held = sessionStorage.getItem(KEY);
    // A guest's link is for one session, and is opened as often as it is needed.
    if (data === null && held !== null && sessionOf(held) === null) (currentTarget as BroadcastChannel).postMessage(held);
  };
  return token;
}

/** Name of what tabs of the same web-server ask each other by, and of the note that some of them has had a token. */
function asked(root: URL): string {
  return `${KEY} ${root.pathname}`;
}

async function ofAnotherTab(root: URL): Promise<string | null> {
  const channel = new BroadcastChannel(asked(root));
  const token = await new Promise<string | null>((done) => {
    channel.onmessage = ({ data }) => {
      if (typeof data === "string") done(data);
    };
    channel.postMessage(null);
    setTimeout(done, MOST_WAIT_MS, null);
  });
  channel.close();
  if (token === null) keep(asked(root), null);
  else keepToken(token);
  return token;
}

/** For this tab, from now on; null: none. */
export function keepToken(token: string | null): void {
  if (token === null) sessionStorage.removeItem(KEY);
  else sessionStorage.setItem(KEY, token);
}
