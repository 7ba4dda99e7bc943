import { describe, expect, it } from "vitest";
import { type Fronts, frontsAt, isUnderWay, patience, tried, welcomed } from "../src/fronts";

const NODES = ["https://a/", "https://b", "https://c:8443/oriel"];

const failed = (fronts: Fronts): Fronts => ({ ...fronts, failures: fronts.failures + 1 });
/** Those that are tried after the present one. */
const hrefs = ({ roots }: Fronts): string[] => roots.slice(1).map(({ href }) => href);

describe("the nodes of a cluster", () => {
  it("are the root that the client was given, until it is welcomed", () => {
    const fronts = frontsAt("https://host/oriel/s/desk");
    expect([tried(fronts).href, hrefs(fronts), patience(fronts)]).toEqual(["https://host/oriel/s/", [], null]);
    expect(tried(failed(fronts))).toBe(fronts.roots[0]);
  });

  it("are those of the last welcome and where the client came from, each once, without the one that it is at", () => {
    const fronts = welcomed(frontsAt("https://a/"), [...NODES, "https://b/"], 0);
    expect(hrefs(fronts)).toEqual(["https://b/", "https://c:8443/oriel/"]);
    const there = welcomed(failed(failed(fronts)), ["https://b"], 0);
    expect([there.roots[0].href, hrefs(there)]).toEqual(["https://c:8443/oriel/", ["https://b/", "https://a/"]]);
    expect(hrefs(welcomed(there, [], 0))).toEqual(["https://a/"]);
  });

  it("are in another order for each client", () => {
    const start = frontsAt("https://a/");
    const order = (random: number): string => hrefs(welcomed(start, ["https://b", "https://c", "https://d"], random)).join(" ");
    expect([order(0), order(0.34), order(0.99)]).toEqual([
      "https://b/ https://c/ https://d/",
      "https://c/ https://d/ https://b/",
      "https://d/ https://b/ https://c/",
    ]);
  });

  it("are at most eight in a round, each tried once in it, and the present one first", () => {
    const many = Array.from({ length: 50 }, (_, n) => `https://n${String(n)}`);
    let fronts = welcomed(frontsAt("https://a/"), many, 0.5);
    const seen: string[] = [];
    do {
      seen.push(tried(fronts).href);
      fronts = failed(fronts);
    } while (isUnderWay(fronts));
    expect([seen.length, new Set(seen).size, seen[0], tried(fronts).href]).toEqual([9, 9, "https://a/", "https://a/"]);
  });

  it("are waited for longer in each round, up to a bound", () => {
    let fronts = welcomed(frontsAt("https://a/"), ["https://b"], 0);
    const waits: (number | null)[] = [];
    for (let attempt = 0; attempt < 12; attempt++) {
      waits.push(patience(fronts));
      fronts = failed(fronts);
    }
    expect(waits).toEqual([700, 700, 1400, 1400, 2800, 2800, 5600, 5600, 8000, 8000, 8000, 8000]);
    expect(patience(welcomed(fronts, ["https://b"], 0))).toBe(700);
  });

  it("are never less safe than the page", () => {
    for (const base of ["https://a/", "wss://a/"]) {
      expect(hrefs(welcomed(frontsAt(base), ["http://b", "ftp://c", "nonsense", "", "https://d"], 0))).toEqual(["https://d/"]);
    }
    expect(hrefs(welcomed(frontsAt("http://a/"), ["http://b", "https://c"], 0))).toEqual(["http://b/", "https://c/"]);
  });
});
