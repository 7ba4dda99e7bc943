import type { FileEntry, FileList, OrielClient } from "@oriel/client";
import { type SubmitEvent, useRef, useState, useSyncExternalStore } from "react";
import { t } from "../../i18n/words";
import { ConfirmDialog } from "../../ui/ConfirmDialog";
import { focusNew } from "../../ui/focus";
import { bytes } from "../../ui/format";
import { Icon } from "../../ui/Icon";
import { messageOf } from "../../ui/problem";
import { usePoll } from "../../ui/usePoll";
import { chosen } from "./picked";
import { join, type Transfer, type Transfers } from "./transfers";
import type { Files } from "./useFiles";
import "./files.css";

const POLL_MS = 2_000;
/** Entries of a directory that are shown at once. */
const PAGE = 500;

type FilesPanelProps = { readonly client: OrielClient; readonly files: Files };

/** The session's home: what is in it, and what is being copied. */
export function FilesPanel({ client, files }: FilesPanelProps) {
  const { transfers, directory, setDirectory } = files;
  const { api, streamerId } = client;
  // The page of one directory that is shown; what was read of another is nothing here.
  const [after, setAfter] = useState<string | null>(null);
  const [seen, setSeen] = useState<{ readonly of: string; readonly list: FileList } | null>(null);
  const [problem, setProblem] = useState<string | null>(null);
  const [hidden, setHidden] = useState(false);
  const [naming, setNaming] = useState(false);
  const [removing, setRemoving] = useState<FileEntry | null>(null);
  const picker = useRef<HTMLInputElement>(null);
  const of = `${directory}?${after ?? ""}`;

  const read = async (signal?: AbortSignal): Promise<void> => {
    try {
      const options = { limit: PAGE, ...(after === null ? {} : { after }), ...(signal === undefined ? {} : { signal }) };
      const list = await api.files(streamerId, directory, options);
      if (signal?.aborted === true) return;
      setSeen({ of, list });
      setProblem(null);
    } catch (error) {
      if (signal?.aborted !== true) setProblem(messageOf(error));
    }
  };
  usePoll(read, POLL_MS);
  const open = (path: string): void => {
    setAfter(null);
    setProblem(null);
    setDirectory(path);
    setNaming(false);
    void api.files(streamerId, path, { limit: PAGE }).then(
      (list) => {
        setSeen({ of: `${path}?`, list });
      },
      () => undefined,
    );
  };
  const names = directory === "" ? [] : directory.split("/");
  const list = seen?.of === of ? seen.list : null;
  const shown = (list?.entries ?? []).filter(({ name }) => hidden || !name.startsWith("."));
  const sorted = [...shown].sort((a, b) => Number(b.kind === "directory") - Number(a.kind === "directory"));

  return (
    <section className="panel files-panel" aria-label={t("files")} data-testid="files-panel">
      <nav className="files-path" aria-label={t("files-path")}>
        <button className="link-button" type="button" onClick={() => { open(""); }} data-testid="files-home">
          {t("files-home")}
        </button>
        {names.map((name, depth) => (
          <span key={names.slice(0, depth + 1).join("/")}>
            <span aria-hidden="true">/</span>
            <button className="link-button" type="button" onClick={() => { open(names.slice(0, depth + 1).join("/")); }}>
              {decoded(name)}
            </button>
          </span>
        ))}
      </nav>
      <div className="files-actions">
        <button className="button small" type="button" data-testid="files-upload" onClick={() => picker.current?.click()}>
          {t("files-upload")}
        </button>
        <button className="button small" type="button" data-testid="files-new-folder" onClick={() => { setNaming(true); }}>
          {t("files-new-folder")}
        </button>
        <label className="files-hidden">
          <input type="checkbox" checked={hidden} onChange={(event) => { setHidden(event.target.checked); }} />
          {t("files-hidden")}
        </label>
        <input
          ref={picker}
          type="file"
          multiple
          hidden
          data-testid="files-picker"
          onChange={({ target }) => {
            if (target.files !== null) transfers.upload(directory, chosen(target.files));
            target.value = "";
          }}
        />
      </div>
      {naming && (
        <NewFolder
          onMake={async (name) => {
            await api.makeDirectory(streamerId, join(directory, [name]));
            setNaming(false);
            await read();
          }}
          onClose={() => { setNaming(false); }}
        />
      )}
      {(problem ?? files.trouble) !== null && (
        <p className="field-error" role="alert" data-testid="files-problem">
          {problem ?? files.trouble}
        </p>
      )}
      <ul className="files-list" data-testid="files-list">
        {sorted.map((entry) => (
          <Row
            key={entry.path}
            entry={entry}
            onOpen={() => { open(entry.path); }}
            onDownload={() => { transfers.download(entry); }}
            onRemove={() => { setRemoving(entry); }}
          />
        ))}
      </ul>
      {list !== null && sorted.length === 0 && <p className="quiet-text">{t("files-empty")}</p>}
      {list === null && problem === null && <p className="quiet-text">{t("loading")}</p>}
      {(list?.next !== undefined || after !== null) && (
        <div className="files-actions">
          {after !== null && (
            <button className="button small" type="button" onClick={() => { setAfter(null); }}>
              {t("files-first-page")}
            </button>
          )}
          {list?.next !== undefined && (
            <button className="button small" type="button" onClick={() => { setAfter(list.next ?? null); }}>
              {t("files-next-page")}
            </button>
          )}
        </div>
      )}
      <TransferList transfers={transfers} />
      {removing !== null && (
        <ConfirmDialog
          title={t("files-delete-ask", { name: removing.name })}
          text={removing.kind === "directory" ? t("files-delete-folder") : t("files-delete-file")}
          action={t("delete")}
          onConfirm={() => api.removeFile(streamerId, removing.path, { recursive: removing.kind === "directory" })}
          onClose={(done) => {
            setRemoving(null);
            if (done) void read();
          }}
        />
      )}
    </section>
  );
}

type RowProps = {
  readonly entry: FileEntry;
  readonly onOpen: () => void;
  readonly onDownload: () => void;
  readonly onRemove: () => void;
};

function Row({ entry, onOpen, onDownload, onRemove }: RowProps) {
  const { name, kind, size } = entry;
  const directory = kind === "directory";
  return (
    <li data-testid={`file-${name}`}>
      <Icon name={directory ? "folder" : "file"} />
      <span className="files-name" title={name}>
        {directory ? (
          <button className="link-button" type="button" onClick={onOpen}>
            {name}
          </button>
        ) : (
          name
        )}
        {kind === "file" && <span className="quiet-text"> {bytes(size)}</span>}
        {kind === "link" && <span className="quiet-text"> {t("files-link")}</span>}
      </span>
      {(directory || kind === "file") && (
        <button
          className="icon-button"
          type="button"
          aria-label={directory ? t("files-archive-of", { name }) : t("files-download-of", { name })}
          title={directory ? t("files-archive") : t("files-download")}
          onClick={onDownload}
        >
          <Icon name="download" />
        </button>
      )}
      <button className="icon-button" type="button" aria-label={t("files-delete-of", { name })} title={t("delete")} onClick={onRemove}>
        <Icon name="trash" />
      </button>
    </li>
  );
}

type NewFolderProps = { readonly onMake: (name: string) => Promise<void>; readonly onClose: () => void };

function NewFolder({ onMake, onClose }: NewFolderProps) {
  const [name, setName] = useState("");
  const [problem, setProblem] = useState<string | null>(null);
  const make = (event: SubmitEvent): void => {
    event.preventDefault();
    onMake(name).catch((error: unknown) => {
      setProblem(messageOf(error));
    });
  };
  return (
    <form className="files-actions" onSubmit={make}>
      <input
        className="field"
        aria-label={t("files-folder-name")}
        ref={focusNew}
        value={name}
        data-testid="files-folder-name"
        onChange={(event) => { setName(event.target.value); }}
        onKeyDown={(event) => {
          if (event.key !== "Escape") return;
          event.stopPropagation();
          onClose();
        }}
      />
      <button className="button small primary" type="submit" disabled={name === "" || name.includes("/")}>
        {t("files-make")}
      </button>
      {problem !== null && <p className="field-error" role="alert">{problem}</p>}
    </form>
  );
}

/** What is being copied, and what has been. */
function TransferList({ transfers }: { readonly transfers: Transfers }) {
  const all = useSyncExternalStore(transfers.subscribe, transfers.list);
  if (all.length === 0) return null;
  const ended = all.some(({ state }) => state !== "waiting" && state !== "running");
  return (
    <div className="files-transfers" role="status" data-testid="transfers">
      <ul>
        {all.map((transfer) => (
          <TransferRow key={transfer.id} transfer={transfer} transfers={transfers} />
        ))}
      </ul>
      {ended && (
        <button className="link-button" type="button" onClick={() => { transfers.clear(); }}>
          {t("transfers-clear")}
        </button>
      )}
    </div>
  );
}

function TransferRow({ transfer, transfers }: { readonly transfer: Transfer; readonly transfers: Transfers }) {
  const { id, name, direction, state, done, total, cause, taken } = transfer;
  const under = state === "waiting" || state === "running";
  return (
    <li data-testid={`transfer-${name}`} data-state={state}>
      <span className="files-name" title={name}>
        {direction === "up" ? "↑" : "↓"} {name}
        <span className={state === "failed" ? "field-error" : "quiet-text"}> {cause === null ? wordOf(transfer) : messageOf(cause)}</span>
      </span>
      {under && (
        <>
          <progress aria-label={t("transfer-progress", { name })} max={total ?? undefined} value={total === null ? undefined : done} />
          <button className="icon-button" type="button" aria-label={t("transfer-cancel", { name })} title={t("cancel")} onClick={() => { transfers.cancel(id); }}>
            <Icon name="close" />
          </button>
        </>
      )}
      {taken && (
        <button className="button small" type="button" onClick={() => { transfers.replace(id); }}>
          {t("transfer-replace")}
        </button>
      )}
    </li>
  );
}

function wordOf({ state, done, total }: Transfer): string {
  switch (state) {
    case "waiting":
      return t("transfer-waiting");
    case "running":
      return total === null ? bytes(done) : t("transfer-so-far", { done: bytes(done), total: bytes(total) });
    case "done":
      return t("transfer-done");
    case "cancelled":
      return t("transfer-cancelled");
    case "failed":
      return t("transfer-failed");
  }
}

/** A name of a path, to be read: what is not UTF-8 stays as it is encoded. */
function decoded(name: string): string {
  try {
    return decodeURIComponent(name);
  } catch {
    return name;
  }
}
