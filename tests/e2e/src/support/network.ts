/** A bad network between pages and sessions: a proxy of the web-server that also carries all media. */

import { spawn } from "node:child_process";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { cleanUp } from "./cleanup.js";
import { ended, PROGRAMS, type Server } from "./server.js";

/** What a link does; what is absent is not done. */
export type Direction = {
  readonly drop?: boolean;
  readonly loss?: number;
  readonly delay_ms?: number;
  readonly rate_kbps?: number;
  readonly queue_ms?: number;
};

export class Network {
  private constructor(readonly url: string) {}

  static async start(server: Server): Promise<Network> {
    const upstream = server.url.replace(/\/$/, "");
    const child = spawn(join(PROGRAMS, "netsim"), ["--upstream", upstream, "--port", "0"], {
      stdio: ["ignore", "pipe", "inherit"],
    });
    cleanUp(() => ended(child, "SIGKILL"));
    const url = await new Promise<string>((done, failed) => {
      createInterface(child.stdout).on("line", (line) => {
        const url = /^netsim is ready at (\S+)$/.exec(line)?.[1];
        if (url !== undefined) done(url);
      });
      child.once("exit", (code) => {
        failed(new Error(`netsim ended with ${String(code)}`));
      });
    });
    return new Network(url);
  }

  /** What happens to packets from now on; without a direction it is left alone. */
  async rules(rules: { readonly down?: Direction; readonly up?: Direction }): Promise<void> {
    const response = await fetch(new URL("netsim/rules", this.url), {
      method: "PUT",
      headers: { "content-type": "application/json" },
      body: JSON.stringify(rules),
    });
    if (!response.ok) throw new Error(`netsim: ${String(response.status)} ${await response.text()}`);
  }
}
