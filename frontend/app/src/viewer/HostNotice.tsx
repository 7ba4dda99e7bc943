import type { HostStream, OrielClient } from "@oriel/client";
import { useState } from "react";
import { usePoll } from "../ui/usePoll";
import { describeHost, hasHost, hostOf } from "./host";

const EVERY_MS = 1000;

/** How the stream of a Moonlight host does, while there is something to say of it. Nothing for other sources. */
export function HostNotice({ client }: { readonly client: OrielClient }) {
  const [host, setHost] = useState<HostStream | null>(null);
  // Until it is known that there is none.
  const [possible, setPossible] = useState(true);
  usePoll(
    async (signal) => {
      try {
        const sources = await client.api.sources(client.streamerId, { signal });
        setHost(hostOf(sources));
        setPossible(hasHost(sources));
      } catch {
        // The session begins, ends, or cannot be reached: the page says so elsewhere.
        setHost(null);
      }
    },
    EVERY_MS,
    possible,
  );
  const text = host === null ? null : describeHost(host);
  return (
    <p
      className="host-notice"
      role="status"
      hidden={text === null}
      data-testid="host"
      data-stage={host?.stage}
      data-quality={host?.quality ?? undefined}
    >
      {text}
    </p>
  );
}
