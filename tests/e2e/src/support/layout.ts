/** How a page is laid out, as a person sees it. */

import type { CDPSession, Page } from "playwright-core";

/** What is too wide once a page has been arranged anew, which takes some frames. */
export async function arranged(page: Page): Promise<string[]> {
  for (let left = 20; ; left--) {
    const found = await tooWide(page);
    if (found.length === 0 || left === 0) return found;
    await page.evaluate(() => new Promise((done) => requestAnimationFrame(done)));
  }
}

/** What reaches over the sides of a page: also what a page that clips hides, but not what can be pushed into view. */
export function tooWide(page: Page): Promise<string[]> {
  return page.evaluate(() => {
    const width = document.documentElement.clientWidth;
    const over = [...document.querySelectorAll<HTMLElement>("body *")].filter((element) => {
      if (!element.checkVisibility({ visibilityProperty: true })) return false;
      for (let outer = element.parentElement; outer !== null; outer = outer.parentElement) {
        if (["auto", "scroll"].includes(getComputedStyle(outer).overflowX)) return false;
      }
      const { left, right, width: own } = element.getBoundingClientRect();
      return own > 0 && (left < -1 || right > width + 1);
    });
    const names = over.map((element) => `${element.tagName}.${element.className}`);
    return document.documentElement.scrollWidth > width ? [...names, "the page scrolls"] : names;
  });
}

/** How large what a page is read on is, and whether it is touched. */
export type Screen = { readonly width: number; readonly height: number; readonly touched: boolean };

export const DESK: Screen = { width: 1440, height: 900, touched: false };

export const TABLET: Screen = { width: 768, height: 1024, touched: true };

/** A desk, a tablet and a phone, both held upright. */
export const SCREENS: readonly Screen[] = [DESK, TABLET, { width: 390, height: 844, touched: true }];

/** Those that have put pages onto screens: what one of them has set, no other one takes back. */
const sessions = new WeakMap<Page, CDPSession>();

/** Puts a page onto a screen. */
export async function putOn(page: Page, { width, height, touched }: Screen): Promise<void> {
  const session = sessions.get(page) ?? (await page.context().newCDPSession(page));
  sessions.set(page, session);
  await session.send("Emulation.setTouchEmulationEnabled", { enabled: touched });
  await page.setViewportSize({ width, height });
  await page.waitForFunction((touched) => matchMedia("(pointer: coarse)").matches === touched, touched);
}

/** What can be used on a page at this moment, by a selector. */
const CONTROLS = "a[href], button, input:not([type=hidden]), select, textarea, summary, [role=button], [role=switch], [role=tab], [role=slider]";

/** Least width and height of what is pointed at: WCAG 2.2, 2.5.8. */
const LEAST_TARGET = 24;

/**
 * What is too small to be hit, and too near to something else. A link in a text is as high as its line. Hands need `strictly` more, whatever
 * is around it.
 */
export function smallTargets(page: Page, within = "body", strictly?: number): Promise<string[]> {
  return page.evaluate(
    ({ controls, within, least, strictly }) => {
      type Box = { readonly left: number; readonly top: number; readonly right: number; readonly bottom: number };
      const modal = document.querySelector("dialog:modal");
      /** With the words that do the same. */
      const boxOf = (element: Element): Box => {
        const boxes = [element.getBoundingClientRect()];
        if (element.matches("input[type=radio], input[type=checkbox]")) boxes.push(...[...((element as HTMLInputElement).labels ?? [])].map((label) => label.getBoundingClientRect()));
        return {
          left: Math.min(...boxes.map(({ left }) => left)),
          top: Math.min(...boxes.map(({ top }) => top)),
          right: Math.max(...boxes.map(({ right }) => right)),
          bottom: Math.max(...boxes.map(({ bottom }) => bottom)),
        };
      };
      const isInText = (element: Element): boolean =>
        element.matches("a") && getComputedStyle(element).display === "inline" && (element.parentElement?.textContent?.trim() ?? "") !== element.textContent?.trim();
      const targets = [...document.querySelectorAll(`:is(${within}) :is(${controls})`)]
        .filter((element) => element.checkVisibility({ visibilityProperty: true }) && !element.matches(":disabled, [inert] *") && (modal === null || modal.contains(element)))
        // What takes the keyboard alone is not pointed at.
        .filter((element) => getComputedStyle(element).pointerEvents !== "none")
        .map((element) => ({ element, box: boxOf(element) }))
        .filter(({ box: { left, right } }) => right > left);
      const isSmall = ({ left, top, right, bottom }: Box, side: number): boolean => right - left < side - 0.5 || bottom - top < side - 0.5;
      const middle = ({ left, top, right, bottom }: Box): { x: number; y: number } => ({ x: (left + right) / 2, y: (top + bottom) / 2 });
      return targets.flatMap(({ element, box }) => {
        const name = `${(box.right - box.left).toFixed(0)} × ${(box.bottom - box.top).toFixed(0)}: ${element.outerHTML.slice(0, 100)}`;
        if (strictly !== undefined) return isSmall(box, strictly) ? [name] : [];
        if (!isSmall(box, least) || isInText(element)) return [];
        const { x, y } = middle(box);
        const near = targets.find((other) => {
          if (other.element === element || other.element.contains(element) || element.contains(other.element)) return false;
          const at = middle(other.box);
          if (isSmall(other.box, least) && Math.hypot(at.x - x, at.y - y) < least) return true;
          const nearest = { x: Math.min(Math.max(x, other.box.left), other.box.right), y: Math.min(Math.max(y, other.box.top), other.box.bottom) };
          return Math.hypot(nearest.x - x, nearest.y - y) < least / 2;
        });
        return near === undefined ? [] : [`${name} beside ${near.element.outerHTML.slice(0, 100)}`];
      });
    },
    { controls: CONTROLS, within, least: LEAST_TARGET, strictly },
  );
}

/** Controls that cannot be hit in their middle, even after they were brought into view: out of it, cut off, or under something else. */
export function covered(page: Page): Promise<string[]> {
  return page.evaluate((controls) => {
    const modal = document.querySelector("dialog:modal");
    const found: string[] = [];
    for (const element of document.querySelectorAll<HTMLElement>(controls)) {
      if (!element.checkVisibility({ visibilityProperty: true, opacityProperty: true }) || element.matches(":disabled, [inert] *")) continue;
      if (modal !== null && !modal.contains(element)) continue;
      // It comes with the focus.
      if (element.closest(".toolbar-area:not(.awake, :focus-within)") !== null) continue;
      element.scrollIntoView({ block: "nearest", inline: "nearest", behavior: "instant" });
      const { left, top, width, height } = element.getBoundingClientRect();
      if (width === 0 || height === 0) continue;
      const x = left + width / 2;
      const y = top + height / 2;
      const hit = document.elementFromPoint(x, y);
      if (hit !== null && (element.contains(hit) || hit.closest("label")?.control === element)) continue;
      const by = hit === null ? "out of view" : `under ${hit.outerHTML.slice(0, 80)}`;
      found.push(`${by}: ${element.outerHTML.slice(0, 100)}`);
    }
    return found;
  }, CONTROLS);
}

/** Texts of which a part is cut off, without the dots that say so, and where nothing can be scrolled. */
export function cutOff(page: Page): Promise<string[]> {
  return page.evaluate(() => {
    const modal = document.querySelector("dialog:modal");
    const found: string[] = [];
    const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    for (let node = walker.nextNode(); node !== null; node = walker.nextNode()) {
      const element = node.parentElement;
      if (element === null || node.textContent?.trim() === "" || element.closest("script, style, option, .unseen-text, [inert]") !== null) continue;
      if (!element.checkVisibility({ visibilityProperty: true, opacityProperty: true }) || (modal !== null && !modal.contains(element))) continue;
      if (element.closest(".toolbar-area:not(.awake, :focus-within)") !== null) continue;
      const range = document.createRange();
      range.selectNodeContents(node);
      const text = range.getBoundingClientRect();
      // What has a position is cut by what has one around it.
      let isPositioned = false;
      let [across, along] = [true, true];
      for (let outer: Element | null = element; outer !== null; outer = outer.parentElement) {
        const { position, overflowX, overflowY, textOverflow } = getComputedStyle(outer);
        const cuts = !isPositioned || position !== "static";
        const box = outer.getBoundingClientRect();
        if (cuts && ["auto", "scroll"].includes(overflowX)) across = false;
        if (cuts && ["auto", "scroll"].includes(overflowY)) along = false;
        if (cuts && across && ["hidden", "clip"].includes(overflowX)) {
          if (textOverflow === "ellipsis") across = false;
          else if (text.left < box.left - 1 || text.right > box.right + 1) found.push(`its sides: "${node.textContent ?? ""}" in ${outer.tagName}.${outer.className}`);
        }
        if (cuts && along && ["hidden", "clip"].includes(overflowY) && (text.top < box.top - 1 || text.bottom > box.bottom + 1)) {
          found.push(`above or below: "${node.textContent ?? ""}" in ${outer.tagName}.${outer.className}`);
        }
        if (position === "fixed") break;
        if (cuts) isPositioned = position === "absolute";
      }
    }
    return found;
  });
}

/** What scrolls, but not by a keyboard: it cannot have the focus, and nothing in it can. */
export function stuck(page: Page): Promise<string[]> {
  return page.evaluate(() =>
    [...document.querySelectorAll<HTMLElement>("body *")]
      .filter((element) => {
        const { overflowX, overflowY } = getComputedStyle(element);
        const scrolls = (overflow: string, by: number): boolean => ["auto", "scroll"].includes(overflow) && by > 1;
        if (!scrolls(overflowX, element.scrollWidth - element.clientWidth) && !scrolls(overflowY, element.scrollHeight - element.clientHeight)) return false;
        if (element.matches("select, textarea, input") || !element.checkVisibility({ visibilityProperty: true })) return false;
        return ![element, ...element.querySelectorAll<HTMLElement>("*")].some((one) => one.tabIndex >= 0 && one.checkVisibility({ visibilityProperty: true }) && !one.matches(":disabled"));
      })
      .map((element) => element.outerHTML.slice(0, 100)),
  );
}

/** In how many rows the children of something stand; what is in one has its middle at one height, but for rounding. */
export function rowsOf(page: Page, selector: string): Promise<number> {
  return page.locator(`${selector} > :visible`).evaluateAll((all) => {
    const middles = all
      .map((one) => one.getBoundingClientRect())
      .filter(({ height }) => height > 0)
      .map(({ top, bottom }) => (top + bottom) / 2)
      .sort((a, b) => a - b);
    return middles.filter((y, at) => at === 0 || y - (middles[at - 1] ?? y) > 10).length;
  });
}
