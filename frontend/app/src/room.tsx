/** Entry point of a room. */

import { rootFromViewer, streamerIdOf } from "./location";
import { createRoomModel } from "./room/model";
import { RoomPage } from "./room/RoomPage";
import { takeToken } from "./token";
import { Message } from "./ui/Message";
import { mount } from "./ui/mount";
import { loadWords } from "./i18n/load";
import { t } from "./i18n/words";

const root = rootFromViewer(location.href);
const id = streamerIdOf(location.pathname);

await loadWords("common", "devices", "room");
mount(
  id === null ? (
    <Message title={t("no-such-page")}>
      <a className="button" href={new URL("rooms", root).href}>
        {t("all-rooms")}
      </a>
    </Message>
  ) : (
    <RoomPage model={createRoomModel(id, root, await takeToken(root))} />
  ),
);
