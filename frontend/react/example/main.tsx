/** The smallest page with a grid: `?streams=door,yard` says which cameras. */

import { CameraGrid } from "@oriel/react";
import "@oriel/react/styles.css";
import { createRoot } from "react-dom/client";

const root = document.getElementById("root");
if (root === null) throw new Error("the document has no #root");

const names = new URLSearchParams(location.search).get("streams") ?? "camera1,camera2";
createRoot(root).render(<CameraGrid server={location.origin} slots={names.split(",")} />);
