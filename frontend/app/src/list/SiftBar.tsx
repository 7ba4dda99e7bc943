import { t } from "../i18n/words";
import { STATE_WORDS } from "../ui/states";
import { type Sort, SORTS, type Wish } from "./sift";

const ORDERS: Readonly<Record<Sort, "sort-name" | "sort-newest" | "sort-watched">> = {
  name: "sort-name",
  newest: "sort-newest",
  watched: "sort-watched",
};
const STATES = ["running", "starting", "restarting", "failed", "stopped"] as const;

type SiftBarProps = {
  readonly wish: Wish;
  readonly setWish: (wish: Wish) => void;
  /** How many of how many are shown. */
  readonly shown: number;
  readonly all: number;
};

/** Looks for sessions by name and state, and orders them. */
export function SiftBar({ wish, setWish, shown, all }: SiftBarProps) {
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
        {STATES.map((state) => (
          <option key={state} value={state}>
            {t(STATE_WORDS[state])}
          </option>
        ))}
      </select>
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
