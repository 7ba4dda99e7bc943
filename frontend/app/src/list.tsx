/** Entry point of the list of streamers. */

import { Api } from "@oriel/client";
import { ListPage } from "./list/ListPage";
import { nodeOf } from "./list/address";
import { rootFromList } from "./location";
import { takeToken } from "./token";
import { mount } from "./ui/mount";
import { loadWords } from "./i18n/load";

const root = rootFromList(location.href);
const token = await takeToken(root);
await loadWords("common", "lists");
mount(<ListPage api={new Api(root, token)} root={root} token={token} node={nodeOf(location.search)} />);
