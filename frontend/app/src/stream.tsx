/** Entry point of the page with one stream, for frames in other pages. */

import { StreamView, WordsContext } from "@oriel/react";
import "@oriel/react/styles.css";
import { streamWords } from "./grid/words";
import { loadWords } from "./i18n/load";
import { t } from "./i18n/words";
import { rootFromList, streamOf } from "./location";
import { tokenOfTab } from "./token";
import { Message } from "./ui/Message";
import { mount } from "./ui/mount";

// A page of somebody else's may show it in a frame: it has what its address brings, and asks no other tab.
const token = tokenOfTab();
const shown = streamOf(location.search);

await loadWords("common", "streams");
if (shown === null) {
  mount(<Message title={t("which-stream")} />);
} else {
  document.title = shown.stream;
  const server = rootFromList(location.href);
  mount(
    <WordsContext.Provider value={streamWords()}>
      <main className="whole">
        <h1 className="unseen-text">{shown.stream}</h1>
        <StreamView server={server} token={token} stream={shown.stream} quality={shown.quality} />
      </main>
    </WordsContext.Provider>,
  );
}
