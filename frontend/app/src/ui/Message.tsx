import type { ReactNode } from "react";

/** A message that takes the whole page, with what can be done about it below. */
export function Message(props: { readonly title: string; readonly children?: ReactNode }) {
  return (
    <main className="message">
      <h1>{props.title}</h1>
      {props.children}
    </main>
  );
}
