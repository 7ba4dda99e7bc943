import type { OrielClient, Participant, PublishKind } from "@oriel/client";
import { useState } from "react";
import { ConfirmDialog } from "../ui/ConfirmDialog";
import { Icon, type IconName } from "./Icon";
import { useClientValue } from "../viewer/hooks";
import { nameOf } from "../ui/person";
import { t } from "../i18n/words";
import "./people.css";

type PeopleProps = {
  readonly client: OrielClient;
  /** Says of everybody whether they steer or watch; else of those alone who do nothing more. */
  readonly roles?: boolean;
};

/** Everybody who is in, and what a moderator can do about them. */
export function PeoplePanel({ client, roles = false }: PeopleProps) {
  const participants = useClientValue(client, "participants", (current) => current.participants);
  const rights = useClientValue(client, "rights", (current) => current.rights);
  // Raised hands wait for somebody to see them.
  const ordered = [...participants].sort((a, b) => Number(b.handRaised) - Number(a.handRaised));
  return (
    <ul className="people" data-testid="people">
      {ordered.map((participant) => (
        <Person
          key={participant.peerId}
          client={client}
          participant={participant}
          roles={roles}
          moderates={rights.includes("moderate") && participant.peerId !== client.peerId}
        />
      ))}
    </ul>
  );
}

type PersonProps = {
  readonly client: OrielClient;
  readonly participant: Participant;
  readonly roles: boolean;
  readonly moderates: boolean;
};

function Person({ client, participant, roles, moderates }: PersonProps) {
  const { peerId, publishing, muted, handRaised, speaking, holdsControl } = participant;
  const name = nameOf(participant);
  const own = peerId === client.peerId;
  const facts = factsOf(participant, roles);
  return (
    <li data-testid="person" data-name={name} data-speaking={speaking}>
      <span className="person-name">
        {own ? t("name-you", { name }) : name}
        {facts !== "" && <span className="quiet-text">{` ${facts}`}</span>}
      </span>
      {speaking && <Mark icon="sound" text={t("tile-speaking")} />}
      {handRaised && <Mark icon="hand" text={t("hand-raised")} />}
      {holdsControl && <Mark icon="pointer" text={t("has-control")} />}
      {!moderates && publishing.length > 0 && (
        <Mark
          icon={muted || !publishing.includes("microphone") ? "microphone-off" : "microphone"}
          text={muted || !publishing.includes("microphone") ? t("muted") : t("microphone-is-on")}
        />
      )}
      {moderates && <Moderation client={client} participant={participant} name={name} />}
    </li>
  );
}

function factsOf({ publishing, role, rights }: Participant, roles: boolean): string {
  if (publishing.includes("screen")) return t("shows-screen");
  const more = publishing.length > 0 || rights.includes("publish");
  if (more && !roles) return "";
  return role === "controller" ? t("steers") : t("watches");
}

function Mark({ icon, text }: { readonly icon: IconName; readonly text: string }) {
  return (
    <span className="mark" role="img" aria-label={text} title={text}>
      <Icon name={icon} />
    </span>
  );
}

type ModerationProps = { readonly client: OrielClient; readonly participant: Participant; readonly name: string };

function Moderation({ client, participant, name }: ModerationProps) {
  const { peerId, publishing, muted } = participant;
  const [removing, setRemoving] = useState(false);
  const stoppable: readonly { readonly kind: PublishKind; readonly icon: IconName; readonly label: string; readonly off: boolean }[] = [
    { kind: "microphone", icon: "microphone", label: t("mute-person", { name }), off: muted },
    { kind: "camera", icon: "camera", label: t("camera-off-person", { name }), off: false },
    { kind: "screen", icon: "share", label: t("screen-stop-person", { name }), off: false },
  ];
  return (
    <>
      {stoppable
        .filter(({ kind }) => publishing.includes(kind))
        .map(({ kind, icon, label, off }) => (
          <button
            key={kind}
            className="icon-button"
            type="button"
            aria-label={label}
            title={label}
            disabled={off}
            data-testid={`stop-${kind}`}
            onClick={() => {
              client.mutePeer(peerId, kind);
            }}
          >
            <Icon name={off ? "microphone-off" : icon} />
          </button>
        ))}
      <button
        className="icon-button"
        type="button"
        aria-label={t("remove-person", { name })}
        title={t("remove-person", { name })}
        data-testid="remove"
        onClick={() => {
          setRemoving(true);
        }}
      >
        <Icon name="trash" />
      </button>
      {removing && (
        <ConfirmDialog
          title={t("remove-person-question", { name })}
          text={t("remove-person-text")}
          action={t("remove")}
          onConfirm={() => {
            client.removePeer(peerId);
            return Promise.resolve();
          }}
          onClose={() => {
            setRemoving(false);
          }}
        />
      )}
    </>
  );
}
