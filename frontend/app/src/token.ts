/**
 * The token of this tab: it comes in the address as `#token=…`, which browsers send to nobody, and is taken out of
 * there at once, so that it is in no history and no copied address. It lives as long as the tab.
 */

const KEY = "oriel.token";

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
export function takeToken(): string | null {
  const { token, hash } = splitToken(location.hash);
  if (token === null) return sessionStorage.getItem(KEY);
  keepToken(token);
  history.replaceState(history.state, "", `${location.pathname}${location.search}${hash}`);
  return token;
}

/** For this tab, from now on. */
export function keepToken(token: string): void {
  sessionStorage.setItem(KEY, token);
}
