import { t } from "../../i18n/words";
import { bytes } from "../../ui/format";
import { Icon } from "../../ui/Icon";
import type { Files } from "./useFiles";
import "./files.css";

type DownloadsProps = {
  readonly files: Files;
  /** An offer was accepted. */
  readonly onAccept: () => void;
};

/** Offers files that were downloaded in the session, to be saved here. */
export function Downloads({ files: { offers, take, transfers }, onAccept }: DownloadsProps) {
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
