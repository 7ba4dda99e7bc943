/** The microphone for the programs of the session. What opens it is loaded when it is first wanted: the picture does not wait for it. */

import type { OrielClient } from "@oriel/client";
import { useCallback, useEffect, useRef, useState, useSyncExternalStore } from "react";
import type { Device } from "../room/localMedia";
import type { SessionMicrophone } from "./microphone";
import { withWords } from "./onDemand";

export type Microphone = {
  readonly device: Device;
  /** Programs hear it. */
  readonly heard: boolean;
  readonly toggle: () => void;
};

const OFF: Device = { kind: "off" };

/** The microphone, and what stands in its way. */
export function useMicrophone(client: OrielClient): Microphone & { readonly trouble: string | null } {
  const [microphone, setMicrophone] = useState<SessionMicrophone | null>(null);
  const loaded = useRef<Promise<SessionMicrophone> | null>(null);
  useEffect(
    () => () => {
      microphone?.close();
    },
    [microphone],
  );
  const subscribe = useCallback((changed: () => void) => microphone?.subscribe(changed) ?? (() => undefined), [microphone]);
  const device = useSyncExternalStore(subscribe, () => microphone?.device ?? OFF);
  const trouble = useSyncExternalStore(subscribe, () => microphone?.trouble ?? null);
  const heard = useSyncExternalStore(subscribe, () => client.sessionMicrophone);
  const toggle = (): void => {
    loaded.current ??= withWords("devices", () => import("./microphone")).then(({ SessionMicrophone }) => {
      const made = new SessionMicrophone(client);
      setMicrophone(made);
      return made;
    });
    loaded.current.then(
      (made) => {
        made.toggle();
      },
      // The server was not reached: another click tries again.
      () => {
        loaded.current = null;
      },
    );
  };
  return { device, heard: heard && device.kind === "on", toggle, trouble };
}
