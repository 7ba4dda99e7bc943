/** Parts of the viewer that are loaded when they are first shown, with their words: the picture does not wait for them. */

import { type ComponentType, lazy } from "react";
import { moreWords } from "../i18n/load";

export function onDemand<Props>(load: () => Promise<ComponentType<Props>>) {
  return lazy(async () => {
    const [component] = await Promise.all([load(), moreWords("panels")]);
    return { default: component };
  });
}
