/** Entry point of the grid of cameras. */

import { Api } from "@oriel/client";
import { WordsContext } from "@oriel/react";
import "@oriel/react/styles.css";
import { GridPage } from "./grid/GridPage";
import { streamWords } from "./grid/words";
import { loadWords } from "./i18n/load";
import { gridOf, rootFromList } from "./location";
import { takeToken } from "./token";
import { mount } from "./ui/mount";
import { t } from "./i18n/words";

const root = rootFromList(location.href);
const token = await takeToken(root);
await loadWords("common", "streams");
document.title = `${t("cameras")} – Oriel`;
mount(
  <WordsContext.Provider value={streamWords()}>
    <GridPage api={new Api(root, token)} root={root} token={token} wish={gridOf(location.search)} />
  </WordsContext.Provider>,
);
