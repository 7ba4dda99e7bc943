import type { InputController, Sticky, StickyModifier } from "@oriel/client";

type KeyRowProps = { readonly input: InputController; readonly modifiers: Sticky };

const MODIFIERS: readonly (readonly [code: StickyModifier, text: string])[] = [
  ["ControlLeft", "Ctrl"],
  ["AltLeft", "Alt"],
  ["MetaLeft", "Super"],
];

/** Keys of which the label is no name. */
const ARROWS: readonly (readonly [code: string, text: string, name: string])[] = [
  ["ArrowLeft", "←", "Left"],
  ["ArrowDown", "↓", "Down"],
  ["ArrowUp", "↑", "Up"],
  ["ArrowRight", "→", "Right"],
];

const OTHERS: readonly (readonly [code: string, text: string, name: string])[] = [
  ["Home", "Home", "Home"],
  ["End", "End", "End"],
  ["PageUp", "PgUp", "Page up"],
  ["PageDown", "PgDn", "Page down"],
  ["Delete", "Del", "Delete"],
  ...Array.from({ length: 12 }, (_, n) => [`F${n + 1}`, `F${n + 1}`, `F${n + 1}`] as const),
];

/** The keys that on-screen keyboards lack, above the keyboard. */
export function KeyRow({ input, modifiers }: KeyRowProps) {
  return (
    <div className="key-row" role="toolbar" aria-label="Further keys" data-testid="key-row">
      <Key input={input} code="Escape" text="Esc" name="Escape" />
      <Key input={input} code="Tab" text="Tab" name="Tab" />
      {MODIFIERS.map(([code, text]) => {
        const state = modifiers.get(code) ?? "off";
        return (
          <button
            key={code}
            className={`key ${state}`}
            type="button"
            aria-label={state === "locked" ? `${text}, locked` : text}
            aria-pressed={state !== "off"}
            title={`${text}: one tap for the next key, two for all`}
            data-testid={`key-${code}`}
            data-state={state}
            onMouseDown={keepFocus}
            onClick={() => {
              input.tapModifier(code);
            }}
          >
            {text}
          </button>
        );
      })}
      {[...ARROWS, ...OTHERS].map(([code, text, name]) => (
        <Key key={code} input={input} code={code} text={text} name={name} />
      ))}
    </div>
  );
}

type KeyProps = Pick<KeyRowProps, "input"> & { readonly code: string; readonly text: string; readonly name: string };

function Key({ input, code, text, name }: KeyProps) {
  return (
    <button
      className="key"
      type="button"
      aria-label={name}
      data-testid={`key-${code}`}
      onMouseDown={keepFocus}
      onClick={() => {
        input.tapKey(code);
      }}
    >
      {text}
    </button>
  );
}

/** A tap leaves the keyboard open. */
function keepFocus(event: { preventDefault: () => void }): void {
  event.preventDefault();
}
