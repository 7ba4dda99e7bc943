/**
 * The buttons for what the session's programs can have of whoever sits here: the microphone and the camera. Loaded when there is a picture
 * of a session that has such devices; the buttons are given to the toolbar.
 */

import type { OrielClient } from "@oriel/client";
import { useEffect, useMemo, useState, useSyncExternalStore } from "react";
import type { IconName } from "../ui/Icon";
import { t } from "../i18n/words";
import { type DeviceKind, SessionDevice } from "./sessionDevice";
import type { Tool } from "./Toolbar";

type DeviceToolProps = {
  readonly client: OrielClient;
  readonly kind: DeviceKind;
  /** The session has programs for it now. */
  readonly offered: boolean;
  /** This peer may steer and publish. */
  readonly may: boolean;
  /** Takes the button; null: there is none any more. */
  readonly onTool: (kind: DeviceKind, tool: Tool | null) => void;
};

const ICONS: Record<DeviceKind, readonly [on: IconName, off: IconName]> = {
  camera: ["camera", "camera-off"],
  microphone: ["microphone", "microphone-off"],
};

function labelOf(kind: DeviceKind, state: "given" | "not-allowed" | "offer" | "opening"): string {
  if (kind === "camera") {
    if (state === "not-allowed") return t("camera-not-allowed");
    if (state === "given") return t("camera-seen");
    return state === "opening" ? t("camera-opening") : t("camera-offer");
  }
  if (state === "not-allowed") return t("microphone-not-allowed");
  if (state === "given") return t("microphone-heard");
  return state === "opening" ? t("microphone-opening") : t("microphone-offer");
}

/** One button, and in words what stands in the way of its device. */
export function DeviceTool({ client, kind, offered, may, onTool }: DeviceToolProps) {
  const [device] = useState(() => new SessionDevice(client, kind));
  useEffect(
    () => () => {
      device.close();
    },
    [device],
  );
  const state = useSyncExternalStore(device.subscribe, () => device.device.kind);
  const given = useSyncExternalStore(device.subscribe, () => device.given);
  const trouble = useSyncExternalStore(device.subscribe, () => device.trouble);
  const open = state === "on" || state === "opening";
  const tool = useMemo((): Tool => {
    const [on, off] = ICONS[kind];
    return {
      id: kind,
      icon: open ? on : off,
      label: labelOf(kind, !may ? "not-allowed" : given ? "given" : open ? "opening" : "offer"),
      pressed: open,
      highlighted: given,
      disabled: !may && !open,
      use: device.toggle,
    };
  }, [device, kind, may, given, open]);
  useEffect(() => {
    onTool(kind, offered ? tool : null);
  }, [kind, offered, tool, onTool]);
  if (trouble === null) return null;
  return (
    <p className="notice" role="status" data-testid={`${kind}-notice`}>
      {trouble}
    </p>
  );
}

type DeviceToolsProps = Omit<DeviceToolProps, "kind" | "offered" | "onTool"> & {
  readonly hasMicrophone: boolean;
  readonly hasCamera: boolean;
  /** Takes all buttons. */
  readonly onTools: (change: (tools: readonly Tool[]) => readonly Tool[]) => void;
};

/** The buttons of the devices that the session has. One that it had keeps its device: the session may come back. */
export function DeviceTools({ client, may, hasMicrophone, hasCamera, onTools }: DeviceToolsProps) {
  const onTool = useMemo(
    () =>
      (kind: DeviceKind, tool: Tool | null): void => {
        onTools((tools) => {
          const others = tools.filter(({ id }) => id !== kind);
          const all = tool === null ? others : [...others, tool];
          // The microphone comes first, whichever was there before.
          return all.sort((a, b) => b.id.localeCompare(a.id));
        });
      },
    [onTools],
  );
  return (
    <>
      <DeviceTool client={client} kind="microphone" offered={hasMicrophone} may={may} onTool={onTool} />
      <DeviceTool client={client} kind="camera" offered={hasCamera} may={may} onTool={onTool} />
    </>
  );
}
