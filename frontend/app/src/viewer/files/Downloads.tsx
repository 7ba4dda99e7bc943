import type { FileEntry, OrielClient } from "@oriel/client";
import { useEffect, useState } from "react";
import { t } from "../../i18n/words";
import { bytes } from "../../ui/format";
import { Icon } from "../../ui/Icon";
import type { Transfers } from "./transfers";
import "./files.css";

/** Most offers at once; a newer one takes the place of the oldest. */
const MAX_OFFERS = 3;

type DownloadsProps = {
  readonly client: OrielClient;
  readonly transfers: Transfers;
  /** An offer was accepted. */
  readonly onAccept: () => void;
};

/** Offers files that were downloaded in the session, to be saved here. */
export function Downloads({ client, transfers, onAccept }: DownloadsProps) {
  const [offers, setOffers] = useState<readonly FileEntry[]>([]);
  useEffect(
    () =>
      client.on("download", (file) => {
        // What came from here need not go back.
        if (transfers.hasUploaded(file.path)) return;
        setOffers((before) => [...before.filter(({ path }) => path !== file.path), file].slice(-MAX_OFFERS));
      }),
    [client, transfers],
  );
  const take = (file: FileEntry): void => {
    setOffers((before) => before.filter((other) => other !== file));
  };
  if (offers.length === 0) return null;
  return (
    <div className="download-offers" role="status" data-testid="downloads">
      <ul>
        {offers.map((file) => (
          <li key={file.path}>
            <span className="files-name" title={file.name}>
              {file.name} <span className="quiet-text">{bytes(file.size)}</span>
            </span>
            <button
              className="button small primary"
              type="button"
              aria-label={t("files-save-of", { name: file.name })}
              onClick={() => {
                take(file);
                transfers.download(file);
                onAccept();
              }}
            >
              <Icon name="download" /> {t("files-save")}
            </button>
            <button
              className="icon-button"
              type="button"
              aria-label={t("files-dismiss-of", { name: file.name })}
              title={t("files-dismiss")}
              onClick={() => {
                take(file);
              }}
            >
              <Icon name="close" />
            </button>
          </li>
        ))}
      </ul>
    </div>
  );
}
