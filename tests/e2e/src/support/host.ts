/** A Moonlight host to play with: `tests/fake-gamestream-host`, and what it has seen. */

import { type ChildProcess, spawn } from "node:child_process";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { cleanUp } from "./cleanup.js";
import { ended, PROGRAMS } from "./server.js";
import { until } from "./wait.js";

/** Input as the host has got it; see `input.rs` there. */
export type Input = { kind: string } & Record<string, unknown>;

export type HostState = {
  paired_clients: number;
  pin_wanted: boolean;
  app: number | null;
  session: { app: number; width: number; height: number } | null;
  counters: { sessions: number; frames: number; keyframes: number; keyframe_requests: number };
  /** What the client did that the protocol does not allow. */
  complaints: string[];
};

export class FakeHost {
  private constructor(
    readonly port: number,
    readonly api: string,
  ) {}

  /** Starts one that ends with the test file. @param scenario see `scenario.rs` there. */
  static async start(scenario: object = {}): Promise<FakeHost> {
    const options = ["--scenario", JSON.stringify(scenario)];
    const child = spawn(join(PROGRAMS, "fake-gamestream-host"), options, { stdio: ["ignore", "pipe", "inherit"] });
    cleanUp(() => ended(child, "SIGTERM"));
    const { http_port, api_port } = JSON.parse(await firstLine(child)) as { http_port: number; api_port: number };
    return new FakeHost(http_port, `http://127.0.0.1:${String(api_port)}`);
  }

  async state(): Promise<HostState> {
    return (await this.#ask("GET", "state")) as HostState;
  }

  async inputs(kind?: string): Promise<Input[]> {
    const { inputs } = (await this.#ask("GET", "input")) as { inputs: Input[] };
    return kind === undefined ? inputs : inputs.filter((input) => input.kind === kind);
  }

  /** Somebody at the host types the PIN, as soon as the host asks for it. */
  async type(pin: string): Promise<void> {
    await until("the host asks for a PIN", async () => (await this.state()).pin_wanted);
    await this.#ask("POST", "pin", { pin });
  }

  async act(action: object): Promise<void> {
    await this.#ask("POST", "do", action);
  }

  async change(scenario: object): Promise<void> {
    await this.#ask("PATCH", "scenario", scenario);
  }

  /** Waits for input. */
  async gets(what: string, matches: (input: Input) => boolean): Promise<Input> {
    return until(what, async () => (await this.inputs()).find(matches));
  }

  async #ask(method: string, path: string, body?: object): Promise<unknown> {
    const init = body === undefined ? { method } : { method, body: JSON.stringify(body) };
    const response = await fetch(`${this.api}/${path}`, init);
    const answer: unknown = await response.json();
    if (!response.ok) throw new Error(`${method} ${path}: ${JSON.stringify(answer)}`);
    return answer;
  }
}

async function firstLine(child: ChildProcess): Promise<string> {
  if (child.stdout === null) throw new Error("a pipe was asked for");
  const lines = createInterface(child.stdout);
  return new Promise((done, failed) => {
    lines.once("line", done);
    child.once("exit", (code) => {
      failed(new Error(`the host ended with ${String(code)}`));
    });
  });
}
