import type { InputController } from "@oriel/client";
import { useState } from "react";
import { t } from "../i18n/words";
import { FUNCTION_KEYS, isModifier, KEPT, type Modifier, MODIFIERS, together, written } from "./combination";

/** Keys and combinations that do not reach the page when they are typed, and any other. */
export function KeysPanel({ input }: { readonly input: InputController }) {
  const [modifiers, setModifiers] = useState<ReadonlySet<Modifier>>(new Set());
  const [key, setKey] = useState<string | null>(null);
  const toggle = (modifier: Modifier): void => {
    const after = new Set(modifiers);
    if (!after.delete(modifier)) after.add(modifier);
    setModifiers(after);
  };
  const send = (codes: readonly string[]): void => {
    input.tapTogether(codes);
  };
  return (
    <section className="panel keys-panel" aria-label={t("keys")} data-testid="keys-panel">
      <div className="chips" role="group" aria-label={t("keys-kept")}>
        {[...KEPT, ...FUNCTION_KEYS.map((code) => [code])].map((codes) => (
          <button
            key={codes.join()}
            className="button small"
            type="button"
            data-testid={`send-${written(codes)}`}
            onClick={() => {
              send(codes);
            }}
          >
            {written(codes)}
          </button>
        ))}
      </div>
      <h2>{t("keys-any")}</h2>
      <div className="chips">
        {MODIFIERS.map(([code, name]) => (
          <button
            key={code}
            className="button small toggle"
            type="button"
            aria-pressed={modifiers.has(code)}
            onClick={() => {
              toggle(code);
            }}
          >
            {name}
          </button>
        ))}
        <input
          className="key-field"
          aria-label={t("keys-field")}
          placeholder={t("keys-field")}
          readOnly
          value={key === null ? "" : written([key])}
          data-testid="key-field"
          onKeyDown={(event) => {
            const { code } = event.nativeEvent;
            // Tab leads on, as everywhere on a page.
            if (code === "Tab" || code === "" || isModifier(code)) return;
            event.preventDefault();
            event.stopPropagation();
            setKey(code);
          }}
        />
        <button
          className="button small primary"
          type="button"
          disabled={key === null}
          data-testid="send-keys"
          onClick={() => {
            if (key !== null) send(together(modifiers, key));
          }}
        >
          {t("keys-send")}
        </button>
      </div>
    </section>
  );
}
