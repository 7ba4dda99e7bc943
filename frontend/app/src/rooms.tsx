/** Entry point of the list of rooms. */

import { Api } from "@oriel/client";
import { rootFromList } from "./location";
import { RoomsPage } from "./rooms/RoomsPage";
import { takeToken } from "./token";
import { mount } from "./ui/mount";

const token = takeToken();
const root = rootFromList(location.href);
mount(<RoomsPage api={new Api(root, token)} root={root} token={token} />);
