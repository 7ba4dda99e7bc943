/** Entry point of a room. */

import { rootFromViewer, streamerIdOf } from "./location";
import { createRoomModel } from "./room/model";
import { RoomPage } from "./room/RoomPage";
import { takeToken } from "./token";
import { Message } from "./ui/Message";
import { mount } from "./ui/mount";

const root = rootFromViewer(location.href);
const id = streamerIdOf(location.pathname);

mount(
  id === null ? (
    <Message title="There is no such page">
      <a className="button" href={new URL("rooms", root).href}>
        All rooms
      </a>
    </Message>
  ) : (
    <RoomPage model={createRoomModel(id, root, takeToken())} />
  ),
);
