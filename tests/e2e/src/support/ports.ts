/** Ports for programs that are told theirs. */

import { createServer } from "node:net";

/** How often another port is tried. */
const TRIES = 5;

/** Says why something that was to listen has ended. */
export class Ended extends Error {}

/**
 * Starts something on a port that is free now. Until it listens somebody else may get the port, as nobody can keep it for a program: then,
 * that is when `start` fails with {@link Ended}, it is tried with another one.
 */
export async function onFreePort<T>(start: (port: number) => Promise<T>): Promise<T> {
  for (let left = TRIES; ; left--) {
    const port = await freePort();
    try {
      return await start(port);
    } catch (error) {
      if (left === 1 || !(error instanceof Ended)) throw error;
      console.log(`not on port ${String(port)}: ${error.message}`);
    }
  }
}

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((done, failed) => {
    server.once("error", failed).listen(0, "127.0.0.1", done);
  });
  const address = server.address();
  await new Promise((done) => server.close(done));
  if (address === null || typeof address === "string") throw new Error("no port");
  return address.port;
}
