export type Tone = "good" | "busy" | "bad" | "quiet";

/** A short state with a coloured dot. */
export function Pill(props: {
  readonly tone: Tone;
  readonly text: string;
  /** What the text means, where that is not plain. */
  readonly why?: string | undefined;
  readonly testId?: string;
}) {
  return (
    <span className={`pill ${props.tone}`} title={props.why} data-testid={props.testId}>
      <span className="dot" aria-hidden="true" />
      {props.text}
    </span>
  );
}
