/** Entry point of the nodes of a cluster. */

import { Api } from "@oriel/client";
import { NodesPage } from "./nodes/NodesPage";
import { rootFromList } from "./location";
import { takeToken } from "./token";
import { mount } from "./ui/mount";
import { loadWords } from "./i18n/load";
import { t } from "./i18n/words";

const root = rootFromList(location.href);
const token = await takeToken(root);
await loadWords("common", "lists");
document.title = `${t("nodes")} – Oriel`;
mount(<NodesPage api={new Api(root, token)} root={root} token={token} />);
