/** Entry point of the Moonlight hosts. */

import { Api } from "@oriel/client";
import { HostsPage } from "./hosts/HostsPage";
import { rootFromList } from "./location";
import { takeToken } from "./token";
import { mount } from "./ui/mount";
import { loadWords } from "./i18n/load";
import { t } from "./i18n/words";

const root = rootFromList(location.href);
const token = await takeToken(root);
await loadWords("common", "lists");
document.title = `${t("moonlight-hosts")} – Oriel`;
mount(<HostsPage api={new Api(root, token)} root={root} token={token} />);
