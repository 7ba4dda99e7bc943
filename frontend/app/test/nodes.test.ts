import { type Node, ProblemError } from "@oriel/client";
import { describe, expect, it } from "vitest";
import { listOfNode, nodeOf } from "../src/list/address";
import { fieldOf, NEW_FORM, requestOf } from "../src/list/form";
import { shownSlot } from "../src/list/describe";
import { isElsewhere, takers } from "../src/list/placing";
import { EVERYTHING, nodeNames, sift } from "../src/list/sift";
import { fullness, isBusy, labelsOf } from "../src/nodes/describe";
import { messageOf } from "../src/ui/problem";

function node(name: string, state: Node["state"] = "alive", answers = false): Node {
  return { name, state, labels: {}, version: "1", streamers: 1, max_streamers: 4, this: answers };
}

const NODES = [node("a", "alive", true), node("b"), node("c", "draining"), node("d", "lost")];

const PROBLEM = { type: "", title: "", status: 503, detail: "", code: "", request_id: "" };

describe("nodes that take a session", () => {
  it("are those that are alive, but for the one that has it", () => {
    expect(takers(NODES).map(({ name }) => name)).toEqual(["a", "b"]);
    expect(takers(NODES, "b").map(({ name }) => name)).toEqual(["a"]);
  });

  it("are asked for by name, or not at all", () => {
    expect(requestOf({ ...NEW_FORM, node: "b" }).placement).toEqual({ node: "b" });
    expect(requestOf(NEW_FORM)).not.toHaveProperty("placement");
    expect(fieldOf({ ...PROBLEM, field: "placement.node" }, "test")).toBe("node");
    expect(fieldOf({ ...PROBLEM, code: "no_capacity" }, "test")).toBeNull();
  });
});

describe("a session of another node", () => {
  it("is one that the answering node does not have", () => {
    expect(isElsewhere({ node: "a" }, NODES)).toBe(false);
    expect(isElsewhere({ node: "b" }, NODES)).toBe(true);
    expect(isElsewhere({}, [])).toBe(false);
    // Until the nodes are known, nothing is said of its viewers.
    expect(isElsewhere({ node: "a" }, [])).toBe(true);
  });

  it("is shown by its first slot, as the list has none of it", () => {
    expect([shownSlot({ slots: [] }, true), shownSlot({ slots: [] })]).toEqual([0, null]);
  });
});

describe("the list of a cluster", () => {
  const all = [
    { id: "x", state: "running", created: "", peers: [], node: "a" },
    { id: "y", state: "lost", created: "", peers: [], node: "d" },
    { id: "z", state: "running", created: "", peers: [] },
  ] as const;

  it("is filtered by node and by what is lost", () => {
    const ids = (wish: object): string => sift(all.map((one) => ({ ...one, peers: [] })), { ...EVERYTHING, ...wish }).map(({ id }) => id).join(" ");
    expect([ids({}), ids({ node: "a" }), ids({ node: "b" }), ids({ state: "lost" })]).toEqual(["x y z", "x", "", "y"]);
    expect(ids({ node: "a", state: "lost" })).toBe("");
  });

  it("offers every node that is there, has sessions, or is chosen, once", () => {
    expect(nodeNames([], [{}], null)).toEqual([]);
    expect(nodeNames([node("n-10"), node("n-9")], [{ node: "old" }, { node: "n-9" }], "gone")).toEqual(["gone", "n-9", "n-10", "old"]);
  });

  it("is that of one node where its address says so", () => {
    const url = listOfNode(new URL("https://host/oriel/"), "rack 1&2");
    expect(url.href).toBe("https://host/oriel/?node=rack+1%262");
    expect(nodeOf(url.search)).toBe("rack 1&2");
    expect([nodeOf(""), nodeOf("?node=")]).toEqual([null, null]);
  });
});

describe("what a cluster refuses", () => {
  it("is told with what was missing, without the names of fields", () => {
    const error = new ProblemError({ ...PROBLEM, code: "no_capacity", detail: 'the node "c" is draining (placement.node)' });
    expect(messageOf(error)).toBe('the node "c" is draining');
    expect(messageOf(new ProblemError({ ...PROBLEM, code: "cluster_unreachable", detail: "x" }))).toMatch(/^This node has lost/);
  });
});

describe("a node", () => {
  it("is full by the sessions that it has of those that it takes", () => {
    const full = (streamers: number, max_streamers: number): number => fullness({ streamers, max_streamers });
    expect([full(0, 4), full(1, 4), full(4, 4), full(9, 4), full(0, 0)]).toEqual([0, 0.25, 1, 1, 1]);
  });

  it("is busy while its machine has as much to do as one of its bounds says", () => {
    const load = { cpu_percent: 150, memory_mb: 4000 };
    expect(isBusy({ load })).toBe(false);
    expect(isBusy({ load, max_cpu_percent: 151, max_memory_mb: 4001 })).toBe(false);
    expect(isBusy({ load, max_cpu_percent: 150 })).toBe(true);
    expect(isBusy({ load, max_memory_mb: 4000 })).toBe(true);
    expect(isBusy({ max_cpu_percent: 1, max_memory_mb: 1 })).toBe(false);
  });

  it("has its labels in one order, as they are configured", () => {
    expect(labelsOf({ labels: { zone: "b", gpu: "yes" } })).toEqual(["gpu=yes", "zone=b"]);
  });
});
