import type { Api, Node } from "@oriel/client";
import { useState } from "react";
import { usePoll } from "./usePoll";

const POLL_MS = 2_000;

/** The nodes of the cluster that the server is in, kept up to date; null where it is in none, or that is not known yet. */
export function useNodes(api: Api): readonly Node[] | null {
  const [member, setMember] = useState<boolean | null>(null);
  const [nodes, setNodes] = useState<readonly Node[] | null>(null);
  const look = async (signal: AbortSignal): Promise<void> => {
    try {
      const isMember = member ?? (await api.info({ signal })).features.includes("cluster");
      setMember(isMember);
      if (isMember) setNodes(await api.nodes({ signal }));
    } catch {
      // The list beside it reports when the server cannot be reached.
    }
  };
  usePoll(look, POLL_MS, member !== false);
  return nodes;
}
