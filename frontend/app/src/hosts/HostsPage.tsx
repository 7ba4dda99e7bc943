import type { Api } from "@oriel/client";
import { type SubmitEvent, useId, useState } from "react";
import { ListingPage } from "../ui/ListingPage";
import { useListing } from "../ui/useListing";
import { addressOf } from "./form";
import { HostCard } from "./HostCard";
import { messageOf } from "../ui/problem";
import "../ui/form.css";
import "./hosts.css";
import { t } from "../i18n/words";

type HostsPageProps = { readonly api: Api; readonly root: URL; readonly token: string | null };

/** Moonlight hosts: adding, pairing, and starting what they can play. */
export function HostsPage({ api, root, token }: HostsPageProps) {
  const listed = useListing((options) => api.hosts(options));
  const { listing, items: hosts, stale, refresh } = listed;
  return (
    <ListingPage
      title={t("moonlight-hosts")}
      what={t("the-hosts")}
      listed={listed}
      root={root}
      token={token}
      className="hosts-page"
      errorId="hosts-error"
    >
      <main>
        <AddHost api={api} onAdded={refresh} />
        {listing.kind === "loading" && <p className="quiet-text">{t("loading")}</p>}
        {listing.kind === "loaded" && hosts.length === 0 && stale === null && (
          <p className="quiet-text" data-testid="no-hosts">
            {t("no-hosts")}
          </p>
        )}
        <ul className="hosts" data-testid="hosts">
          {hosts.map((host) => (
            <HostCard key={host.id} api={api} host={host} onChanged={refresh} />
          ))}
        </ul>
      </main>
    </ListingPage>
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
      setFailure(t("host-address-wrong"));
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
        <label htmlFor={id}>{t("host-address")}</label>
        <div className="row">
          <input
            id={id}
            value={text}
            placeholder="192.168.1.20"
            autoComplete="off"
            spellCheck="false"
            data-testid="host-address"
            aria-invalid={failure !== null}
            aria-describedby={failure === null ? undefined : `${id}-note`}
            onChange={(event) => {
              setText(event.target.value);
              setFailure(null);
            }}
          />
          <button className="button primary" type="submit" data-testid="add-host" disabled={busy}>
            {busy ? t("looking") : t("add")}
          </button>
        </div>
        {failure !== null && (
          <p id={`${id}-note`} className="field-error" role="alert" data-testid="add-host-error">
            {failure}
          </p>
        )}
      </div>
    </form>
  );
}
