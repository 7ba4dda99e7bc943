/** The icons of rooms. */

import { PATHS, Strokes } from "../ui/Icon";

const ALL = {
  ...PATHS,
  camera: "M3.5 7.5A1.5 1.5 0 0 1 5 6h9a1.5 1.5 0 0 1 1.5 1.5v9A1.5 1.5 0 0 1 14 18H5a1.5 1.5 0 0 1-1.5-1.5zM15.5 10.5l5-3v9l-5-3z",
  "camera-off":
    "M9.5 6H14a1.5 1.5 0 0 1 1.5 1.5V12M15.5 15.5v1A1.5 1.5 0 0 1 14 18H5a1.5 1.5 0 0 1-1.5-1.5v-9A1.5 1.5 0 0 1 5 6M15.5 10.5l5-3v9l-3-1.8M4 4l16 16",
  chat: "M4 5.5h16v11h-8.5L7 20v-3.5H4zM8 9.5h8M8 12.5h5",
  hand: "M7.5 13V6.8a1.4 1.4 0 0 1 2.8 0V11M10.3 11V4.9a1.4 1.4 0 0 1 2.8 0V11M13.1 11V5.8a1.4 1.4 0 0 1 2.8 0V12M15.9 12V8.2a1.4 1.4 0 0 1 2.8 0v6.3a6 6 0 0 1-6 6 6 6 0 0 1-5.2-3l-2.9-4.9a1.4 1.4 0 0 1 2.4-1.4l.5.8",
  smile: "M12 20.5a8.5 8.5 0 1 0 0-17 8.5 8.5 0 0 0 0 17zM8.5 14c.8 1.3 2 2 3.5 2s2.7-.7 3.5-2M9 9.5v.01M15 9.5v.01",
  leave: "M14 4.5H6.5A1.5 1.5 0 0 0 5 6v12a1.5 1.5 0 0 0 1.5 1.5H14M10.5 12H20M16.5 8.5L20 12l-3.5 3.5",
  pin: "M9 3.5h6M10 3.5v6L7 13v1.5h10V13l-3-3.5v-6M12 14.5v6",
  send: "M4 12l16-7.5-4.5 15.5-4-6.2zM11.5 13.8L20 4.5",
} as const;

export type IconName = keyof typeof ALL;

export function Icon(props: { readonly name: IconName }) {
  return <Strokes path={ALL[props.name]} />;
}
