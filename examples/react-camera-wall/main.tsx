/** Cameras side by side over one connection: `?server=https://host/&streams=door,yard#TOKEN`. */

import { CameraGrid } from "@oriel/react";
import "@oriel/react/styles.css";
import { StrictMode } from "react";
import { createRoot } from "react-dom/client";

const query = new URLSearchParams(location.search);
const root = document.getElementById("root");
if (root === null) throw new Error("the document has no #root");

createRoot(root).render(
  <StrictMode>
    <CameraGrid
      server={query.get("server") ?? location.origin}
      token={location.hash.slice(1) || null}
      slots={(query.get("streams") ?? "camera1,camera2").split(",")}
    />
  </StrictMode>,
);
