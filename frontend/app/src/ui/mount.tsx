import "./theme.css";
import type { ReactNode } from "react";
import { createRoot } from "react-dom/client";

/** Shows a page. */
export function mount(page: ReactNode): void {
  const root = document.getElementById("root");
  if (root === null) throw new Error("the document has no #root");
  createRoot(root).render(page);
}
