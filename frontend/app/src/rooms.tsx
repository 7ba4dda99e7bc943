/** Entry point of the list of rooms. */

import { Api } from "@oriel/client";
import { rootFromList } from "./location";
import { RoomsPage } from "./rooms/RoomsPage";
import { takeToken } from "./token";
import { mount } from "./ui/mount";
import { loadWords } from "./i18n/load";
import { t } from "./i18n/words";

const root = rootFromList(location.href);
const token = await takeToken(root);
await loadWords("common", "lists");
document.title = `${t("rooms")} – Oriel`;
mount(<RoomsPage api={new Api(root, token)} root={root} token={token} />);
