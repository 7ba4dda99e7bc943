/** Entry point of the page with one stream, for frames in other pages. */

import { StreamView } from "@oriel/react";
import "@oriel/react/styles.css";
import { rootFromList, streamOf } from "./location";
import { takeToken } from "./token";
import { Message } from "./ui/Message";
import { mount } from "./ui/mount";

const token = takeToken();
const shown = streamOf(location.search);

if (shown === null) {
  mount(<Message title="Which stream? Add ?src=NAME to the address." />);
} else {
  document.title = shown.stream;
  const server = rootFromList(location.href);
  mount(<StreamView server={server} token={token} stream={shown.stream} quality={shown.quality} />);
}
