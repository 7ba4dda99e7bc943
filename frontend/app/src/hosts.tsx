/** Entry point of the Moonlight hosts. */

import { Api } from "@oriel/client";
import { HostsPage } from "./hosts/HostsPage";
import { rootFromList } from "./location";
import { takeToken } from "./token";
import { mount } from "./ui/mount";

const token = takeToken();
const root = rootFromList(location.href);
mount(<HostsPage api={new Api(root, token)} root={root} token={token} />);
