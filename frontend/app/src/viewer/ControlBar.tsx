import type { OrielClient } from "@oriel/client";
import { useClientValue } from "./hooks";

/** With exclusive control: who steers, and what this viewer can do about it. Empty with shared control. */
export function ControlBar({ client }: { readonly client: OrielClient }) {
  const control = useClientValue(client, "control", (current) => current.control);
  const role = useClientValue(client, "role", (current) => current.role);
  if (control.mode === "shared" || role !== "controller") return null;
  const me = client.peerId;
  const held = control.holder === me;
  const asked = me !== null && control.requests.includes(me);
  const next = control.requests[0];
  const text = held ? "You have control" : control.holder === null ? "Nobody has control" : "Another has control";
  return (
    <div className="control-bar" role="status" data-testid="control" data-held={held}>
      <span>{held && next !== undefined ? `${text} – somebody asks for it` : text}</span>
      {held && next !== undefined && (
        <ControlButton
          id="grant"
          label="Hand it over"
          use={() => {
            client.grantControl(next);
          }}
        />
      )}
      {held && (
        <ControlButton
          id="release"
          label="Release"
          use={() => {
            client.releaseControl();
          }}
        />
      )}
      {!held && control.holder !== null && (
        <ControlButton
          id={asked ? "withdraw" : "request"}
          label={asked ? "Asked – withdraw" : "Ask for it"}
          use={() => {
            if (asked) client.releaseControl();
            else client.requestControl();
          }}
        />
      )}
      {!held && (
        <ControlButton
          id="take"
          label={control.holder === null ? "Take control" : "Take over"}
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
