import type { ReactNode } from "react";

/** A message that fills the page, with possible actions below. */
export function Message(props: { readonly title: string; readonly children?: ReactNode }) {
  return (
    <main className="message">
      <h1>{props.title}</h1>
      {props.children}
    </main>
  );
}
