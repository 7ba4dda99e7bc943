/** Describes the state of a Moonlight host's stream in words. */

import type { HostStage, HostStream, Source } from "@oriel/client";

const STAGES: Record<HostStage, string | null> = {
  asking: "Asking the host…",
  launching: "The host starts the app…",
  negotiating: "Agreeing on the stream with the host…",
  waiting: "Waiting for the host's first picture…",
  streaming: null,
  lost: "The host is lost, and is tried again",
  ended: "The host has ended the stream",
};

/** The host's stream among sources, if one of them is a host's. */
export function hostOf(sources: readonly Source[]): HostStream | null {
  return sources.find(({ host }) => host !== undefined)?.host ?? null;
}

/** Whether any of these is a host's, though there is nothing to tell of it yet. */
export function hasHost(sources: readonly Source[]): boolean {
  return sources.some(({ source }) => source.type === "moonlight");
}

/** In a few words; null while all is well. */
export function describeHost({ stage, quality, failure, termination }: HostStream): string | null {
  const doing = STAGES[stage];
  if (doing === null) return quality === "poor" ? "The connection to the host is poor" : null;
  if (failure !== null) return `${doing}: ${failure.message} (${[failure.code, termination].filter(Boolean).join(", ")})`;
  return termination === null ? doing : `${doing} (${termination})`;
}
