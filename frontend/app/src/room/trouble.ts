/** Why a camera, a microphone or a screen cannot be had, in words, and what to do about it. Pure. */

export type DeviceKind = "camera" | "microphone" | "screen";

const ARTICLE: Readonly<Record<DeviceKind, string>> = {
  camera: "the camera",
  microphone: "the microphone",
  screen: "the screen",
};

/** Browsers give devices to pages that came over https, and to those of this computer. */
export const INSECURE =
  "The browser gives cameras and microphones only to pages that came by https, or from localhost. Open this page by https.";

/**
 * What an error of `getUserMedia` or `getDisplayMedia` means; null where there is nothing to say: the choice of a screen was
 * cancelled.
 * @param secure `isSecureContext` of the page.
 */
export function explain(kind: DeviceKind, error: unknown, secure: boolean): string | null {
  if (!secure) return INSECURE;
  const name = error instanceof Error ? error.name : "";
  switch (name) {
    case "NotAllowedError":
    case "SecurityError":
      return kind === "screen" ? null : `The browser does not allow this page ${ARTICLE[kind]}. Allow it beside the address, then try again.`;
    case "NotFoundError":
      return kind === "screen" ? "There is no screen that can be shown." : `No ${kind} was found. Plug one in, then try again.`;
    case "NotReadableError":
    case "AbortError":
      return `${capital(ARTICLE[kind])} cannot be read: another program may be using it. Close that, then try again.`;
    case "OverconstrainedError":
      return `The ${kind} that was chosen is not there any more. Choose another one.`;
    case "TypeError":
    case "NotSupportedError":
      return kind === "screen" ? "This browser cannot show a screen." : INSECURE;
    default:
      return `${capital(ARTICLE[kind])} cannot be used${name === "" ? "" : ` (${name})`}.`;
  }
}

function capital(text: string): string {
  return text.charAt(0).toUpperCase() + text.slice(1);
}
