/** Entry point of the grid of cameras. */

import { Api } from "@oriel/client";
import "@oriel/react/styles.css";
import { GridPage } from "./grid/GridPage";
import { gridOf, rootFromList } from "./location";
import { mount } from "./ui/mount";

const root = rootFromList(location.href);
mount(<GridPage api={new Api(root)} root={root} wish={gridOf(location.search)} />);
