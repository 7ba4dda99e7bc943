import { useCallback, useEffect, useState } from "react";
import { ClipboardPanel } from "./ClipboardPanel";
import { ControlBar } from "./ControlBar";
import { Downloads } from "./files/Downloads";
import { FilesPanel } from "./files/FilesPanel";
import { useFiles } from "./files/useFiles";
import { HostNotice } from "./HostNotice";
import { KeyRow } from "./KeyRow";
import { labelOf } from "./label";
import type { ViewerModel } from "./model";
import { useRoom } from "./room";
import { SharePanel } from "./SharePanel";
import { SoundOffer } from "./SoundOffer";
import { Stage } from "./Stage";
import { StateOverlay } from "./StateOverlay";
import { StatsPanel } from "./StatsPanel";
import { statusOf } from "./status";
import { Toolbar } from "./Toolbar";
import { type Panel, toolsOf } from "./tools";
import { useFullscreen } from "./useFullscreen";
import { useMicrophone } from "./useMicrophone";
import { useFreeArea, useScreenKeyboard, useTakesTouch, useWakeLock } from "./usePhone";
import { type SessionView, useSession } from "./useSession";
import { useSettings } from "./useSettings";
import { type Fitted, useFitting, useInputEvents, useMayList } from "./useViewing";
import "./viewer.css";

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
  const files = useFiles(client, role, live, page, showFiles);
  const microphone = useMicrophone(client);
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
    microphone,
    keyboard,
    takesTouch,
    steers: role === "controller" && session.inControl && !settings.watchOnly,
    // Where there is room beside the picture it is offered there.
    offersSound: soundOffered && room === "none",
    soundOffered,
    panel,
    setPanel,
    hasFiles: files.available,
    offered,
    takeOffered,
    locked,
    fitted,
    setFitted,
    resizable,
    fullscreen,
  });
  const { tone, text, why } = statusOf(session);

  return (
    <div
      className={keyboard.open ? "viewer with-keys" : "viewer"}
      ref={setPage}
      data-testid="viewer"
      data-state={state.kind}
      data-live={live && hasPicture}
    >
      <div
        ref={setStage}
        className={settings.thumbnails && several ? "picture-area with-row" : "picture-area"}
        aria-hidden="true"
      />
      <div className="stage-area">
        <Stage
          client={client}
          views={views}
          arrangement={arrangement}
          dimmed={!live || interrupted}
          thumbnails={settings.thumbnails}
        />
      </div>
      <SessionOverlay model={model} session={session} listUrl={listUrl} panel={panel} setPanel={setPanel} />
      {arrangement.notice !== null && (
        <p className="notice" role="status" data-testid="notice">
          {arrangement.notice}
        </p>
      )}
      {microphone.trouble !== null && (
        <p className="notice" role="status" data-testid="microphone-notice">
          {microphone.trouble}
        </p>
      )}
      {files.hovered && <p className="drop-target">Drop to copy into the session</p>}
      {files.available && <Downloads client={client} transfers={files.transfers} onAccept={showFiles} />}
      <HostNotice client={client} />
      {live && <ControlBar client={client} />}
      {settings.statsShown && <StatsPanel model={model} />}
      {soundOffered && room !== "none" && (
        <SoundOffer
          room={room}
          onAccept={() => {
            settings.setMuted(false);
          }}
        />
      )}
      {keyboard.open && input !== null && <KeyRow input={input} modifiers={keyboard.modifiers} />}
      <Toolbar
        name={client.streamerId}
        subject={info !== null && (several || info.windowName !== null) ? labelOf(info) : null}
        listUrl={listUrl}
        tone={tone}
        status={text}
        why={why}
        watchers={session.watchers}
        tools={tools}
        keyboardMode={settings.keyboardMode}
        onKeyboardMode={settings.setKeyboardMode}
        hold={panel !== "none" || offered !== null || !live || nothingShared}
        setElement={setToolbar}
        onLeave={toPicture}
      >
        {panel === "clipboard" && (
          <ClipboardPanel
            input={input}
            fromSession={fromSession}
            fetchPicture={() => client.api.clipboardPicture(client.streamerId)}
            onDone={toPicture}
          />
        )}
        {panel === "share" && <SharePanel client={client} />}
        {panel === "files" && <FilesPanel client={client} files={files} />}
      </Toolbar>
    </div>
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
