/** Entry point of the list of streamers. */

import { Api } from "@oriel/client";
import { ListPage } from "./list/ListPage";
import { rootFromList } from "./location";
import { mount } from "./ui/mount";

const root = rootFromList(location.href);
mount(<ListPage api={new Api(root)} root={root} />);
