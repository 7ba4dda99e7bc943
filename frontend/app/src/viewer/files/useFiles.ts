/** Files of the session's home, as far as this viewer may have them; and dropping some onto the page. */

import type { FileEntry, OrielClient, Role } from "@oriel/client";
import { useCallback, useEffect, useState } from "react";
import { t } from "../../i18n/words";
import { dropped, holdsFiles, TooMany } from "./picked";
import type { Transfers } from "./transfers";

/** Most offers at once; a newer one takes the place of the oldest. */
const MAX_OFFERS = 3;

export type Files = {
  readonly transfers: Transfers;
  /** The directory that is shown, and that drops go to: percent-encoded, empty for the home itself. */
  readonly directory: string;
  readonly setDirectory: (directory: string) => void;
  /** What was downloaded in the session, to be saved here: the oldest first. */
  readonly offers: readonly FileEntry[];
  /** An offer was accepted, or is not wanted. */
  readonly take: (offer: FileEntry) => void;
  /** Files are held over the page. */
  readonly hovered: boolean;
  /** Why what was dropped could not be read. */
  readonly trouble: string | null;
};

/**
 * Null while the session has no home that this viewer may read, or it is not known.
 * @param onDrop told when files were dropped, and are being copied or cannot be read
 */
export function useFiles(
  client: OrielClient,
  role: Role | null,
  live: boolean,
  page: HTMLElement | null,
  onDrop: () => void,
): Files | null {
  const transfers = useTransfers(client, role === "controller" && live);
  const available = transfers !== null;
  const [directory, setDirectory] = useState("");
  const [trouble, setTrouble] = useState<string | null>(null);
  const [hovered, setHovered] = useState(false);
  const [offers, setOffers] = useState<readonly FileEntry[]>([]);

  // From the first moment: what shows the offers is loaded later.
  useEffect(
    () =>
      client.on("download", (file) => {
        setOffers((before) => [...before.filter(({ path }) => path !== file.path), file].slice(-MAX_OFFERS));
      }),
    [client],
  );
  const take = useCallback((offer: FileEntry): void => {
    setOffers((before) => before.filter((other) => other !== offer));
  }, []);

  useEffect(() => {
    if (page === null) return undefined;
    const over = (event: DragEvent): void => {
      if (!holdsFiles(event.dataTransfer)) return;
      // Also where they may not be dropped: the browser would leave the session for the file.
      event.preventDefault();
      if (event.dataTransfer !== null) event.dataTransfer.dropEffect = available ? "copy" : "none";
      setHovered(available);
    };
    const leave = (event: DragEvent): void => {
      if (event.relatedTarget === null) setHovered(false);
    };
    const drop = (event: DragEvent): void => {
      setHovered(false);
      if (!holdsFiles(event.dataTransfer) || event.dataTransfer === null) return;
      event.preventDefault();
      if (transfers === null) return;
      setTrouble(null);
      dropped(event.dataTransfer).then(
        (picked) => {
          transfers.upload(directory, picked);
          onDrop();
        },
        (error: unknown) => {
          setTrouble(error instanceof TooMany ? t("drop-too-many", { most: error.most }) : t("drop-unreadable"));
          onDrop();
        },
      );
    };
    page.addEventListener("dragover", over);
    page.addEventListener("dragleave", leave);
    page.addEventListener("drop", drop);
    return () => {
      page.removeEventListener("dragover", over);
      page.removeEventListener("dragleave", leave);
      page.removeEventListener("drop", drop);
    };
  }, [page, available, transfers, directory, onDrop]);

  if (transfers === null) return null;
  // What came from here need not go back.
  const wanted = offers.filter(({ path }) => !transfers.hasUploaded(path));
  return { transfers, directory, setDirectory, offers: wanted, take, hovered, trouble };
}

/** Those of the session, once it has said that there are files. */
function useTransfers(client: OrielClient, ask: boolean): Transfers | null {
  const [transfers, setTransfers] = useState<Transfers | null>(null);
  useEffect(() => {
    if (!ask) return undefined;
    const abort = new AbortController();
    const { api, streamerId } = client;
    const load = async (): Promise<void> => {
      await api.files(streamerId, "", { limit: 1, signal: abort.signal });
      const { Transfers } = await import("./transfers");
      if (!abort.signal.aborted) setTransfers((known) => known ?? new Transfers(api, streamerId));
    };
    load().catch(() => {
      // No home, or no right: there is nothing to offer.
      if (!abort.signal.aborted) setTransfers(null);
    });
    return () => {
      abort.abort();
    };
  }, [client, ask]);
  return ask ? transfers : null;
}
