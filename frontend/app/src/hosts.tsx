/** Entry point of the Moonlight hosts. */

import { Api } from "@oriel/client";
import { HostsPage } from "./hosts/HostsPage";
import { rootFromList } from "./location";
import { mount } from "./ui/mount";

const root = rootFromList(location.href);
mount(<HostsPage api={new Api(root)} root={root} />);
