import type { InputController } from "@oriel/client";
import { useState } from "react";
import { t } from "../i18n/words";

/** How a picture is enlarged. */
export type Scaling = "smooth" | "sharp";

type ViewPanelProps = {
  readonly input: InputController;
  readonly scaling: Scaling;
  readonly setScaling: (scaling: Scaling) => void;
};

const STEP = 1.25;

/** How large this viewer alone sees the picture, and how it is scaled. */
export function ViewPanel({ input, scaling, setScaling }: ViewPanelProps) {
  const [zoom, setZoom] = useState(input.zoom);
  const show = (scale: number): void => {
    setZoom(scaled(input, scale));
  };
  const pixels = Math.round((zoom / input.nativeZoom) * 100);
  return (
    <section className="panel view-panel" aria-label={t("view")} data-testid="view-panel">
      <div className="chips" role="group" aria-label={t("view-size")}>
        <Choice id="fit" name={t("view-fit")} on={zoom === 1} use={() => { show(1); }} />
        <Choice id="native" name={t("view-native")} on={pixels === 100} use={() => { show(input.nativeZoom); }} />
        <Choice id="smaller" name={t("view-smaller")} use={() => { show(zoom / STEP); }} />
        <Choice id="larger" name={t("view-larger")} use={() => { show(zoom * STEP); }} />
        <output data-testid="zoom">{t("percent", { percent: pixels })}</output>
      </div>
      <div className="chips" role="group" aria-label={t("view-scaling")}>
        <Choice id="smooth" name={t("view-smooth")} on={scaling === "smooth"} use={() => { setScaling("smooth"); }} />
        <Choice id="sharp" name={t("view-sharp")} on={scaling === "sharp"} use={() => { setScaling("sharp"); }} />
      </div>
      <p className="hint">{t("view-hint")}</p>
    </section>
  );
}

/** A separate function, as a component may not assign to what it is given. */
function scaled(input: InputController, scale: number): number {
  input.zoom = scale;
  return input.zoom;
}

type ChoiceProps = { readonly id: string; readonly name: string; readonly on?: boolean; readonly use: () => void };

function Choice({ id, name, on, use }: ChoiceProps) {
  return (
    <button className="button small toggle" type="button" aria-pressed={on} data-testid={`view-${id}`} onClick={use}>
      {name}
    </button>
  );
}
