import { type ReactNode, useEffect, useId, useRef } from "react";

type DialogProps = {
  readonly title: string;
  readonly testId: string;
  readonly onClose: () => void;
  readonly children: ReactNode;
};

/** A modal dialog; Escape and a click beside it close it. */
export function Dialog({ title, testId, onClose, children }: DialogProps) {
  const element = useRef<HTMLDialogElement>(null);
  const heading = useId();
  const latest = useRef(onClose);
  useEffect(() => {
    latest.current = onClose;
  });
  useEffect(() => {
    const dialog = element.current;
    if (dialog === null) return undefined;
    const left = new AbortController();
    dialog.addEventListener(
      "close",
      () => {
        latest.current();
      },
      { signal: left.signal },
    );
    const before = document.activeElement;
    dialog.showModal();
    return () => {
      left.abort();
      // Gives the focus back to where it was, which taking the element away would not.
      dialog.close();
      // Nor does closing it where what had the focus in it is gone.
      if (document.activeElement === document.body && before instanceof HTMLElement) before.focus();
    };
  }, []);
  return (
    <dialog
      ref={element}
      className="dialog"
      aria-labelledby={heading}
      data-testid={testId}
      onPointerDown={(event) => {
        if (event.target === event.currentTarget) onClose();
      }}
    >
      <div className="dialog-body">
        <h2 id={heading}>{title}</h2>
        {children}
      </div>
    </dialog>
  );
}
