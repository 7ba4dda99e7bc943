/** Entry point of both pages: the list of streamers at `/`, and the viewer at `/s/{id}`. */

import "./ui/theme.css";
import { Api } from "@oriel/client";
import type { ReactNode } from "react";
import { createRoot } from "react-dom/client";
import { ListPage } from "./list/ListPage";
import { routeOf } from "./route";
import { Message } from "./ui/Message";
import { createViewer } from "./viewer/model";
import { ViewerPage } from "./viewer/ViewerPage";

function page(): ReactNode {
  const route = routeOf(location.pathname, new URL(".", document.baseURI).pathname);
  switch (route.page) {
    case "list":
      return <ListPage api={new Api()} />;
    case "viewer":
      // Connects before anything is rendered, so that the picture does not wait for the page.
      return <ViewerPage model={createViewer(route.streamerId)} />;
    case "unknown":
      return (
        <Message title="There is no such page">
          <a className="button" href={document.baseURI}>
            All sessions
          </a>
        </Message>
      );
  }
}

const root = document.getElementById("root");
if (root === null) throw new Error("index.html has no #root");
createRoot(root).render(page());
