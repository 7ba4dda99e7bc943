/** The icons of the lists: sessions, rooms and hosts. */

import { PATHS, Strokes } from "../ui/Icon";

const ALL = {
  ...PATHS,
  plus: "M12 5v14M5 12h14",
  grid: "M4 4.5h7v6.5H4zM13 4.5h7v6.5h-7zM4 13h7v6.5H4zM13 13h7v6.5h-7z",
  gamepad:
    "M7.5 7.5h9A4.5 4.5 0 0 1 21 12l.4 4a2.2 2.2 0 0 1-4 1.5l-1.4-2H8l-1.4 2a2.2 2.2 0 0 1-4-1.5L3 12a4.5 4.5 0 0 1 4.5-4.5zM8 10v3M6.5 11.5h3M15.5 10.5h.01M17.5 12.5h.01",
  power: "M12 4v8M7 7a7 7 0 1 0 10 0",
  stop: "M6 6h12v12H6z",
  move: "M4 8h16l-4-4M20 16H4l4 4",
  nodes: "M4 4.5h16v6H4zM4 13.5h16v6H4zM7.5 7.5h.01M7.5 16.5h.01",
  window: "M5 20v-9a7 7 0 0 1 14 0v9zM12 4v16M5 12.5h14",
} as const;

export type IconName = keyof typeof ALL;

export function Icon(props: { readonly name: IconName }) {
  return <Strokes path={ALL[props.name]} />;
}
