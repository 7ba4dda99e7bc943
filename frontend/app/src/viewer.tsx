/** Entry point of the viewer of one streamer. */

import { loadWords } from "./i18n/load";
import { t } from "./i18n/words";
import { rootFromViewer, streamerIdOf, transportOf } from "./location";
import { takeToken } from "./token";
import { Message } from "./ui/Message";
import { mount } from "./ui/mount";
import { createViewer } from "./viewer/model";
import { ViewerPage } from "./viewer/ViewerPage";

const root = rootFromViewer(location.href);
const streamerId = streamerIdOf(location.pathname);
// Connects before anything is rendered, and before there are words, so that the picture does not wait for the page.
const model = streamerId === null ? null : createViewer(streamerId, root, await takeToken(root), transportOf(location.search));

await loadWords("common", "viewer");
mount(
  model === null ? (
    <Message title={t("no-such-page")}>
      <a className="button" href={root.href}>
        {t("all-sessions")}
      </a>
    </Message>
  ) : (
    <ViewerPage model={model} />
  ),
);
