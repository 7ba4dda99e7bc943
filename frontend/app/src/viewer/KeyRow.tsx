import type { InputController, Sticky } from "@oriel/client";
import { type PlainKey, t } from "../i18n/words";
import { FUNCTION_KEYS, MODIFIERS } from "./combination";

type KeyRowProps = { readonly input: InputController; readonly modifiers: Sticky };

/** Keys of which the label is no name. */
const ARROWS: readonly (readonly [code: string, text: string, name: PlainKey])[] = [
  ["ArrowLeft", "←", "key-left"],
  ["ArrowDown", "↓", "key-down"],
  ["ArrowUp", "↑", "key-up"],
  ["ArrowRight", "→", "key-right"],
];

const OTHERS: readonly (readonly [code: string, text: string, name: PlainKey])[] = [
  ["Home", "Home", "key-home"],
  ["End", "End", "key-end"],
  ["PageUp", "PgUp", "key-page-up"],
  ["PageDown", "PgDn", "key-page-down"],
  ["Delete", "Del", "key-delete"],
];

/** The keys that on-screen keyboards lack, above the keyboard. */
export function KeyRow({ input, modifiers }: KeyRowProps) {
  return (
    <div className="key-row" role="toolbar" aria-label={t("further-keys")} data-testid="key-row">
      <Key input={input} code="Escape" text="Esc" name={t("key-escape")} />
      <Key input={input} code="Tab" text="Tab" name={t("key-tab")} />
      {MODIFIERS.map(([code, text]) => {
        const state = modifiers.get(code) ?? "off";
        return (
          <button
            key={code}
            className={`key ${state}`}
            type="button"
            aria-label={state === "locked" ? t("modifier-locked", { key: text }) : text}
            aria-pressed={state !== "off"}
            title={t("modifier-hint", { key: text })}
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
        <Key key={code} input={input} code={code} text={text} name={t(name)} />
      ))}
      {FUNCTION_KEYS.map((code) => (
        <Key key={code} input={input} code={code} text={code} name={code} />
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
      aria-label={spoken(text, name)}
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

/** What a key is called: with what is written on it, which is what people say who steer by voice. An arrow is not said. */
function spoken(text: string, name: string): string {
  return /^\W/.test(text) || name.toLowerCase().includes(text.toLowerCase()) ? name : `${text}, ${name}`;
}

/** A tap leaves the keyboard open. */
function keepFocus(event: { preventDefault: () => void }): void {
  event.preventDefault();
}
