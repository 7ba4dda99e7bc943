/** As the `ref` of an element that has the focus as soon as it is there. */
export function focusNew(element: HTMLElement | null): void {
  element?.focus();
}
