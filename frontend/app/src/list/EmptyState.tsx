import { copyToClipboard } from "@oriel/client";
import { useState } from "react";
import { Icon } from "../ui/Icon";

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
      <h2>No sessions yet</h2>
      <p>A session is a desktop that runs on this server, whether somebody watches it or not.</p>
      <button className="button primary" type="button" onClick={onCreate}>
        <Icon name="plus" /> New session
      </button>
      <p>or from a program:</p>
      <div className="code">
        <pre>{command}</pre>
        <button
          className="icon-button"
          type="button"
          aria-label="Copy the command"
          title={copied ? "Copied" : "Copy"}
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
