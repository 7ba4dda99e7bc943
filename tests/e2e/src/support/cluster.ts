/** A NATS server of a test's own, and web-servers that are nodes of its cluster. */

import { spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { cleanUp } from "./cleanup.js";
import { Ended, onFreePort } from "./ports.js";
import { ended, Server } from "./server.js";
import { until } from "./wait.js";

/**
 * A node that was not heard of for so long is lost, seconds: for tests that lose none, and for those that do. On a busy machine a node may be
 * silent for seconds, and nobody shall take it for lost.
 */
const LEASE_S = 20;
export const SHORT_LEASE_S = 8;

export type Node = { name: string; state: string; streamers: number };

export class Cluster {
  private constructor(
    readonly port: number,
    readonly leaseS: number,
  ) {}

  /** NATS with JetStream; it ends with the test file. */
  static async start(leaseS = LEASE_S): Promise<Cluster> {
    return onFreePort((port) => Cluster.#startOn(port, leaseS));
  }

  static async #startOn(port: number, leaseS: number): Promise<Cluster> {
    const dir = mkdtempSync(join(tmpdir(), "oriel-nats-"));
    const child = spawn("nats-server", ["-a", "127.0.0.1", "-p", String(port), "-js", "-sd", dir], { stdio: "ignore" });
    // It is not installed, unless there is a process.
    await new Promise<void>((done, failed) => child.once("spawn", done).once("error", failed));
    cleanUp(async () => {
      await ended(child, "SIGTERM");
      rmSync(dir, { recursive: true, force: true });
    });
    await until("NATS listens", () => {
      if (child.exitCode !== null) throw new Ended(`NATS ended with ${String(child.exitCode)}`);
      return answers(port);
    });
    return new Cluster(port, leaseS);
  }

  /** A web-server that is a node of it. `labels`: in YAML. */
  async node(name: string, labels = "{}"): Promise<Server> {
    return onFreePort((port) =>
      Server.start(
        `cluster:
  nats: [nats://127.0.0.1:${String(this.port)}]
  key: the-key-of-a-cluster-in-a-test-0123456789
  name: ${name}
  advertise: http://127.0.0.1:${String(port)}
  public_url: http://127.0.0.1:${String(port)}
  lease_s: ${String(this.leaseS)}
  labels: ${labels}
`,
        port,
      ),
    );
  }
}

/** Creates a streamer at a node of the cluster, waits until it runs there, and until `server` knows. */
export async function createAt(server: Server, node: string, streamer: { id: string } & Record<string, unknown>): Promise<void> {
  await until(`${streamer.id} is created at ${node}`, async () => {
    const response = await server.request("POST", "api/streamers?wait=running", { ...streamer, placement: { node } });
    // A node that is busy is not heard of for a moment, and takes none.
    if (response.status === 503) return false;
    if (!response.ok) throw new Error(`${streamer.id} at ${node}: ${String(response.status)} ${await response.text()}`);
    return true;
  });
  await runsAt(server, streamer.id, node);
}

export async function nodes(server: Server): Promise<Node[]> {
  return (await server.json<{ nodes: Node[] }>("GET", "api/nodes")).nodes;
}

/** Waits until every one of these nodes knows that all of them are alive. */
export async function together(...servers: Server[]): Promise<void> {
  for (const server of servers) {
    await until("all nodes are alive", async () => {
      const known = await nodes(server);
      return known.length === servers.length && known.every(({ state }) => state === "alive");
    });
  }
}

/** Waits until a node lists a streamer as being at another one, and running. */
export async function runsAt(server: Server, id: string, node: string): Promise<void> {
  await until(`${id} runs at ${node}`, async () => {
    const { streamers } = await server.json<{ streamers: { id: string; state: string; node: string }[] }>("GET", "api/streamers");
    return streamers.some((one) => one.id === id && one.node === node && one.state === "running");
  });
}

function answers(port: number): Promise<boolean> {
  return new Promise((done) => {
    const socket = connect(port, "127.0.0.1");
    socket.once("connect", () => {
      socket.destroy();
      done(true);
    });
    socket.once("error", () => {
      done(false);
    });
  });
}
