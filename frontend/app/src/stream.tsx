/** Entry point of the page with one stream, for frames in other pages. */

import { StreamView, WordsContext } from "@oriel/react";
import "@oriel/react/styles.css";
import { streamWords } from "./grid/words";
import { loadWords } from "./i18n/load";
import { t } from "./i18n/words";
import { rootFromList, streamOf } from "./location";
import { takeToken } from "./token";
import { Message } from "./ui/Message";
import { mount } from "./ui/mount";

const token = takeToken();
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
