/** Entry point of the viewer of one streamer. */

import { rootFromViewer, streamerIdOf, transportOf } from "./location";
import { takeToken } from "./token";
import { Message } from "./ui/Message";
import { mount } from "./ui/mount";
import { createViewer } from "./viewer/model";
import { ViewerPage } from "./viewer/ViewerPage";

const root = rootFromViewer(location.href);
const streamerId = streamerIdOf(location.pathname);

if (streamerId === null) {
  mount(
    <Message title="There is no such page">
      <a className="button" href={root.href}>
        All sessions
      </a>
    </Message>,
  );
} else {
  // Connects before anything is rendered, so that the picture does not wait for the page.
  mount(<ViewerPage model={createViewer(streamerId, root, takeToken(), transportOf(location.search))} />);
}
