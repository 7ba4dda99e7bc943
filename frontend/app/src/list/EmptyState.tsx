import { copyToClipboard } from "@oriel/client";
import { useState } from "react";
import { Icon } from "./Icon";
import { t } from "../i18n/words";

/** What to do when there is no streamer yet. */
export function EmptyState({ root, onCreate }: { readonly root: URL; readonly onCreate: () => void }) {
  const [copied, setCopied] = useState(false);
  const command = [
    `curl -X POST ${new URL("api/streamers", root).href} \\`,
    `  -H 'content-type: application/json' \\`,
    `  -d '{"id":"demo","source":{"type":"desktop","command":"xterm"}}'`,
  ].join("\n");
  return (
    <section className="empty" data-testid="empty">
      <h2>{t("no-sessions")}</h2>
      <p>{t("what-is-a-session")}</p>
      <button className="button primary" type="button" onClick={onCreate}>
        <Icon name="plus" /> {t("new-session")}
      </button>
      <p>{t("from-a-program")}</p>
      <div className="code">
        <pre>{command}</pre>
        <button
          className="icon-button"
          type="button"
          aria-label={t("copy-command")}
          title={copied ? t("copied") : t("copy")}
          onClick={() => {
            void copyToClipboard(command).then(setCopied);
          }}
        >
          <Icon name="copy" />
        </button>
      </div>
    </section>
  );
}
