/** Describes the state of a Moonlight host's stream in words. */

import type { HostStage, HostStream, Source } from "@oriel/client";
import { type PlainKey, t } from "../i18n/words";

const STAGES: Record<HostStage, PlainKey | null> = {
  asking: "host-asking",
  launching: "host-launching",
  negotiating: "host-negotiating",
  waiting: "host-waiting",
  streaming: null,
  lost: "host-lost",
  ended: "host-ended",
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
  const key = STAGES[stage];
  if (key === null) return quality === "poor" ? t("host-poor") : null;
  const doing = t(key);
  if (failure !== null) return `${doing}: ${failure.message} (${[failure.code, termination].filter(Boolean).join(", ")})`;
  return termination === null ? doing : `${doing} (${termination})`;
}
