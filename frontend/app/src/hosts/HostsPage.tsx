import type { Api } from "@oriel/client";
import { type SubmitEvent, useId, useState } from "react";
import "../list/list.css";
import { Locked } from "../ui/Locked";
import { useListing } from "../ui/useListing";
import { addressOf } from "./form";
import { HostCard } from "./HostCard";
import { messageOf } from "../ui/problem";
import "./hosts.css";

type HostsPageProps = { readonly api: Api; readonly root: URL; readonly token: string | null };

/** Moonlight hosts: adding, pairing, and starting what they can play. */
export function HostsPage({ api, root, token }: HostsPageProps) {
  const { listing, items: hosts, stale, refresh } = useListing((options) => api.hosts(options));

  if (listing.kind === "locked") return <Locked error={listing.error} token={token} root={root} what="the hosts" />;
  return (
    <div className="list-page hosts-page">
      <header className="list-header">
        <h1>
          <img src="./favicon.svg" alt="" width="28" height="28" /> Moonlight hosts
        </h1>
        <nav>
          <a className="button" href={root.href}>
            All sessions
          </a>
        </nav>
      </header>
      {stale !== null && (
        <p className="banner bad" role="alert" data-testid="hosts-error">
          {stale} Trying again…
        </p>
      )}
      <main>
        <AddHost api={api} onAdded={refresh} />
        {listing.kind === "loading" && <p className="quiet-text">Loading…</p>}
        {listing.kind === "loaded" && hosts.length === 0 && stale === null && (
          <p className="quiet-text" data-testid="no-hosts">
            No hosts yet. Add the computer on which Sunshine or another GameStream host runs.
          </p>
        )}
        <ul className="hosts" data-testid="hosts">
          {hosts.map((host) => (
            <HostCard key={host.id} api={api} host={host} onChanged={refresh} />
          ))}
        </ul>
      </main>
    </div>
  );
}

function AddHost({ api, onAdded }: { readonly api: Api; readonly onAdded: () => Promise<void> }) {
  const id = useId();
  const [text, setText] = useState("");
  const [busy, setBusy] = useState(false);
  const [failure, setFailure] = useState<string | null>(null);

  const submit = async (event: SubmitEvent<HTMLFormElement>): Promise<void> => {
    event.preventDefault();
    const request = addressOf(text);
    if (request === null) {
      setFailure("A name or an IP address, and a port behind a colon if it is not 47989.");
      return;
    }
    setBusy(true);
    try {
      await api.addHost(request);
      setText("");
      await onAdded();
    } catch (error) {
      setFailure(messageOf(error));
    }
    setBusy(false);
  };
  return (
    <form className="add-host" onSubmit={(event) => void submit(event)} noValidate>
      <div className={failure === null ? "field" : "field invalid"}>
        <label htmlFor={id}>Address of a host</label>
        <div className="row">
          <input
            id={id}
            value={text}
            placeholder="192.168.1.20"
            autoComplete="off"
            spellCheck={false}
            data-testid="host-address"
            aria-invalid={failure !== null}
            onChange={(event) => {
              setText(event.target.value);
              setFailure(null);
            }}
          />
          <button className="button primary" type="submit" data-testid="add-host" disabled={busy}>
            {busy ? "Looking…" : "Add"}
          </button>
        </div>
        {failure !== null && (
          <p className="field-error" role="alert" data-testid="add-host-error">
            {failure}
          </p>
        )}
      </div>
    </form>
  );
}
