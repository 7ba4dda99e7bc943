/** The icons of the pages: strokes on a 24 px grid in the colour of the text. Those of lists and of rooms alone are beside them, so that viewers need not load them. */

export const PATHS = {
  back: "M15 5l-7 7 7 7",
  sound: "M4 9.5v5h3.5L12 18.5v-13L7.5 9.5zM15.5 9a4.2 4.2 0 0 1 0 6M18 6.5a7.8 7.8 0 0 1 0 11",
  muted: "M4 9.5v5h3.5L12 18.5v-13L7.5 9.5zM16 9.5l5 5M21 9.5l-5 5",
  fullscreen: "M4 9V4h5M15 4h5v5M20 15v5h-5M9 20H4v-5",
  windowed: "M9 4v5H4M20 9h-5V4M15 20v-5h5M4 15h5v5",
  keyboard:
    "M3 7.5A1.5 1.5 0 0 1 4.5 6h15A1.5 1.5 0 0 1 21 7.5v9a1.5 1.5 0 0 1-1.5 1.5h-15A1.5 1.5 0 0 1 3 16.5zM7 10h.01M10.3 10h.01M13.7 10h.01M17 10h.01M7 14h.01M17 14h.01M10 14h4",
  pointer: "M6 3.5l12.5 8.2-5.6 1.2 3 5.8-2.6 1.3-2.9-5.9L6 18z",
  stats: "M4 20V4M4 20h16M8 16v-3M12 16V8M16 16v-5",
  clipboard:
    "M9 5H6.5A1.5 1.5 0 0 0 5 6.5v13A1.5 1.5 0 0 0 6.5 21h11a1.5 1.5 0 0 0 1.5-1.5v-13A1.5 1.5 0 0 0 17.5 5H15M9 3.5h6v3H9z",
  fit: "M3.5 5.5h17v13h-17zM8 12h8M8 12l2-2M8 12l2 2M16 12l-2-2M16 12l-2 2",
  eye: "M2.5 12S6 5.5 12 5.5 21.5 12 21.5 12 18 18.5 12 18.5 2.5 12 2.5 12zM12 14.8a2.8 2.8 0 1 0 0-5.6 2.8 2.8 0 0 0 0 5.6z",
  people:
    "M9 11.5a3.2 3.2 0 1 0 0-6.4 3.2 3.2 0 0 0 0 6.4zM3 19c0-3 2.5-5 6-5s6 2 6 5M16 5.4a3.2 3.2 0 0 1 0 5.9M17.5 14.3c2.2.6 3.5 2.3 3.5 4.7",
  trash: "M4.5 7h15M9.5 7V4.5h5V7M6.5 7l1 13h9l1-13M10.3 11v5.5M13.7 11v5.5",
  copy: "M8.5 8.5V5A1.5 1.5 0 0 1 10 3.5h9A1.5 1.5 0 0 1 20.5 5v9a1.5 1.5 0 0 1-1.5 1.5h-3.5M3.5 10A1.5 1.5 0 0 1 5 8.5h9a1.5 1.5 0 0 1 1.5 1.5v9a1.5 1.5 0 0 1-1.5 1.5H5A1.5 1.5 0 0 1 3.5 19z",
  share: "M3.5 5.5h17v11h-17zM8.5 20h7M12 13.5V8.5M9.8 10.6L12 8.4l2.2 2.2",
  thumbnails: "M3.5 4.5h17v9.5h-17zM3.5 17.5h4.5v2.5H3.5zM9.8 17.5h4.5v2.5H9.8zM16 17.5h4.5v2.5H16z",
  follow:
    "M12 12.8a.8.8 0 1 0 0-1.6.8.8 0 0 0 0 1.6zM12 17a5 5 0 1 0 0-10 5 5 0 0 0 0 10zM12 3.5V7M12 17v3.5M3.5 12H7M17 12h3.5",
  touch:
    "M9.5 12.5V6a1.6 1.6 0 0 1 3.2 0v5l4.6 1.1a2 2 0 0 1 1.5 2.3l-.9 4.1a2.5 2.5 0 0 1-2.4 2h-3.4a3 3 0 0 1-2.3-1.1l-4-5a1.5 1.5 0 0 1 2.3-2z",
  camera: "M3.5 7h11v10h-11zM14.5 10.5l6-3v9l-6-3",
  "camera-off": "M3.5 7h11v10h-11zM14.5 10.5l6-3v9l-6-3M4 4l16 16",
  microphone:
    "M12 14.5a3 3 0 0 0 3-3v-5a3 3 0 0 0-6 0v5a3 3 0 0 0 3 3zM6 11.5a6 6 0 0 0 12 0M12 17.5V21M9 21h6",
  "microphone-off":
    "M15 10V6.5a3 3 0 0 0-5.8-1M9 9v2.5a3 3 0 0 0 4.6 2.5M6 11.5a6 6 0 0 0 9.8 4.6M18 11.5c0 .8-.2 1.6-.5 2.3M12 17.5V21M9 21h6M4 4l16 16",
  link: "M10 14a4 4 0 0 0 6 .4l3-3a4 4 0 0 0-5.7-5.7l-1.2 1.2M14 10a4 4 0 0 0-6-.4l-3 3a4 4 0 0 0 5.7 5.7l1.2-1.2",
  keys: "M4 8.5h6.5V15H4zM13.5 8.5H20V15h-6.5zM12 18.5v-13M10.5 11.8h3",
  zoom: "M10.5 16.5a6 6 0 1 0 0-12 6 6 0 0 0 0 12zM15 15l5 5M8 10.5h5M10.5 8v5",
  photo: "M8.5 6.5L10 4.5h4l1.5 2H20v12.5H4V6.5zM12 16a3.5 3.5 0 1 0 0-7 3.5 3.5 0 0 0 0 7z",
  close: "M6 6l12 12M18 6L6 18",
  sliders: "M4 7h9M17 7h3M4 17h3M11 17h9M15 9.2a2.2 2.2 0 1 0 0-4.4 2.2 2.2 0 0 0 0 4.4zM9 19.2a2.2 2.2 0 1 0 0-4.4 2.2 2.2 0 0 0 0 4.4z",
  folder: "M3.5 7A1.5 1.5 0 0 1 5 5.5h4.5l2 2.5H19a1.5 1.5 0 0 1 1.5 1.5v8A1.5 1.5 0 0 1 19 19H5a1.5 1.5 0 0 1-1.5-1.5z",
  file: "M6.5 3.5h7l4 4v13h-11zM13.5 3.5v4h4",
  download: "M12 4v11M7.5 11l4.5 4.5 4.5-4.5M5 19.5h14",
} as const;

export type IconName = keyof typeof PATHS;

export function Icon(props: { readonly name: IconName }) {
  return <Strokes path={PATHS[props.name]} />;
}

export function Strokes(props: { readonly path: string }) {
  return (
    <svg className="icon" viewBox="0 0 24 24" aria-hidden="true">
      <path d={props.path} />
    </svg>
  );
}
