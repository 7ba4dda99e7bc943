import type { OrielClient } from "@oriel/client";
import { useClientValue } from "./hooks";
import { t } from "../i18n/words";

/** With exclusive control: who steers, and what this viewer can do about it. Empty with shared control. */
export function ControlBar({ client }: { readonly client: OrielClient }) {
  const control = useClientValue(client, "control", (current) => current.control);
  const role = useClientValue(client, "role", (current) => current.role);
  if (control.mode === "shared" || role !== "controller") return null;
  const me = client.peerId;
  const held = control.holder === me;
  const asked = me !== null && control.requests.includes(me);
  const next = control.requests[0];
  const text = held ? t("control-yours") : control.holder === null ? t("control-nobodys") : t("control-elsewhere");
  return (
    <div className="control-bar" role="status" data-testid="control" data-held={held}>
      <span>{held && next !== undefined ? t("control-asked-for") : text}</span>
      {held && next !== undefined && (
        <ControlButton
          id="grant"
          label={t("control-grant")}
          use={() => {
            client.grantControl(next);
          }}
        />
      )}
      {held && (
        <ControlButton
          id="release"
          label={t("control-release")}
          use={() => {
            client.releaseControl();
          }}
        />
      )}
      {!held && control.holder !== null && (
        <ControlButton
          id={asked ? "withdraw" : "request"}
          label={asked ? t("control-withdraw") : t("control-request")}
          use={() => {
            if (asked) client.releaseControl();
            else client.requestControl();
          }}
        />
      )}
      {!held && (
        <ControlButton
          id="take"
          label={control.holder === null ? t("control-take") : t("control-take-over")}
          use={() => {
            client.takeControl();
          }}
        />
      )}
    </div>
  );
}

type ControlButtonProps = { readonly id: string; readonly label: string; readonly use: () => void };

function ControlButton({ id, label, use }: ControlButtonProps) {
  return (
    <button
      className="button"
      type="button"
      data-testid={`control-${id}`}
      // A click leaves the keyboard where it is: with the session.
      onMouseDown={(event) => {
        event.preventDefault();
      }}
      onClick={use}
    >
      {label}
    </button>
  );
}
