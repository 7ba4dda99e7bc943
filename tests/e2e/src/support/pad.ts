/**
 * A gamepad for pages: as no real one is plugged in, `navigator.getGamepads` gives what a test says.
 *
 * The function here is handed to the browser as text, so it uses nothing but what is inside it.
 */

/** What is pressed, by the numbers of the standard mapping, and where the sticks are. */
export type Standing = { readonly buttons: Readonly<Record<number, number>>; readonly axes: readonly number[] };

declare global {
  interface Window {
    fakePad: {
      stand(standing: Standing): void;
      /** How it was shaken, newest first. */
      readonly shaken: { strong: number; weak: number }[];
    };
  }
}

export function installPad(): void {
  const shaken: { strong: number; weak: number }[] = [];
  let pad: object | null = null;
  const vibrationActuator = {
    playEffect: (_: string, { strongMagnitude, weakMagnitude }: { strongMagnitude: number; weakMagnitude: number }) => {
      shaken.unshift({ strong: strongMagnitude, weak: weakMagnitude });
      return Promise.resolve("complete");
    },
    reset: () => {
      shaken.unshift({ strong: 0, weak: 0 });
      return Promise.resolve("complete");
    },
  };
  navigator.getGamepads = () => [pad as Gamepad | null];
  window.fakePad = {
    shaken,
    stand({ buttons, axes }) {
      const isNew = pad === null;
      pad = {
        id: "Xbox 360 Controller (XInput STANDARD GAMEPAD)",
        index: 0,
        connected: true,
        mapping: "standard",
        axes,
        buttons: Array.from({ length: 17 }, (_, n) => ({ pressed: (buttons[n] ?? 0) > 0.3, value: buttons[n] ?? 0 })),
        vibrationActuator,
      };
      if (isNew) window.dispatchEvent(new Event("gamepadconnected"));
    },
  };
}
