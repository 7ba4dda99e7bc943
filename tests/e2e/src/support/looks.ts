/** What can be seen to be wrong with a page: its contrasts, names, fields, headings and focus. */

import type { Page } from "playwright-core";

/** WCAG 2.2, 1.4.3: for text of a usual size. */
const LEAST_CONTRAST = 4.5;

/**
 * Texts that are hard to read. A text's ground is what lies under its middle, layer by layer; under pictures, whose colours are anybody's
 * guess, both black and white. What is disabled may be pale.
 */
export function paleTexts(page: Page): Promise<string[]> {
  return page.evaluate((least) => {
    type Colour = readonly [r: number, g: number, b: number, a: number];
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
    const contrast = (a: Colour, b: Colour): number => {
      const [high = 0, low = 0] = [luminance(a), luminance(b)].sort((x, y) => y - x);
      return (high + 0.05) / (low + 0.05);
    };
    const opacity = (element: Element): number => {
      let product = 1;
      for (let one: Element | null = element; one !== null; one = one.parentElement) product *= Number(getComputedStyle(one).opacity);
      return product;
    };
    const faded = ([r, g, b, a]: Colour, by: number): Colour => [r, g, b, a * by];
    /** The colours that may lie under a point of an element, from the bottom up. */
    const grounds = (element: Element, x: number, y: number): Colour[] => {
      const stack = document.elementsFromPoint(x, y);
      const below = stack.slice(Math.max(0, stack.indexOf(element)));
      let colours: Colour[] = [parse(getComputedStyle(document.documentElement).colorScheme.includes("dark") && matchMedia("(prefers-color-scheme: dark)").matches ? "#000" : "#fff")];
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
    };
    // What lets the pointer through is seen nevertheless.
    const seen = document.head.appendChild(document.createElement("style"));
    seen.textContent = "* { pointer-events: auto !important; animation: none !important; transition: none !important; }";
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
    seen.remove();
    return found;
  }, LEAST_CONTRAST);
}

/** What a screen reader cannot tell: controls without names, fields without labels, headings and landmarks out of order. */
export function unnamed(page: Page): Promise<string[]> {
  return page.evaluate(() => {
    const found: string[] = [];
    const visible = (element: Element): boolean => element.checkVisibility({ visibilityProperty: true });
    const words = (element: Element | null): string => (element?.textContent ?? "").trim();
    const nameOf = (element: HTMLElement): string => {
      const ids = element.getAttribute("aria-labelledby")?.split(" ") ?? [];
      const labels = element instanceof HTMLInputElement || element instanceof HTMLSelectElement || element instanceof HTMLTextAreaElement ? [...(element.labels ?? [])] : [];
      return [element.getAttribute("aria-label") ?? "", ...ids.map((id) => words(document.getElementById(id))), ...labels.map(words), words(element)].join("").trim();
    };
    for (const element of document.querySelectorAll<HTMLElement>("button, a[href], input, select, textarea, [role=button], [role=switch], summary, [tabindex='0']")) {
      const field = element.matches("input, select, textarea");
      const own = nameOf(element);
      // The text of a field is what is in it.
      const name = field && !element.hasAttribute("aria-label") && !element.hasAttribute("aria-labelledby") && !((element as HTMLInputElement).labels?.length ?? 0) ? "" : own;
      if (visible(element) && element.getAttribute("aria-hidden") !== "true" && name === "") found.push(`no name: ${element.outerHTML.slice(0, 120)}`);
    }
    for (const image of document.querySelectorAll("img")) if (!image.hasAttribute("alt")) found.push(`no text for ${image.src}`);
    const modal = document.querySelector("dialog:modal");
    const headings = [...(modal ?? document).querySelectorAll("h1, h2, h3, h4")].filter((heading) => heading.checkVisibility());
    let level = modal === null ? 0 : 1;
    for (const heading of headings) {
      const own = Number(heading.tagName.slice(1));
      if (own > level + 1) found.push(`${heading.tagName} "${words(heading)}" after level ${String(level)}`);
      level = own;
    }
    if (modal === null && document.querySelectorAll("h1").length !== 1) found.push(`${String(document.querySelectorAll("h1").length)} headings of the first level`);
    if (document.querySelectorAll("main").length !== 1) found.push(`${String(document.querySelectorAll("main").length)} main parts`);
    if (document.documentElement.lang === "") found.push("no language");
    if (document.title === "") found.push("no title");
    const ids = [...document.querySelectorAll("[id]")].map(({ id }) => id);
    found.push(...ids.filter((id, at) => ids.indexOf(id) !== at).map((id) => `the id ${id} twice`));
    return found;
  });
}

/** Goes through a page by Tab until it is where it began. Says what cannot be seen to have the focus, and what keeps it. */
export async function lostFocus(page: Page): Promise<string[]> {
  const found: string[] = [];
  const passed: string[] = [];
  for (let step = 0; step < 200; step++) {
    await page.keyboard.press("Tab");
    const focused = await page.evaluate((number) => {
      const element = document.activeElement;
      if (element === null || element === document.body) return { name: "", seen: true };
      const first = element.getAttribute("data-passed");
      element.setAttribute("data-passed", first ?? String(number));
      const beside = element.matches("input[type=radio]") ? element.nextElementSibling : element;
      const { outlineStyle, outlineWidth } = getComputedStyle(beside ?? element);
      const box = element.getBoundingClientRect();
      return { name: first === null ? element.outerHTML.slice(0, 100) : "again", seen: outlineStyle !== "none" && parseFloat(outlineWidth) >= 1 && box.width > 0 };
    }, step);
    // The focus may have been on the last element: this step has left the page, and the next one comes to the first.
    if (focused.name === "" && step === 0) continue;
    if (focused.name === "again" || focused.name === "") {
      await page.evaluate(() => {
        for (const element of document.querySelectorAll("[data-passed]")) element.removeAttribute("data-passed");
      });
      return passed.length === 0 ? [...found, "nothing can have the focus"] : found;
    }
    passed.push(focused.name);
    if (!focused.seen) found.push(`the focus cannot be seen on ${focused.name}`);
  }
  return [...found, "Tab does not come back"];
}
