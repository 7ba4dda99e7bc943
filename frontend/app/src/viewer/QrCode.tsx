import { encode } from "uqr";

/** A text for cameras. Black on white whatever the page is: many readers take nothing else. */
export function QrCode({ text, label }: { readonly text: string; readonly label: string }) {
  // The quiet zone of the standard is four modules.
  const { data, size } = encode(text, { border: 4, ecc: "M" });
  const path = data.flatMap((row, y) => row.flatMap((dark, x) => (dark ? [`M${x} ${y}h1v1h-1z`] : []))).join("");
  return (
    <svg className="qr-code" viewBox={`0 0 ${size} ${size}`} role="img" aria-label={label} shapeRendering="crispEdges" data-testid="qr">
      <rect width={size} height={size} fill="#fff" />
      <path d={path} fill="#000" />
    </svg>
  );
}
