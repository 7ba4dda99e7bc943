/**
 * What a page says of itself to programs that read it to people or fill it in: names, roles, relations and order, by WCAG 2.2 (A and AA),
 * WAI-ARIA 1.2 and HTML. Each of these functions says what is wrong.
 */

import type { JSHandle, Page } from "playwright-core";

/** An argument for the browser, which tells roles and names then as it tells them to screen readers. */
export const TELLS_ROLES = "--enable-blink-features=ComputedAccessibilityInfo";

declare global {
  interface Element {
    readonly computedRole: string;
    readonly computedName: string;
  }
}

type Reader = {
  /** Whether a screen reader tells of it. */
  readonly told: (element: Element) => boolean;
  /** What of the page is told of, by a selector. */
  readonly all: (selector: string) => HTMLElement[];
  /** Whether a keyboard reaches it. */
  readonly focusable: (element: Element) => boolean;
  /** The words in it that are seen, and not only there to be read out; none of fields in it, nor what is reported by itself. */
  readonly seen: (element: Element) => string;
  /** Letters and digits alone, as punctuation is not spoken. */
  readonly plain: (text: string) => string;
  readonly show: (element: Element) => string;
};

/** For the functions below, in the page. */
function reader(page: Page): Promise<JSHandle<Reader>> {
  return page.evaluateHandle((): Reader => {
    if (!("computedRole" in Element.prototype)) throw new Error("this browser does not tell roles");
    const modal = document.querySelector("dialog:modal");
    const told = (element: Element): boolean =>
      element.checkVisibility({ visibilityProperty: true }) &&
      element.closest("[aria-hidden=true], [inert]") === null &&
      (modal === null || modal.contains(element));
    return {
      told,
      all: (selector) => [...document.querySelectorAll<HTMLElement>(selector)].filter(told),
      focusable: (element) =>
        element instanceof HTMLElement && element.tabIndex >= 0 && !element.matches(":disabled, [inert] *") && element.checkVisibility({ visibilityProperty: true }),
      seen: (element) => {
        const words: string[] = [];
        const walker = document.createTreeWalker(element, NodeFilter.SHOW_TEXT);
        for (let node = walker.nextNode(); node !== null; node = walker.nextNode()) {
          const around = node.parentElement;
          if (around === null || around.closest("[aria-hidden=true], .unseen-text, select, textarea, output, [role=status]") !== null) continue;
          if (around.checkVisibility({ visibilityProperty: true })) words.push(node.textContent ?? "");
        }
        return words.join(" ").trim();
      },
      plain: (text) => text.normalize("NFKC").toLowerCase().replace(/[^\p{L}\p{N}]+/gu, " ").trim(),
      show: (element) => element.outerHTML.replace(/\s+/g, " ").slice(0, 120),
    };
  });
}

/** All of them, one after the other. */
export async function mistold(page: Page): Promise<string[]> {
  const found: string[] = [];
  for (const check of [ofDocument, unnamed, unrelated, misroled, misplaced, outOfLandmarks, misnamed]) found.push(...(await check(page)));
  return found;
}

/** The document: its language, its title, whether it can be enlarged, and whether it stays. */
export function ofDocument(page: Page): Promise<string[]> {
  return page.evaluate(() => {
    const found: string[] = [];
    const names = new Intl.DisplayNames(["en"], { type: "language", fallback: "none" });
    const isLanguage = (tag: string): boolean => {
      try {
        return names.of(tag) !== undefined;
      } catch {
        return false;
      }
    };
    for (const element of [document.documentElement, ...document.querySelectorAll<HTMLElement>("body, body [lang]")]) {
      const { lang } = element;
      if (element === document.documentElement && lang === "") found.push("no language");
      if (lang !== "" && !isLanguage(lang)) found.push(`${lang} is no language`);
    }
    if (document.title.trim() === "") found.push("no title");
    for (const { content } of document.querySelectorAll<HTMLMetaElement>("meta[name=viewport]")) {
      const scalable = /user-scalable\s*=\s*(\w+)/i.exec(content)?.[1] ?? "yes";
      const most = /maximum-scale\s*=\s*([^\s,;]+)/i.exec(content)?.[1] ?? "10";
      if (/^(no|0)$/i.test(scalable) || !(Number(most) >= 5)) found.push(`cannot be enlarged: ${content}`);
    }
    if (document.querySelector("meta[http-equiv=refresh i]") !== null) found.push("loads itself anew");
    return found;
  });
}

/** Controls, pictures and dialogs without names, fields without labels, headings out of order. */
export async function unnamed(page: Page): Promise<string[]> {
  return page.evaluate(({ all, show }) => {
    const found: string[] = [];
    const roles = new Set(
      "alertdialog button checkbox combobox dialog heading image img link listbox menuitem meter option progressbar radio radiogroup searchbox slider spinbutton switch tab tabpanel textbox toolbar tree treeitem".split(" "),
    );
    for (const element of all("*")) {
      // A picture without a text is for the eye alone.
      if (element.matches("img[alt='']")) continue;
      if (!roles.has(element.computedRole) && !element.matches("[tabindex='0'], iframe, summary, input[type=file], input[type=password]")) continue;
      const spoken = element.getAttribute("aria-label") ?? element.getAttribute("aria-labelledby") ?? "";
      const labels = element instanceof HTMLInputElement || element instanceof HTMLSelectElement || element instanceof HTMLTextAreaElement ? [...(element.labels ?? [])] : [];
      const isField = element.matches("input:not([type=button], [type=submit], [type=reset], [type=image]), select, textarea");
      const own = isField ? labels.map((label) => label.textContent).join("") : (element.textContent ?? "") + (element.querySelector("img[alt]:not([alt=''])")?.getAttribute("alt") ?? "");
      // What is only a hint goes when something is typed, or comes with a pointer alone.
      const hinted = element.hasAttribute("title") || element.hasAttribute("placeholder");
      if (element.computedName.trim() === "") found.push(`no name: ${show(element)}`);
      else if (hinted && spoken.trim() === "" && own.trim() === "") found.push(`only a hint for a name: ${show(element)}`);
    }
    for (const image of all("img, input[type=image], area")) if (!image.hasAttribute("alt")) found.push(`no text for ${show(image)}`);
    const modal = document.querySelector("dialog:modal");
    let level = modal === null ? 0 : 1;
    let firsts = 0;
    for (const heading of all("h1, h2, h3, h4, h5, h6, [role=heading]")) {
      const own = Number(heading.getAttribute("aria-level") ?? heading.tagName.slice(1));
      if (own > level + 1) found.push(`"${heading.textContent ?? ""}" is of level ${String(own)} after ${String(level)}`);
      if (own === 1) firsts += 1;
      level = own;
    }
    if (modal === null && firsts !== 1) found.push(`${String(firsts)} headings of the first level`);
    return found;
  }, await reader(page));
}

/** Ids that are there twice, and what names ids that are not there. */
export async function unrelated(page: Page): Promise<string[]> {
  return page.evaluate(({ show }) => {
    const found: string[] = [];
    const ids = [...document.querySelectorAll("[id]")].map(({ id }) => id);
    found.push(...new Set(ids.filter((id, at) => ids.indexOf(id) !== at).map((id) => `the id "${id}" twice`)));
    const relations = "activedescendant controls describedby details errormessage flowto labelledby owns".split(" ").map((name) => `aria-${name}`);
    for (const attribute of [...relations, "for", "form", "headers", "list", "popovertarget"]) {
      for (const element of document.querySelectorAll(`[${attribute}]`)) {
        const named = (element.getAttribute(attribute) ?? "").split(/\s+/).filter((id) => id !== "");
        if (named.length === 0) found.push(`${attribute} names nothing: ${show(element)}`);
        found.push(...named.filter((id) => !ids.includes(id)).map((id) => `there is no "${id}": ${show(element)}`));
      }
    }
    for (const link of document.querySelectorAll<HTMLAnchorElement>("a[href^='#']")) {
      if (link.hash !== "" && !ids.includes(link.hash.slice(1))) found.push(`there is no "${link.hash}": ${show(link)}`);
    }
    for (const label of document.querySelectorAll<HTMLLabelElement>("label")) if (label.control === null) found.push(`a label of nothing: ${show(label)}`);
    return found;
  }, await reader(page));
}

/** Roles and aria attributes that do not exist, do not belong together, or lack what they need. */
export async function misroled(page: Page): Promise<string[]> {
  return page.evaluate(({ told, focusable, show }) => {
    const found: string[] = [];
    const list = (text: string): readonly string[] => text.split(" ");
    const roles = new Set(
      list(
        "alert alertdialog application article banner blockquote button caption cell checkbox code columnheader combobox complementary contentinfo definition deletion dialog directory document emphasis feed figure form generic grid gridcell group heading img insertion link list listbox listitem log main marquee math menu menubar menuitem menuitemcheckbox menuitemradio meter navigation none note option paragraph presentation progressbar radio radiogroup region row rowgroup rowheader scrollbar search searchbox separator slider spinbutton status strong subscript superscript switch tab table tablist tabpanel term textbox time timer toolbar tooltip tree treegrid treeitem",
      ),
    );
    const text = /\S/;
    const ids = /\S/;
    const flag = /^(true|false)$/;
    const maybe = /^(true|false|undefined)$/;
    const three = /^(true|false|mixed)$/;
    const number = /^-?\d+(\.\d+)?$/;
    const integer = /^-?\d+$/;
    const values: Readonly<Record<string, RegExp>> = {
      activedescendant: ids, atomic: flag, autocomplete: /^(inline|list|both|none)$/, braillelabel: text, brailleroledescription: text, busy: flag, checked: three,
      colcount: integer, colindex: integer, colindextext: text, colspan: integer, controls: ids, current: /^(page|step|location|date|time|true|false)$/,
      describedby: ids, description: text, details: ids, disabled: flag, errormessage: ids, expanded: maybe, flowto: ids,
      haspopup: /^(true|false|menu|listbox|tree|grid|dialog)$/, hidden: maybe, invalid: /^(true|false|grammar|spelling)$/, keyshortcuts: text, label: text,
      labelledby: ids, level: /^[1-9]\d*$/, live: /^(off|polite|assertive)$/, modal: flag, multiline: flag, multiselectable: flag,
      orientation: /^(horizontal|vertical|undefined)$/, owns: ids, placeholder: text, posinset: integer, pressed: three, readonly: flag,
      relevant: /^(additions|removals|text|all)( (additions|removals|text|all))*$/, required: flag, roledescription: text, rowcount: integer, rowindex: integer,
      rowindextext: text, rowspan: integer, selected: maybe, setsize: integer, sort: /^(ascending|descending|none|other)$/, valuemax: number, valuemin: number,
      valuenow: number, valuetext: text,
    };
    /** Roles that an attribute is for, of those that are for some only. */
    const fields = "checkbox combobox gridcell listbox radiogroup searchbox slider spinbutton switch textbox tree";
    const ranges = "meter progressbar scrollbar separator slider spinbutton";
    const only: Readonly<Record<string, readonly string[]>> = {
      autocomplete: list("combobox searchbox textbox"),
      checked: list("checkbox menuitemcheckbox menuitemradio option radio switch treeitem"),
      expanded: list("application button checkbox columnheader combobox gridcell link listbox menuitem menuitemcheckbox menuitemradio row rowheader switch tab treeitem"),
      invalid: list(`${fields} application columnheader rowheader treegrid`),
      level: list("heading listitem row treeitem"),
      modal: list("alertdialog dialog"),
      pressed: list("button"),
      required: list(`${fields} columnheader rowheader treegrid`),
      selected: list("columnheader gridcell option row rowheader tab treeitem"),
      valuemax: list(ranges),
      valuemin: list(ranges),
      valuenow: list(ranges),
      valuetext: list(ranges),
    };
    const nameless = new Set(list("caption code deletion emphasis generic insertion none paragraph presentation strong subscript superscript"));
    const needed: Readonly<Record<string, string>> = {
      checkbox: "checked", combobox: "expanded", heading: "level", menuitemcheckbox: "checked", menuitemradio: "checked", meter: "valuenow", radio: "checked",
      scrollbar: "valuenow", slider: "valuenow", switch: "checked",
    };
    const parents: Readonly<Record<string, readonly string[]>> = {
      cell: ["row"], columnheader: ["row"], gridcell: ["row"], listitem: list("list directory"), menuitem: list("menu menubar group"),
      menuitemcheckbox: list("menu menubar group"), menuitemradio: list("menu menubar group"), option: list("listbox group"), row: list("table grid treegrid rowgroup"),
      rowgroup: list("table grid treegrid"), rowheader: ["row"], tab: ["tablist"], treeitem: list("tree group"),
    };
    const children: Readonly<Record<string, readonly string[]>> = {
      feed: ["article"], list: ["listitem"], listbox: list("option group"), menu: list("menuitem menuitemcheckbox menuitemradio group separator"),
      menubar: list("menuitem menuitemcheckbox menuitemradio group separator"), radiogroup: ["radio"], tablist: ["tab"], tree: list("treeitem group"),
    };
    const transparent = (element: Element): boolean => ["generic", "none", "presentation"].includes(element.computedRole);
    /** The roles that are next below, through what has none. */
    const below = (element: Element): Element[] => [...element.children].filter(told).flatMap((child) => (transparent(child) ? below(child) : [child]));
    for (const element of document.querySelectorAll<HTMLElement>("body, body *")) {
      const say = (what: string): void => {
        found.push(`${what}: ${show(element)}`);
      };
      const written = element.getAttribute("role");
      const own = written?.trim().split(/\s+/) ?? [];
      for (const role of own) if (!roles.has(role)) say(`there is no role "${role}"`);
      const [given] = own;
      const role = told(element) ? element.computedRole : (given ?? "");
      for (const { name, value } of element.attributes) {
        if (!name.startsWith("aria-")) continue;
        const attribute = name.slice(5);
        const form = values[attribute];
        if (form === undefined) say(`there is no ${name}`);
        else if (!form.test(value)) say(`${name} is not "${value}"`);
        else if (told(element)) {
          if (only[attribute]?.includes(role) === false) say(`${name} is not for ${role}`);
          if (["label", "labelledby"].includes(attribute) && nameless.has(role)) say(`what is ${role} has no name`);
        }
      }
      if (!told(element)) continue;
      if (element.matches("[tabindex]") && element.tabIndex > 0) say("has an order of its own");
      if (["none", "presentation"].includes(given ?? "") && focusable(element)) say("can have the focus, and no role");
      const now = element.getAttribute("aria-valuenow");
      if (now !== null) {
        const least = Number(element.getAttribute("aria-valuemin") ?? 0);
        const most = Number(element.getAttribute("aria-valuemax") ?? 100);
        if (!(least <= Number(now) && Number(now) <= most)) say(`${now} is not between ${String(least)} and ${String(most)}`);
      }
      if (given === undefined) continue;
      const isNative = element.matches("input[type=checkbox], input[type=radio], input[type=range], input[list], select, h1, h2, h3, h4, h5, h6");
      const need = needed[given];
      if (need !== undefined && !isNative && !element.hasAttribute(`aria-${need}`)) say(`a ${given} without aria-${need}`);
      if (given === "separator" && focusable(element) && now === null) say("a separator that moves, without aria-valuenow");
      const within = parents[given];
      let outer = element.parentElement;
      while (outer !== null && transparent(outer)) outer = outer.parentElement;
      if (within !== undefined && !within.includes(outer?.computedRole ?? "")) say(`a ${given} in ${outer?.computedRole ?? "nothing"}`);
      const inner = children[given];
      if (inner !== undefined) {
        const all = below(element);
        if (all.length === 0 && element.getAttribute("aria-busy") !== "true" && !element.hasAttribute("aria-owns")) say(`a ${given} of nothing`);
        for (const child of all) if (!inner.includes(child.computedRole)) say(`a ${child.computedRole} in a ${given}`);
      }
      if (given === "tab") {
        const panel = document.getElementById(element.getAttribute("aria-controls") ?? "");
        if (!element.hasAttribute("aria-selected")) say("a tab without aria-selected");
        if (element.getAttribute("aria-selected") === "true" && panel?.getAttribute("role") !== "tabpanel") say("a tab without its panel");
      }
    }
    return found;
  }, await reader(page));
}

/** What is in something that it must not be in: controls, items of lists, what is hidden. Tables without headers. */
export async function misplaced(page: Page): Promise<string[]> {
  return page.evaluate(({ all, told, focusable, show }) => {
    const found: string[] = [];
    /** Of what is in them nothing is told. */
    const whole = new Set("button checkbox image img link menuitemcheckbox menuitemradio meter option progressbar radio scrollbar separator slider switch tab".split(" "));
    const control = "a[href], button, input:not([type=hidden]), select, textarea, summary, iframe, audio[controls], video[controls], [contenteditable=true], [tabindex]";
    for (const element of all(control)) {
      for (let outer = element.parentElement; outer !== null; outer = outer.parentElement) {
        if (whole.has(outer.computedRole) || outer.matches("summary")) found.push(`in ${show(outer)}: ${show(element)}`);
      }
    }
    const holds = (parent: Element, inner: string): void => {
      for (const child of parent.children) if (!child.matches(`${inner}, script, template`)) found.push(`in ${parent.tagName}: ${show(child)}`);
      for (const { nodeType, textContent } of parent.childNodes) if (nodeType === Node.TEXT_NODE && textContent?.trim() !== "") found.push(`in ${parent.tagName}: "${textContent ?? ""}"`);
    };
    for (const parent of document.querySelectorAll("ul, ol, menu")) {
      const role = parent.getAttribute("role");
      if (role === null || role === "list") holds(parent, "li:not([role]), li[role=listitem]");
    }
    for (const parent of document.querySelectorAll("dl")) {
      holds(parent, "dt, dd, div");
      for (const group of [parent, ...parent.querySelectorAll(":scope > div")]) {
        if (group !== parent) holds(group, "dt, dd");
        const order = [...group.children].flatMap(({ tagName }) => (tagName === "DT" || tagName === "DD" ? [tagName[1]] : [])).join("");
        if (!/^(T+D+)*$/.test(order)) found.push(`terms without descriptions: ${show(group)}`);
      }
    }
    for (const item of document.querySelectorAll("li:not([role])")) {
      if (item.parentElement?.matches("ul, ol, menu, [role=list]") !== true) found.push(`an item of no list: ${show(item)}`);
    }
    for (const item of document.querySelectorAll("dt, dd")) if (item.closest("dl") === null) found.push(`a term of no list: ${show(item)}`);
    for (const hidden of document.querySelectorAll("[aria-hidden=true]")) {
      for (const element of [hidden, ...hidden.querySelectorAll("*")]) if (focusable(element)) found.push(`can have the focus, and is hidden: ${show(element)}`);
    }
    for (const table of document.querySelectorAll<HTMLTableElement>("table")) {
      if (!told(table) || ["none", "presentation"].includes(table.getAttribute("role") ?? "")) continue;
      if (table.querySelector("td") !== null && table.querySelector("th, [role=columnheader], [role=rowheader]") === null) found.push(`no headers: ${show(table)}`);
      for (const header of table.querySelectorAll("th")) if (header.textContent?.trim() === "") found.push(`an empty header: ${show(table)}`);
    }
    return found;
  }, await reader(page));
}

/** Landmarks that cannot be told apart or stand within others, and what is in none of them. */
export async function outOfLandmarks(page: Page): Promise<string[]> {
  return page.evaluate(({ all, told, show }) => {
    const found: string[] = [];
    const named = (element: Element): string => element.computedName.trim();
    const roles = new Set("banner complementary contentinfo form main navigation region search".split(" "));
    const landmarks = all("*").filter((element) => roles.has(element.computedRole) && (!["form", "region"].includes(element.computedRole) || named(element) !== ""));
    const modal = document.querySelector("dialog:modal");
    const mains = landmarks.filter(({ computedRole }) => computedRole === "main").length;
    if (modal === null && mains !== 1) found.push(`${String(mains)} main parts`);
    for (const [at, landmark] of landmarks.entries()) {
      const role = landmark.computedRole;
      const same = landmarks.slice(0, at).filter(({ computedRole }) => computedRole === role);
      if (["banner", "contentinfo"].includes(role) && same.length > 0) found.push(`a second ${role}: ${show(landmark)}`);
      if (same.some((other) => named(other) === named(landmark))) found.push(`two ${role} of the same name: ${show(landmark)}`);
      const top = ["banner", "complementary", "contentinfo", "main"].includes(role);
      if (top && landmarks.some((other) => other !== landmark && other.contains(landmark))) found.push(`a ${role} within another landmark: ${show(landmark)}`);
    }
    if (modal !== null) return found;
    // What is said by itself needs no place to be found at.
    const places = new Set<Element>([...landmarks, ...all("dialog, [role=dialog], [role=alertdialog], [role=alert], [role=status], [role=log]")]);
    const isPlaced = (element: Element | null): boolean => {
      for (let outer = element; outer !== null; outer = outer.parentElement) if (places.has(outer)) return true;
      return false;
    };
    const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT | NodeFilter.SHOW_ELEMENT);
    for (let node = walker.nextNode(); node !== null; node = walker.nextNode()) {
      const element = node instanceof Element ? node : node.parentElement;
      const content = node instanceof Element ? node.matches("img:not([alt='']), input, select, textarea, video, iframe, [role=img]") : node.textContent?.trim() !== "";
      if (content && element !== null && !element.matches("script, style, template, option") && told(element) && !isPlaced(element)) found.push(`in no landmark: ${show(element)}`);
    }
    return found;
  }, await reader(page));
}

/** Names that are not what is written, fields that do not say what they are for, links that only their colour tells from text. */
export async function misnamed(page: Page): Promise<string[]> {
  return page.evaluate(({ all, seen, plain, show }) => {
    const found: string[] = [];
    const has = (name: string, text: string): boolean => text === "" || ` ${name} `.includes(` ${text} `);
    const roles = new Set("button checkbox link menuitem menuitemcheckbox menuitemradio radio switch tab".split(" "));
    for (const element of all("*")) {
      const labels = element instanceof HTMLInputElement || element instanceof HTMLSelectElement || element instanceof HTMLTextAreaElement ? [...(element.labels ?? [])] : [];
      if (labels.length === 0 && !roles.has(element.computedRole)) continue;
      const text = plain(labels.length === 0 ? seen(element) : labels.map(seen).join(" "));
      if (!has(plain(element.computedName), text)) found.push(`"${text}" is written, "${element.computedName}" is said: ${show(element)}`);
    }
    const purposes = "on off name honorific-prefix given-name additional-name family-name honorific-suffix nickname username new-password current-password one-time-code organization-title organization street-address address-line1 address-line2 address-line3 address-level1 address-level2 address-level3 address-level4 country country-name postal-code cc-name cc-number cc-exp cc-csc transaction-currency transaction-amount language bday bday-day bday-month bday-year sex url photo tel tel-national email impp webauthn".split(" ");
    for (const field of all("input, select, textarea")) {
      const written = field.getAttribute("autocomplete")?.trim().split(/\s+/) ?? [];
      for (const token of written) if (!purposes.includes(token) && !/^(section-.+|shipping|billing|home|work|mobile)$/.test(token)) found.push(`there is no autocomplete "${token}": ${show(field)}`);
      const purpose = written.find((token) => purposes.includes(token)) ?? "";
      if (field.matches("[type=password]") && !/password$|code$/.test(purpose)) found.push(`a secret without autocomplete: ${show(field)}`);
      if (/^your name\b/i.test(field.computedName) && !/name$/.test(purpose)) found.push(`a person's name without autocomplete: ${show(field)}`);
    }
    for (const link of all("a[href]")) {
      const { display, textDecorationLine, borderBottomStyle, fontWeight } = getComputedStyle(link);
      if (!display.startsWith("inline") || plain(seen(link)) === "") continue;
      const blockOf = (node: Node): Element | null => {
        let block = node.parentElement;
        while (block !== null && getComputedStyle(block).display === "inline") block = block.parentElement;
        return block;
      };
      const block = blockOf(link);
      if (block === null) continue;
      const others: string[] = [];
      const walker = document.createTreeWalker(block, NodeFilter.SHOW_TEXT);
      for (let node = walker.nextNode(); node !== null; node = walker.nextNode()) {
        if (blockOf(node) === block && node.parentElement?.closest("a, button, script, style") === null) others.push(plain(node.textContent ?? ""));
      }
      const differs = textDecorationLine.includes("underline") || borderBottomStyle !== "none" || getComputedStyle(block).fontWeight !== fontWeight;
      if (others.join("") !== "" && !differs) found.push(`a link in a text that looks like it: ${show(link)}`);
    }
    return found;
  }, await reader(page));
}
