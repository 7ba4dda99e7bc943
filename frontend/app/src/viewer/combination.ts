/** Keys that are pressed together, as plain data: which there are to choose from, and how they are written. Pure. */

export const MODIFIERS = [
  ["ControlLeft", "Ctrl"],
  ["AltLeft", "Alt"],
  ["ShiftLeft", "Shift"],
  ["MetaLeft", "Super"],
] as const;

export type Modifier = (typeof MODIFIERS)[number][0];

/** What browsers and systems keep for themselves, so that it cannot be typed. */
export const KEPT: readonly (readonly string[])[] = [
  ["ControlLeft", "AltLeft", "Delete"],
  ["ControlLeft", "AltLeft", "Backspace"],
  ["AltLeft", "Tab"],
  ["AltLeft", "F4"],
  ["MetaLeft"],
  ["PrintScreen"],
  ["ControlLeft", "KeyW"],
  ["ControlLeft", "KeyT"],
  ["ControlLeft", "KeyN"],
  ["ControlLeft", "Escape"],
];

export const FUNCTION_KEYS: readonly string[] = Array.from({ length: 12 }, (_, n) => `F${n + 1}`);

const NAMES: Readonly<Record<string, string>> = {
  ...Object.fromEntries(MODIFIERS),
  Delete: "Del",
  Escape: "Esc",
  PrintScreen: "Print",
  ArrowLeft: "←",
  ArrowRight: "→",
  ArrowUp: "↑",
  ArrowDown: "↓",
};

/** A key by what usually stands on it. */
function nameOfKey(code: string): string {
  return NAMES[code] ?? code.replace(/^(Key|Digit)(?=.$)/, "");
}

/** Ctrl+Alt+Del. */
export function written(codes: readonly string[]): string {
  return codes.map(nameOfKey).join("+");
}

/** Modifiers in their usual order, then the key. */
export function together(modifiers: ReadonlySet<Modifier>, key: string): readonly string[] {
  return [...MODIFIERS.map(([code]) => code).filter((code) => modifiers.has(code)), key];
}

/** Whether a key is a modifier, which alone makes no combination. */
export function isModifier(code: string): boolean {
  return /^(Control|Alt|Shift|Meta|OS)/.test(code);
}
