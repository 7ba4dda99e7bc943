import type { KeyboardMode } from "@oriel/client";
import type { ReactNode } from "react";
import { Icon, type IconName } from "../ui/Icon";
import { Pill, type Tone } from "../ui/Pill";
import { useAwake } from "./hooks";
import { listed } from "../ui/format";
import { t } from "../i18n/words";

/** How long the toolbar stays after the pointer has left it. */
const STAYS_MS = 2_500;

export type Tool = {
  readonly id: string;
  readonly icon: IconName;
  readonly label: string;
  /** The text beside the icon, where the toolbar has room. */
  readonly text?: string;
  readonly pressed?: boolean;
  readonly disabled?: boolean;
  readonly highlighted?: boolean;
  readonly use: () => void;
};

type ToolbarProps = {
  readonly name: string;
  /** The content of the main view; null when it need not be named. */
  readonly subject: string | null;
  /** Null: this viewer may not see the list. */
  readonly listUrl: string | null;
  readonly tone: Tone;
  readonly status: string;
  /** What the status means, where that is not plain. */
  readonly why: string | undefined;
  /** Names of those who watch. */
  readonly watchers: readonly string[];
  /** The panel with them is open. */
  readonly peopleShown: boolean;
  /** Opens the panel, or closes it. */
  readonly onPeople: () => void;
  readonly tools: readonly Tool[];
  readonly keyboardMode: KeyboardMode;
  readonly onKeyboardMode: (mode: KeyboardMode) => void;
  /** Something of it is open, or the state deserves attention. */
  readonly hold: boolean;
  readonly setElement: (element: HTMLElement | null) => void;
  /** Back to the picture. */
  readonly onLeave: () => void;
  readonly children?: ReactNode;
};

/** The bar at the top, which slides away while it is not needed. */
export function Toolbar({ setElement, ...props }: ToolbarProps) {
  const { awake, poke } = useAwake(STAYS_MS, props.hold);
  return (
    <div
      ref={setElement}
      className={awake ? "toolbar-area awake" : "toolbar-area"}
      onPointerEnter={poke}
      onPointerMove={poke}
      onPointerDown={poke}
      // Also by a finger that pushes the row of tools along.
      onScrollCapture={poke}
      onFocus={poke}
      onKeyDown={(event) => {
        poke();
        if (event.key === "Escape") props.onLeave();
      }}
      data-testid="toolbar"
    >
      <div className="toolbar" role="toolbar" aria-label={t("toolbar")}>
        {props.listUrl !== null && (
          <a className="icon-button" href={props.listUrl} aria-label={t("all-sessions")} title={t("all-sessions")}>
            <Icon name="back" />
          </a>
        )}
        <span className="toolbar-name" title={props.subject ?? props.name}>
          {props.name}
          {props.subject !== null && <span className="quiet-text"> · {props.subject}</span>}
        </span>
        <Pill tone={props.tone} text={props.status} why={props.why} testId="state" />
        <button
          type="button"
          className="watchers"
          aria-label={t("people", { count: props.watchers.length })}
          aria-expanded={props.peopleShown}
          title={t("watching", { names: listed(props.watchers) })}
          data-testid="watchers"
          onMouseDown={keepFocus}
          onClick={props.onPeople}
        >
          <Icon name="people" /> {props.watchers.length}
        </button>
        <span className="toolbar-gap" />
        <label className="select" title={t("keyboard-how")} onPointerDown={poke}>
          <Icon name="sliders" />
          <select
            aria-label={t("keyboard")}
            data-testid="keyboard-mode"
            value={props.keyboardMode}
            onChange={(event) => {
              props.onKeyboardMode(event.target.value === "character" ? "character" : "physical");
              props.onLeave();
            }}
          >
            <option value="physical">{t("keyboard-physical")}</option>
            <option value="character">{t("keyboard-character")}</option>
          </select>
        </label>
        {props.tools.map((tool) => (
          <ToolButton key={tool.id} tool={tool} />
        ))}
      </div>
      <span className="toolbar-handle" aria-hidden="true" data-testid="toolbar-handle" />
      {props.children}
    </div>
  );
}

function ToolButton({ tool }: { readonly tool: Tool }) {
  const classes = ["icon-button"];
  if (tool.highlighted === true) classes.push("highlighted");
  if (tool.text !== undefined) classes.push("with-text");
  return (
    <button
      type="button"
      className={classes.join(" ")}
      aria-label={tool.label}
      aria-pressed={tool.pressed}
      title={tool.label}
      disabled={tool.disabled}
      data-testid={`tool-${tool.id}`}
      onMouseDown={keepFocus}
      onClick={tool.use}
    >
      <Icon name={tool.icon} />
      {tool.text !== undefined && <span>{tool.text}</span>}
    </button>
  );
}

/** A click leaves the keyboard where it is: with the session. */
function keepFocus(event: { preventDefault: () => void }): void {
  event.preventDefault();
}
