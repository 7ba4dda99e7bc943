import { type Api, type CallOptions, type Node, ProblemError } from "@oriel/client";
import "../list/list.css";
import { t } from "../i18n/words";
import { LanguageChoice } from "../ui/LanguageChoice";
import { Locked } from "../ui/Locked";
import { useListing } from "../ui/useListing";
import { NodeCard } from "./NodeCard";
import "./nodes.css";

type NodesPageProps = { readonly api: Api; readonly root: URL; readonly token: string | null };

/** None where the server is in no cluster: a cluster has at least the node that answers. */
async function nodesOf(api: Api, options: CallOptions): Promise<readonly Node[]> {
  try {
    return await api.nodes(options);
  } catch (error) {
    if (error instanceof ProblemError && error.code === "no_cluster") return [];
    throw error;
  }
}

/** The nodes of the cluster: how they are, and which of them take new sessions. */
export function NodesPage({ api, root, token }: NodesPageProps) {
  const { listing, items: nodes, stale, refresh } = useListing((options) => nodesOf(api, options));

  if (listing.kind === "locked") return <Locked error={listing.error} token={token} root={root} what={t("the-nodes")} />;
  return (
    <div className="list-page">
      <header className="list-header">
        <h1>
          <img src="./favicon.svg" alt="" width="28" height="28" /> {t("nodes")}
        </h1>
        <nav>
          <LanguageChoice />
          <a className="button" href={root.href}>
            {t("all-sessions")}
          </a>
        </nav>
      </header>
      {stale !== null && (
        <p className="banner bad" role="alert" data-testid="nodes-error">
          {t("trying-again", { trouble: stale })}
        </p>
      )}
      <main>
        {listing.kind === "loading" && <p className="quiet-text">{t("loading")}</p>}
        {listing.kind === "loaded" && nodes.length === 0 && stale === null && (
          <section className="empty" data-testid="no-cluster">
            <h2>{t("problem-no-cluster")}</h2>
            <p>{t("what-is-a-cluster")}</p>
          </section>
        )}
        <ul className="nodes" data-testid="nodes">
          {nodes.map((node) => (
            <NodeCard key={node.name} api={api} root={root} node={node} onChanged={refresh} />
          ))}
        </ul>
        {nodes.length === 1 && (
          <p className="quiet-text" data-testid="only-node">
            {t("only-node")}
          </p>
        )}
      </main>
    </div>
  );
}
