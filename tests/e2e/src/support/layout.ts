/** How a page is laid out, as a person sees it. */

import type { Page } from "playwright-core";

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
