import { Suspense, useCallback, useEffect, useState } from "react";
import { t } from "../i18n/words";
import { useFiles } from "./files/useFiles";
import { HostNotice } from "./HostNotice";
import { labelOf } from "./label";
import type { ViewerModel } from "./model";
import { onDemand } from "./onDemand";
import { useRoom } from "./room";
import { SoundOffer } from "./SoundOffer";
import { Stage } from "./Stage";
import { StateOverlay } from "./StateOverlay";
import { statusOf } from "./status";
import { type Tool, Toolbar } from "./Toolbar";
import { type Panel, toolsOf } from "./tools";
import { useFullscreen } from "./useFullscreen";
import { useFreeArea, useScreenKeyboard, useTakesTouch, useWakeLock } from "./usePhone";
import { type SessionView, useSession } from "./useSession";
import { useSettings } from "./useSettings";
import { type Fitted, useFitting, useInputEvents, useMayList, usePanning } from "./useViewing";
import "./viewer.css";

const ClipboardPanel = onDemand("panels", async () => (await import("./ClipboardPanel")).ClipboardPanel);
const ControlBar = onDemand("viewer", async () => (await import("./ControlBar")).ControlBar);
const DeviceTools = onDemand("devices", async () => (await import("./DeviceTools")).DeviceTools);
const Downloads = onDemand("panels", async () => (await import("./files/Downloads")).Downloads);
const FilesPanel = onDemand("panels", async () => (await import("./files/FilesPanel")).FilesPanel);
const InviteDialog = onDemand("panels", async () => (await import("./InviteDialog")).InviteDialog);
const KeyRow = onDemand("panels", async () => (await import("./KeyRow")).KeyRow);
const PeoplePanel = onDemand("room", async () => (await import("../room/PeoplePanel")).PeoplePanel);
const KeysPanel = onDemand("panels", async () => (await import("./KeysPanel")).KeysPanel);
const SharePanel = onDemand("panels", async () => (await import("./SharePanel")).SharePanel);
const Pointers = onDemand("panels", async () => (await import("./Pointers")).Pointers);
const StatsPanel = onDemand("panels", async () => (await import("./StatsPanel")).StatsPanel);
const ViewPanel = onDemand("panels", async () => (await import("./ViewPanel")).ViewPanel);

/** One streamer, watched and steered. */
export function ViewerPage({ model }: { readonly model: ViewerModel }) {
  const { client, views } = model;
  const [stage, setStage] = useState<HTMLElement | null>(null);
  const [page, setPage] = useState<HTMLElement | null>(null);
  const [toolbar, setToolbar] = useState<HTMLElement | null>(null);
  const [panel, setPanel] = useState<Panel>("none");
  const [fitted, setFitted] = useState<Fitted | null>(null);

  const session = useSession(client, views);
  const { state, live, interrupted, arrangement, info, role, input, hasPicture, nothingShared, several } = session;
  const takesTouch = useTakesTouch(client, info);
  const settings = useSettings(views, input, takesTouch);
  const keyboard = useScreenKeyboard(input);
  useFreeArea(page, input, keyboard.open);
  useWakeLock(live && hasPicture);
  const fullscreen = useFullscreen(page);
  const { locked, offered, fromSession, takeOffered } = useInputEvents(client, input, toolbar);
  const mayList = useMayList(model.api, model.hasToken);
  const listUrl = mayList ? model.root.href : null;
  const resizable = info?.input === true && info.windowName === null;
  const fits = fitted !== null && fitted.slot === info?.slot && resizable && role === "controller";
  useFitting(client, stage, fits ? fitted : null);
  const room = useRoom(stage, info);
  useEffect(() => {
    document.title = `${client.streamerId} – Oriel`;
  }, [client]);

  const showFiles = useCallback(() => {
    setPanel("files");
  }, []);
  // What is asked for files, what shows them, and what is said of other people, would be in the way of the first picture.
  const [begun, setBegun] = useState(false);
  if (!begun && (hasPicture || nothingShared)) setBegun(true);
  const files = useFiles(client, role, live && begun, page, showFiles);
  const [devices, setDevices] = useState<readonly Tool[]>([]);
  // Once there, it stays while the connection is lost and made again: what is on stays on.
  const [hasDevices, setHasDevices] = useState(false);
  if (!hasDevices && begun && (session.hasMicrophone || session.hasCamera)) setHasDevices(true);
  const soundOffered = session.hasSound && settings.muted && live;
  const toPicture = (): void => {
    setPanel("none");
    input?.focus();
  };
  const tools = toolsOf({
    client,
    views,
    session,
    settings,
    devices,
    keyboard,
    takesTouch,
    steers: role === "controller" && session.inControl && !settings.watchOnly,
    // Where there is room beside the picture it is offered there.
    offersSound: soundOffered && room === "none",
    soundOffered,
    panel,
    setPanel,
    hasFiles: files !== null,
    offered,
    takeOffered,
    locked,
    fitted,
    setFitted,
    resizable,
    fullscreen,
    mayInvite: mayList,
  });
  const { tone, text, why } = statusOf(session);
  const whole = fullscreen.on && fullscreen.kind === "window";
  usePanning(stage, input);

  return (
    <main
      className={["viewer", keyboard.open ? "with-keys" : "", whole ? "whole-window" : "", settings.scaling].join(" ")}
      ref={setPage}
      data-testid="viewer"
      data-state={state.kind}
      data-live={live && hasPicture}
    >
      <h1 className="unseen-text">{client.streamerId}</h1>
      <div
        ref={setStage}
        className={settings.thumbnails && several && !whole ? "picture-area with-row" : "picture-area"}
        aria-hidden="true"
      />
      <div className="stage-area">
        <Stage
          client={client}
          views={views}
          arrangement={arrangement}
          dimmed={!live || interrupted}
          thumbnails={settings.thumbnails && !whole}
        />
      </div>
      <SessionOverlay model={model} session={session} listUrl={listUrl} panel={panel} setPanel={setPanel} />
      {arrangement.notice !== null && (
        <p className="notice" role="status" data-testid="notice">
          {arrangement.notice}
        </p>
      )}
      {hasDevices && (
        <Suspense>
          <DeviceTools
            client={client}
            may={role === "controller" && session.rights.includes("publish")}
            hasMicrophone={session.hasMicrophone}
            hasCamera={session.hasCamera}
            onTools={setDevices}
          />
        </Suspense>
      )}
      {files?.hovered === true && <p className="drop-target">{t("drop-here")}</p>}
      {files !== null && (
        <Suspense>
          <Downloads files={files} onAccept={showFiles} />
        </Suspense>
      )}
      <HostNotice client={client} />
      {begun && (
        <Suspense>
          <Pointers client={client} page={page} />
          {live && <ControlBar client={client} />}
        </Suspense>
      )}
      {settings.statsShown && (
        <Suspense>
          <StatsPanel model={model} />
        </Suspense>
      )}
      {soundOffered && room !== "none" && (
        <SoundOffer
          room={room}
          onAccept={() => {
            settings.setMuted(false);
          }}
        />
      )}
      {keyboard.open && input !== null && (
        <Suspense>
          <KeyRow input={input} modifiers={keyboard.modifiers} />
        </Suspense>
      )}
      <Toolbar
        name={client.streamerId}
        subject={info !== null && (several || info.windowName !== null) ? labelOf(info) : null}
        listUrl={listUrl}
        tone={tone}
        status={text}
        why={why}
        watchers={session.watchers}
        peopleShown={panel === "people"}
        onPeople={() => {
          setPanel(panel === "people" ? "none" : "people");
        }}
        tools={tools}
        keyboardMode={settings.keyboardMode}
        onKeyboardMode={settings.setKeyboardMode}
        hold={panel !== "none" || offered !== null || !live || nothingShared}
        setElement={setToolbar}
        onLeave={toPicture}
      >
        <Suspense>
          {panel === "clipboard" && (
            <ClipboardPanel
              input={input}
              fromSession={fromSession}
              fetchPicture={() => client.api.clipboardPicture(client.streamerId)}
              onDone={toPicture}
            />
          )}
          {panel === "share" && <SharePanel client={client} />}
          {panel === "files" && files !== null && <FilesPanel client={client} files={files} />}
          {panel === "keys" && input !== null && <KeysPanel input={input} />}
          {panel === "people" && (
            <section className="panel people-panel" aria-label={t("people", { count: session.watchers.length })} data-testid="people-panel">
              <PeoplePanel client={client} roles />
            </section>
          )}
          {panel === "view" && input !== null && <ViewPanel client={client} source={info?.source ?? null} input={input} settings={settings} hasSound={session.hasSound} />}
        </Suspense>
      </Toolbar>
      <Suspense>
        {panel === "invite" && (
          <InviteDialog
            api={model.api}
            streamerId={client.streamerId}
            root={model.root}
            onClose={() => {
              setPanel("none");
            }}
          />
        )}
      </Suspense>
    </main>
  );
}

type SessionOverlayProps = {
  readonly model: ViewerModel;
  readonly session: SessionView;
  readonly listUrl: string | null;
  readonly panel: Panel;
  readonly setPanel: (panel: Panel) => void;
};

/** Replaces the picture while there is none, with possible actions. */
function SessionOverlay({ model, session, listUrl, panel, setPanel }: SessionOverlayProps) {
  const { client, api } = model;
  const share = (): void => {
    setPanel("share");
  };
  return (
    <StateOverlay
      streamerId={client.streamerId}
      listUrl={listUrl}
      hasToken={model.hasToken}
      state={session.state}
      at={session.at}
      slot={session.slot}
      nothingShared={session.nothingShared}
      sharing={panel === "share"}
      hasPicture={session.hasPicture}
      interrupted={session.interrupted}
      restarting={session.restarting}
      reached={client.peerId !== null}
      onRetry={() => {
        client.connect().catch(() => undefined);
      }}
      onRestart={async () => {
        await api.restart(client.streamerId);
        client.connect().catch(() => undefined);
      }}
      onLog={() => api.log(client.streamerId)}
      onShare={session.role === "controller" ? share : null}
    />
  );
}
