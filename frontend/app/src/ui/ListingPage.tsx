import type { ReactNode } from "react";
import "../list/list.css";
import { t } from "../i18n/words";
import { LanguageChoice } from "./LanguageChoice";
import { Locked } from "./Locked";
import type { Listed } from "./useListing";

type ListingPageProps = {
  readonly title: string;
  /** What is listed, for those who may not see it. */
  readonly what: string;
  /** As of {@link Locked}. */
  readonly opens?: "s" | "r";
  readonly listed: Listed;
  readonly root: URL;
  readonly token: string | null;
  readonly className?: string;
  /** Test id of what says that it cannot be fetched. */
  readonly errorId: string;
  /** More in the header. */
  readonly actions?: ReactNode;
  /** What is below the header. */
  readonly children: ReactNode;
};

/** A page beside that of the sessions, with a list of the server's: its header, and what it says when the list cannot be fetched. */
export function ListingPage({ title, what, opens = "s", listed, root, token, className, errorId, actions, children }: ListingPageProps) {
  const { listing, stale } = listed;
  if (listing.kind === "locked") {
    return <Locked error={listing.error} token={token} root={root} what={what} opens={opens} />;
  }
  return (
    <div className={className === undefined ? "list-page" : `list-page ${className}`}>
      <header className="list-header">
        <h1>
          <img src="./favicon.svg" alt="" width="28" height="28" /> {title}
        </h1>
        <nav>
          <LanguageChoice />
          <a className="button" href={root.href}>
            {t("all-sessions")}
          </a>
          {actions}
        </nav>
      </header>
      {stale !== null && (
        <p className="banner bad" role="alert" data-testid={errorId}>
          {t("trying-again", { trouble: stale })}
        </p>
      )}
      {children}
    </div>
  );
}
