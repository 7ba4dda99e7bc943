/** Parts of the viewer that are loaded when they are first used, with their words: the picture does not wait for them. */

import { type ComponentType, lazy } from "react";
import { moreWords } from "../i18n/load";
import type { Part } from "../i18n/words";

export async function withWords<Module>(part: Part, load: () => Promise<Module>): Promise<Module> {
  const [module] = await Promise.all([load(), moreWords(part)]);
  return module;
}

export function onDemand<Props>(part: Part, load: () => Promise<ComponentType<Props>>) {
  return lazy(async () => ({ default: await withWords(part, load) }));
}
