/** The real web-server, in a state directory of its own, and its REST API. */

import { type ChildProcess, spawn } from "node:child_process";
import { createWriteStream, existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { createInterface } from "node:readline";
import { cleanUp } from "./cleanup.js";
import { Ended } from "./ports.js";
import { until } from "./wait.js";

/** Where cargo puts the programs. */
export const PROGRAMS = resolve(
  process.env["ORIEL_BIN_DIR"] ?? join(import.meta.dirname, "../../../../target/debug"),
);

export type Peer = { id: string; kind: string; role: string; state: string };
export type Streamer = {
  id: string;
  state: string;
  reason: string | null;
  peers: Peer[];
  stats: Stats | null;
};
/** Part of what a streamer counts, about once a second. */
export type Stats = {
  /** Its own clock. */
  uptime_ms: number;
  video: { captured: number; encoded: number; dropped: number; keyframes_asked: number };
  process: { pid: number; rss_bytes: number };
};
/** Part of what it has counted for a peer by then. */
export type PeerStats = {
  bytes: number;
  frames: number;
  skipped_units: number;
  retransmitted: number;
  copied: number;
  estimate_bps: number | null;
};
export type Report = { stats: Stats; peers: (Peer & { stats: PeerStats })[] };

export class Server {
  url = "";
  /** Shown with every request, if any. */
  token: string | null = null;
  readonly dir = mkdtempSync(join(tmpdir(), "oriel-e2e-"));
  readonly #config = join(this.dir, "oriel.yaml");
  #child: ChildProcess | null = null;

  /** Starts one that ends with the test file, with a configuration in YAML if there is one. Port 0: a free one. */
  static async start(config?: string, port = 0): Promise<Server> {
    const server = new Server();
    cleanUp(() => server.#end());
    if (config !== undefined) writeFileSync(server.#config, config);
    await server.run(String(port));
    return server;
  }

  async run(port: string): Promise<void> {
    // Tests do not talk to the world, unless they configure it.
    const env: NodeJS.ProcessEnv = { ORIEL_ICE_SERVERS: "none", ...process.env };
    // Servers of other tests would have the port for media over TCP.
    if (!this.#configures("tcp_port")) env["ORIEL_WEBRTC_TCP_PORT"] ??= "0";
    // On a busy machine it may be quicker than a connection.
    if (!this.#configures("websocket_media")) env["ORIEL_WEBRTC_WEBSOCKET_MEDIA"] ??= "false";
    const options = ["--port", port, "--state-dir", join(this.dir, "state"), "--stop-streamers"];
    if (existsSync(this.#config)) options.push("--config", this.#config);
    const child = spawn(join(PROGRAMS, "web-server"), options, { stdio: ["ignore", "pipe", "pipe"], env });
    this.#child = child;
    child.stderr.pipe(createWriteStream(join(this.dir, "server.log"), { flags: "a" }));
    const lines = createInterface(child.stdout);
    this.url = await new Promise<string>((done, failed) => {
      lines.on("line", (line) => {
        const url = /^Oriel is ready at (\S+)$/.exec(line)?.[1];
        if (url !== undefined) done(url);
      });
      child.once("exit", (code) => {
        const why = `the web-server ended with ${String(code)}: ${this.log()}`;
        failed(/address already in use/i.test(why) ? new Ended(why) : new Error(why));
      });
    });
  }

  #configures(key: string): boolean {
    return existsSync(this.#config) && readFileSync(this.#config, "utf8").includes(`${key}:`);
  }

  log(): string {
    return readFileSync(join(this.dir, "server.log"), "utf8").slice(-4000);
  }

  /** As if it had crashed: nothing is tidied up. */
  async kill(): Promise<void> {
    await ended(this.#child, "SIGKILL");
  }

  async request(method: string, path: string, body?: unknown): Promise<Response> {
    const headers = new Headers();
    if (this.token !== null) headers.set("authorization", `Bearer ${this.token}`);
    if (body !== undefined) headers.set("content-type", "application/json");
    return fetch(new URL(path, this.url), {
      method,
      headers,
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
  }

  async json<T>(method: string, path: string, body?: unknown): Promise<T> {
    const response = await this.request(method, path, body);
    const text = await response.text();
    if (!response.ok) throw new Error(`${method} ${path}: ${String(response.status)} ${text}`);
    return (text === "" ? null : JSON.parse(text)) as T;
  }

  /** Creates one and waits until it runs. */
  async create(id: string, source: object): Promise<void> {
    await this.json("POST", "api/streamers?wait=running", { id, source });
  }

  async streamer(id: string): Promise<Streamer> {
    return this.json("GET", `api/streamers/${id}`);
  }

  /** The process of a session, once it has said something of itself. */
  async pid(id: string): Promise<number> {
    return until(`${id} reports`, async () => (await this.streamer(id)).stats?.process.pid);
  }

  /** Waits until a session counts again: what it has counted, all at the same moment of its own clock. */
  async report(id: string): Promise<Report> {
    const before = (await this.streamer(id)).stats?.uptime_ms ?? 0;
    return until(`${id} counts again`, async () => {
      const now = await this.json<Report>("GET", `api/streamers/${id}`);
      // None at all while another process is started.
      return ((now.stats as Stats | null)?.uptime_ms ?? 0) > before && now;
    });
  }

  async peers(id: string): Promise<Peer[]> {
    return (await this.streamer(id)).peers;
  }

  async delete(id: string): Promise<void> {
    await this.json("DELETE", `api/streamers/${id}`);
  }

  async #end(): Promise<void> {
    await ended(this.#child, "SIGTERM");
    // What a killed server or a failed test left behind names this directory in its command line.
    for (const pid of processesNaming(this.dir)) process.kill(pid, "SIGKILL");
    if (process.env["ORIEL_KEEP"] === undefined) rmSync(this.dir, { recursive: true, force: true });
    else console.error(`kept: ${this.dir}`);
  }
}

/** Ends a child that we started, and waits for it; after some seconds by force. */
export async function ended(child: ChildProcess | null, signal: NodeJS.Signals): Promise<void> {
  if (child === null || child.exitCode !== null || child.signalCode !== null) return;
  const gone = new Promise((done) => child.once("exit", done));
  child.kill(signal);
  const force = setTimeout(() => child.kill("SIGKILL"), 10_000);
  await gone;
  clearTimeout(force);
}

function processesNaming(text: string): number[] {
  return readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name) && Number(name) !== process.pid)
    .filter((pid) => {
      try {
        return readFileSync(`/proc/${pid}/cmdline`, "utf8").includes(text);
      } catch {
        return false;
      }
    })
    .map(Number);
}

/** Waits until a file has some content. */
export async function fileWith(path: string, what: RegExp, ms?: number): Promise<string> {
  return until(
    `${String(what)} in ${path}`,
    () => {
      const text = existsSync(path) ? readFileSync(path, "utf8") : "";
      return what.test(text) ? text : undefined;
    },
    ms,
  );
}
