import "./form.css";
import { type ReactNode, useId } from "react";

type TextFieldProps = {
  readonly label: string;
  readonly value: string;
  readonly error: string | null;
  readonly testId: string;
  readonly hint?: string;
  readonly numeric?: boolean;
  readonly maxLength?: number;
  readonly onChange: (value: string) => void;
};

/** A field of a form; what is wrong with it stands below, in place of its hint. */
export function TextField(props: TextFieldProps): ReactNode {
  const id = useId();
  const note = props.error ?? props.hint;
  return (
    <div className={props.error === null ? "field" : "field invalid"}>
      <label htmlFor={id}>{props.label}</label>
      <input
        id={id}
        value={props.value}
        inputMode={props.numeric === true ? "numeric" : "text"}
        autoComplete="off"
        spellCheck="false"
        maxLength={props.maxLength}
        data-testid={props.testId}
        aria-invalid={props.error !== null}
        aria-describedby={note === undefined ? undefined : `${id}-note`}
        onChange={(event) => {
          props.onChange(event.target.value);
        }}
      />
      {note !== undefined && (
        <p
          id={`${id}-note`}
          className={props.error === null ? "hint" : "field-error"}
          role={props.error === null ? undefined : "alert"}
        >
          {note}
        </p>
      )}
    </div>
  );
}
