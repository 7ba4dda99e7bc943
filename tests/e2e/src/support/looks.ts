/** What can be seen to be wrong with a page: contrasts of its texts, its fields and its focus. */

import type { JSHandle, Page } from "playwright-core";

/** WCAG 2.2, 1.4.3: for text of a usual size. */
const LEAST_CONTRAST = 4.5;
/** WCAG 2.2, 1.4.11: for the edges of what can be filled in, and for what shows the focus. */
const LEAST_OF_EDGES = 3;

type Colour = readonly [r: number, g: number, b: number, a: number];

type Eye = {
  readonly parse: (text: string) => Colour;
  readonly over: (top: Colour, ground: Colour) => Colour;
  readonly contrast: (a: Colour, b: Colour) => number;
  /** How much of an element's colours is left of all opacities around it. */
  readonly opacity: (element: Element) => number;
  readonly faded: (colour: Colour, by: number) => Colour;
  /**
   * The colours that may lie at a point, from the bottom up to an element, or to the top without one. Under pictures, whose colours are
   * anybody's guess, both black and white.
   */
  readonly grounds: (element: Element | null, x: number, y: number) => Colour[];
  /** Does something while all is still and what lets the pointer through is found nevertheless. */
  readonly looking: <T>(work: () => T) => T;
};

/** For the functions below, in the page. */
function eye(page: Page): Promise<JSHandle<Eye>> {
  return page.evaluateHandle((): Eye => {
    const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
    if (canvas === null) throw new Error("no canvas");
    const known = new Map<string, Colour>();
    const parse = (text: string): Colour => {
      let colour = known.get(text);
      if (colour === undefined) {
        canvas.clearRect(0, 0, 1, 1);
        canvas.fillStyle = text;
        canvas.fillRect(0, 0, 1, 1);
        const [r = 0, g = 0, b = 0, a = 0] = canvas.getImageData(0, 0, 1, 1).data;
        colour = [r, g, b, a / 255];
        known.set(text, colour);
      }
      return colour;
    };
    const over = ([r, g, b, a]: Colour, [R, G, B]: Colour): Colour => [r * a + R * (1 - a), g * a + G * (1 - a), b * a + B * (1 - a), 1];
    const luminance = ([r, g, b]: Colour): number => {
      const [R = 0, G = 0, B = 0] = [r, g, b].map((value) => (value <= 10.31 ? value / 255 / 12.92 : ((value / 255 + 0.055) / 1.055) ** 2.4));
      return 0.2126 * R + 0.7152 * G + 0.0722 * B;
    };
    const opacity = (element: Element): number => {
      let product = 1;
      for (let one: Element | null = element; one !== null; one = one.parentElement) product *= Number(getComputedStyle(one).opacity);
      return product;
    };
    const faded = ([r, g, b, a]: Colour, by: number): Colour => [r, g, b, a * by];
    const isDark = (): boolean => {
      const { colorScheme } = getComputedStyle(document.documentElement);
      return colorScheme === "dark" || (colorScheme.includes("dark") && matchMedia("(prefers-color-scheme: dark)").matches);
    };
    return {
      parse,
      over,
      opacity,
      faded,
      contrast: (a, b) => {
        const [high = 0, low = 0] = [luminance(a), luminance(b)].sort((x, y) => y - x);
        return (high + 0.05) / (low + 0.05);
      },
      grounds: (element, x, y) => {
        const stack = document.elementsFromPoint(x, y);
        const below = element === null ? stack : stack.slice(Math.max(0, stack.indexOf(element)));
        // What the body is painted with fills the window.
        const window = parse(getComputedStyle(document.body).backgroundColor);
        let colours: Colour[] = [over(window, parse(isDark() ? "#000" : "#fff"))];
        for (const layer of below.reverse()) {
          const style = getComputedStyle(layer);
          const by = opacity(layer);
          const own = parse(style.backgroundColor);
          colours = colours.map((under) => over(faded(own, by), under));
          if (style.backgroundImage !== "none" || ["VIDEO", "IMG", "CANVAS"].includes(layer.tagName)) {
            colours = colours.flatMap((under) => ["#000", "#fff"].map((any) => over(faded(parse(any), by), under)));
          }
        }
        return colours;
      },
      looking: (work) => {
        const still = document.head.appendChild(document.createElement("style"));
        still.textContent = "* { pointer-events: auto !important; animation: none !important; transition: none !important; }";
        try {
          return work();
        } finally {
          still.remove();
        }
      },
    };
  });
}

/** Texts that are hard to read. A text's ground is what lies under its middle, layer by layer. What is disabled may be pale. */
export async function paleTexts(page: Page): Promise<string[]> {
  return page.evaluate(
    ({ eye: { parse, over, contrast, opacity, faded, grounds, looking }, least }) =>
      looking(() => {
        const found: string[] = [];
        const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
        for (let node = walker.nextNode(); node !== null; node = walker.nextNode()) {
          const element = node.parentElement;
          const text = node.textContent?.trim() ?? "";
          if (element === null || text === "" || ["SCRIPT", "STYLE", "OPTION"].includes(element.tagName)) continue;
          if (!element.checkVisibility({ opacityProperty: true, visibilityProperty: true })) continue;
          if (element.closest(":disabled, .unseen-text, [inert]") !== null) continue;
          const range = document.createRange();
          range.selectNodeContents(node);
          let box = range.getBoundingClientRect();
          if (box.top < 0 || box.bottom > innerHeight || box.left < 0 || box.right > innerWidth) {
            element.scrollIntoView({ block: "center", inline: "center", behavior: "instant" });
            box = range.getBoundingClientRect();
          }
          const x = box.left + box.width / 2;
          const y = box.top + box.height / 2;
          const top = document.elementFromPoint(x, y);
          // Covered by something else, such as a dialog: not read.
          if (box.width === 0 || top === null || !(top === element || element.contains(top) || top.contains(element))) continue;
          const ink = faded(parse(getComputedStyle(element).color), opacity(element));
          const worst = Math.min(...grounds(element, x, y).map((ground) => contrast(over(ink, ground), ground)));
          if (worst < least) found.push(`${worst.toFixed(2)}: "${text.slice(0, 40)}" in ${element.tagName}.${element.className}`);
        }
        return found;
      }),
    { eye: await eye(page), least: LEAST_CONTRAST },
  );
}

/** Fields, and what stands for them, of which it is hard to see where they are: neither their edges nor their fill are told from what is around them. */
export async function paleEdges(page: Page): Promise<string[]> {
  return page.evaluate(
    ({ eye: { parse, over, contrast, opacity, faded, grounds, looking }, least }) =>
      looking(() => {
        const found: string[] = [];
        const drawn = "input:not([type=hidden], [type=checkbox], [type=radio], [type=range], [type=file]), select, textarea, input[type=radio] + span, input[type=checkbox] + span";
        for (const element of document.querySelectorAll<HTMLElement>(drawn)) {
          if (!element.checkVisibility({ opacityProperty: true, visibilityProperty: true }) || element.closest(":disabled, [inert]") !== null) continue;
          const style = getComputedStyle(element);
          const fill = parse(style.backgroundColor);
          const width = parseFloat(style.borderLeftWidth);
          // Told by the words and signs in it alone.
          if (width === 0 && fill[3] === 0) continue;
          element.scrollIntoView({ block: "center", inline: "center", behavior: "instant" });
          const box = element.getBoundingClientRect();
          const x = box.left - 1;
          const y = box.top + box.height / 2;
          const inside = document.elementFromPoint(box.left + box.width / 2, y);
          if (x < 0 || inside === null || !(inside === element || element.contains(inside))) continue;
          const by = opacity(element);
          const edges = [fill, ...(width > 0 ? [parse(style.borderLeftColor)] : [])].map((colour) => faded(colour, by));
          const worst = Math.min(...grounds(null, x, y).map((ground) => Math.max(...edges.map((edge) => contrast(over(edge, ground), ground)))));
          if (worst < least) found.push(`${worst.toFixed(2)}: the edge of ${element.outerHTML.slice(0, 100)}`);
        }
        return found;
      }),
    { eye: await eye(page), least: LEAST_OF_EDGES },
  );
}

/** Goes through a page by Tab until it is where it began. Says what cannot be seen to have the focus, light or dark, and what keeps it. */
export async function lostFocus(page: Page): Promise<string[]> {
  const found: string[] = [];
  let passed = 0;
  const tools = await eye(page);
  for (let step = 0; step < 200; step++) {
    await page.keyboard.press("Tab");
    const focused = await page.evaluate(
      ({ eye: { parse, over, contrast, opacity, faded, grounds, looking }, number, least }) => {
        const element = document.activeElement;
        if (element === null || element === document.body) return { kind: "left" as const };
        if (element.hasAttribute("data-passed")) return { kind: "again" as const };
        element.setAttribute("data-passed", String(number));
        const beside = (element.matches("input[type=radio]") ? element.nextElementSibling : null) ?? element;
        const { outlineStyle, outlineWidth, outlineOffset } = getComputedStyle(beside);
        const box = beside.getBoundingClientRect();
        const width = parseFloat(outlineWidth);
        const wrong: string[] = [];
        if (outlineStyle === "none" || width < 1 || box.width === 0) wrong.push("the focus cannot be seen");
        else {
          // Beyond the outline, or within one that is inside.
          const offset = parseFloat(outlineOffset);
          const away = offset < 0 ? offset - 1 : offset + width + 1;
          const middle = { x: box.left + box.width / 2, y: box.top + box.height / 2 };
          const sides = [
            { x: box.left - away, y: middle.y },
            { x: box.right + away, y: middle.y },
            { x: middle.x, y: box.top - away },
            { x: middle.x, y: box.bottom + away },
          ].filter(({ x, y }) => x >= 0 && y >= 0 && x < innerWidth && y < innerHeight);
          if (sides.length === 0) wrong.push("the focus is out of view");
          const root = document.documentElement;
          const before = root.style.colorScheme;
          for (const scheme of ["light", "dark"]) {
            root.style.colorScheme = scheme;
            looking(() => {
              const ink = faded(parse(getComputedStyle(beside).outlineColor), opacity(beside));
              // Over a picture anything may be next to it.
              const readable = sides.map(({ x, y }) => grounds(null, x, y)).flatMap((all) => (all.length === 1 ? all : []));
              const worst = Math.min(...readable.map((ground) => contrast(over(ink, ground), ground)));
              if (worst < least) wrong.push(`${scheme}, ${worst.toFixed(2)}: the focus can hardly be seen`);
            });
          }
          root.style.colorScheme = before;
        }
        return { kind: "new" as const, wrong: wrong.map((what) => `${what} on ${element.outerHTML.slice(0, 100)}`) };
      },
      { eye: tools, number: step, least: LEAST_OF_EDGES },
    );
    // The focus may have been on the last element: this step has left the page, and the next one comes to the first.
    if (focused.kind === "left" && step === 0) continue;
    if (focused.kind !== "new") {
      await page.evaluate(() => {
        for (const element of document.querySelectorAll("[data-passed]")) element.removeAttribute("data-passed");
      });
      return passed === 0 ? [...found, "nothing can have the focus"] : found;
    }
    passed += 1;
    found.push(...focused.wrong);
  }
  return [...found, "Tab does not come back"];
}
