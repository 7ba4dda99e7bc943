import { t } from "../i18n/words";
import { STATE_WORDS } from "../ui/states";
import { type Sort, SORTS, type Wish } from "./sift";

const ORDERS: Readonly<Record<Sort, "sort-name" | "sort-newest" | "sort-watched">> = {
  name: "sort-name",
  newest: "sort-newest",
  watched: "sort-watched",
};
const STATES = ["running", "starting", "restarting", "failed", "stopped", "lost"] as const;

type SiftBarProps = {
  readonly wish: Wish;
  readonly setWish: (wish: Wish) => void;
  /** Names of the nodes to choose from; none where there is no cluster. */
  readonly nodes: readonly string[];
  /** How many of how many are shown. */
  readonly shown: number;
  readonly all: number;
};

/** Looks for sessions by name, state and node, and orders them. */
export function SiftBar({ wish, setWish, nodes, shown, all }: SiftBarProps) {
  // Only nodes can be lost.
  const states = STATES.filter((state) => state !== "lost" || nodes.length > 0);
  return (
    <search className="sift-bar">
      <input
        type="search"
        aria-label={t("search")}
        placeholder={t("search")}
        value={wish.search}
        data-testid="search"
        onChange={({ target }) => {
          setWish({ ...wish, search: target.value });
        }}
      />
      <select
        aria-label={t("filter-state")}
        value={wish.state ?? ""}
        data-testid="filter-state"
        onChange={({ target }) => {
          setWish({ ...wish, state: STATES.find((state) => state === target.value) ?? null });
        }}
      >
        <option value="">{t("any-state")}</option>
        {states.map((state) => (
          <option key={state} value={state}>
            {t(STATE_WORDS[state])}
          </option>
        ))}
      </select>
      {nodes.length > 0 && (
        <select
          aria-label={t("node")}
          value={wish.node ?? ""}
          data-testid="filter-node"
          onChange={({ target }) => {
            setWish({ ...wish, node: target.value === "" ? null : target.value });
          }}
        >
          <option value="">{t("any-node")}</option>
          {nodes.map((name) => (
            <option key={name} value={name}>
              {name}
            </option>
          ))}
        </select>
      )}
      <select
        aria-label={t("sort")}
        value={wish.sort}
        data-testid="sort"
        onChange={({ target }) => {
          setWish({ ...wish, sort: SORTS.find((sort) => sort === target.value) ?? "name" });
        }}
      >
        {SORTS.map((sort) => (
          <option key={sort} value={sort}>
            {t(ORDERS[sort])}
          </option>
        ))}
      </select>
      <span className="quiet-text" role="status" data-testid="shown">
        {t("shown-of", { shown, all })}
      </span>
    </search>
  );
}
