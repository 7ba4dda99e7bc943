/** Entry point of the grid of cameras. */

import { Api } from "@oriel/client";
import "@oriel/react/styles.css";
import { GridPage } from "./grid/GridPage";
import { gridOf, rootFromList } from "./location";
import { takeToken } from "./token";
import { mount } from "./ui/mount";

const token = takeToken();
const root = rootFromList(location.href);
mount(<GridPage api={new Api(root, token)} root={root} token={token} wish={gridOf(location.search)} />);
