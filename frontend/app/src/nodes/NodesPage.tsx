import { type Api, type CallOptions, type Node, ProblemError } from "@oriel/client";
import { t } from "../i18n/words";
import { ListingPage } from "../ui/ListingPage";
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
  const listed = useListing((options) => nodesOf(api, options));
  const { listing, items: nodes, stale, refresh } = listed;
  return (
    <ListingPage title={t("nodes")} what={t("the-nodes")} listed={listed} root={root} token={token} errorId="nodes-error">
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
    </ListingPage>
  );
}
