/** The checks of pages find what they are for, and nothing in what is well. */

import assert from "node:assert/strict";
import { before, test } from "node:test";
import type { Page } from "playwright-core";
import { launch } from "./support/browser.js";
import { covered, cutOff, DESK, putOn, rowsOf, smallTargets, stuck } from "./support/layout.js";
import { lostFocus, paleEdges, paleTexts } from "./support/looks.js";
import { misnamed, misplaced, misroled, ofDocument, outOfLandmarks, TELLS_ROLES, unnamed, unrelated } from "./support/semantics.js";

let page: Page;

before(async () => {
  const { browser } = await launch([TELLS_ROLES]);
  page = await browser.newPage();
});

type Check = (page: Page) => Promise<string[]>;

/** Each snippet has one fault, of which the words are a part of what is said. */
async function finds(check: Check, faults: Readonly<Record<string, string>>, well: string): Promise<void> {
  for (const [snippet, words] of Object.entries(faults)) {
    await page.setContent(snippet);
    const found = await check(page);
    assert.ok(found.length > 0 && found.every((one) => one.includes(words)), `${snippet}: ${JSON.stringify(found)}`);
  }
  await page.setContent(well);
  assert.deepEqual(await check(page), [], well);
}

const head = (lang: string, title: string, more = ""): string => `<!doctype html><html${lang}><head><title>${title}</title>${more}</head><body>x</body></html>`;

test("of documents", async () => {
  await finds(
    ofDocument,
    {
      [head("", "A")]: "no language",
      [head(" lang=xq", "A")]: "xq is no language",
      [head(" lang=en", " ")]: "no title",
      [head(" lang=en", "A", "<meta name=viewport content='width=device-width, user-scalable=no'>")]: "cannot be enlarged",
      [head(" lang=en", "A", "<meta name=viewport content='width=device-width, maximum-scale=1'>")]: "cannot be enlarged",
      [head(" lang=en", "A", "<meta http-equiv=Refresh content='600'>")]: "loads itself anew",
    },
    head(" lang=zh-Hans", "A", "<meta name=viewport content='width=device-width, initial-scale=1'>"),
  );
});

test("of names and headings", async () => {
  await finds(
    unnamed,
    {
      "<h1>A</h1><button></button>": "no name",
      "<h1>A</h1><button title=B></button>": "only a hint",
      "<h1>A</h1><input placeholder=B>": "only a hint",
      "<h1>A</h1><select><option>B</select>": "no name",
      "<h1>A</h1><div role=switch aria-checked=true tabindex=0></div>": "no name",
      "<h1>A</h1><svg role=img></svg>": "no name",
      "<h1>A</h1><div role=meter aria-valuenow=1></div>": "no name",
      "<h1>A</h1><dialog open>B</dialog>": "no name",
      "<h1>A</h1><iframe></iframe>": "no name",
      "<h1>A</h1><a href=/><img src=data:, alt=''></a>": "no name",
      "<h1>A</h1><h3>B</h3>": "level 3",
      "<h2>A</h2>": "level",
      "<p>A</p>": "0 headings",
      "<h1>A</h1><h1>B</h1>": "2 headings",
    },
    "<h1>A</h1><h2>B</h2><label>C <input></label><input aria-label=D title=D><button><img src=data:, alt=E></button><a href=/>F</a><button aria-label=G></button>",
  );
  await page.setContent("<h1>A</h1><img src=data:,>");
  assert.ok((await unnamed(page)).some((one) => one.includes("no text for")));
});

test("of ids", async () => {
  await finds(
    unrelated,
    {
      "<p id=a>A</p><p id=a>B</p>": "twice",
      "<input aria-labelledby=a>": 'no "a"',
      "<input aria-label=A aria-describedby='b c'><p id=b>B</p>": 'no "c"',
      "<button aria-controls=a>A</button>": 'no "a"',
      "<p id=b aria-labelledby=''>A</p>": "names nothing",
      "<a href=#a>A</a>": 'no "#a"',
      "<label>A</label>": "a label of nothing",
    },
    "<p id=a>A</p><input aria-labelledby=a aria-describedby=b><p id=b>B</p><label for=c>C</label><input id=c><a href=#b>B</a><label>D <input></label>",
  );
  await page.setContent("<label for=a>A</label><input id=b>");
  assert.equal((await unrelated(page)).length, 2, "both its id and what it would be for are missed");
});

test("of roles and their attributes", async () => {
  await finds(
    misroled,
    {
      "<p role=knob>A</p>": "there is no role",
      "<button aria-label=A aria-title=B></button>": "there is no aria-title",
      "<button aria-pressed=yes>A</button>": 'is not "yes"',
      "<button aria-checked=true>A</button>": "is not for button",
      "<a href=/ aria-pressed=true>A</a>": "is not for link",
      "<div aria-label=A>B</div>": "has no name",
      "<pre aria-label=A tabindex=0>B</pre>": "has no name",
      "<button tabindex=2>A</button>": "an order of its own",
      "<button role=presentation>A</button>": "and no role",
      "<div role=checkbox tabindex=0>A</div>": "without aria-checked",
      "<button role=switch>A</button>": "without aria-checked",
      "<div role=slider tabindex=0 aria-label=A></div>": "without aria-valuenow",
      "<div role=meter aria-label=A></div>": "without aria-valuenow",
      "<div role=meter aria-label=A aria-valuemax=2 aria-valuenow=3></div>": "not between",
      "<div role=progressbar aria-label=A aria-valuenow=101></div>": "not between",
      "<div role=heading>A</div>": "without aria-level",
      "<div role=listitem>A</div>": "a listitem in",
      "<div role=list><p>A</p></div>": "a paragraph in a list",
      "<div role=list></div>": "a list of nothing",
      "<div><button role=tab aria-selected=false>A</button></div>": "a tab in",
      "<div role=tablist><button role=tab>A</button></div>": "without aria-selected",
      "<div role=tablist><button role=tab aria-selected=true>A</button></div>": "without its panel",
    },
    "<div role=list><div><p role=listitem>A</p></div></div><button aria-pressed=mixed aria-expanded=false>B</button><input aria-label=C aria-invalid=false>" +
      "<div role=meter aria-label=D aria-valuenow=3></div><input type=checkbox role=switch aria-label=E><div role=progressbar aria-label=F></div>" +
      "<div role=tablist><button role=tab aria-selected=true aria-controls=p>G</button></div><div id=p role=tabpanel>H</div><section aria-label=I>J</section><div role=group aria-label=K>L</div>",
  );
});

test("of what stands in what", async () => {
  await finds(
    misplaced,
    {
      "<button>A <a href=/>B</a></button>": "in <button",
      "<a href=/>A <span tabindex=0>B</span></a>": "in <a",
      "<div role=button tabindex=0>A <input aria-label=B></div>": "in <div",
      "<ul><p>A</p></ul>": "in UL",
      "<ol>A<li>B</ol>": "in OL",
      "<ul><li role=button>A</ul>": "in UL",
      "<div><li>A</div>": "an item of no list",
      "<dl><dt>A</dt></dl>": "terms without",
      "<dl><p>A</p></dl>": "in DL",
      "<dl><div><dd>A</dd></div></dl>": "terms without",
      "<dd>A</dd>": "a term of no list",
      "<div aria-hidden=true><button>A</button></div>": "is hidden",
      "<table><tr><td>A</table>": "no headers",
      "<table><tr><th><td>A</table>": "an empty header",
    },
    "<ul><li><button>A</button></ul><dl><dt>A</dt><dd>B</dd></dl><dl><div><dt>A</dt><dd>B</dd></div></dl><label>C <input></label>" +
      "<div aria-hidden=true><button tabindex=-1>D</button></div><table><tr><th>E<tr><td>F</table><table role=presentation><tr><td>G</table>",
  );
});

test("of landmarks", async () => {
  await finds(
    outOfLandmarks,
    {
      "<p></p>": "0 main parts",
      "<main>A</main><p>B</p>": "in no landmark",
      "<main>A</main><div><input aria-label=B></div>": "in no landmark",
      "<nav>A</nav><nav>B</nav><main>C</main>": "two navigation",
      "<header>A</header><header>B</header><main>C</main>": "banner",
      "<main>A <aside aria-label=B>C</aside></main>": "within another landmark",
      "<main>A</main><section>B</section>": "in no landmark",
    },
    "<header>A</header><nav aria-label=B>C</nav><nav aria-label=D>E</nav><main>F <section aria-label=G>H</section></main><aside>I</aside><p role=status>J</p>",
  );
});

test("of names that are written, secrets and links", async () => {
  await finds(
    misnamed,
    {
      "<button aria-label='Camera'>Off</button>": '"off" is written',
      "<label for=a>Width</label><input id=a aria-label=Height>": '"width" is written',
      "<input type=password aria-label=A>": "a secret without",
      "<input type=password autocomplete=off aria-label=A>": "a secret without",
      "<input autocomplete=nothing aria-label=A>": "there is no autocomplete",
      "<label>Your name <input></label>": "a person's name without",
      "<p>See <a href=/ style='text-decoration: none'>this</a>.</p>": "looks like it",
    },
    "<button aria-label='Save the file'>Save</button><button aria-label=A><span aria-hidden=true>×</span></button><label>B <input type=password autocomplete=current-password></label>" +
      "<label>Your name <input autocomplete=name></label><p>See <a href=/>this</a>.</p><p><a href=/ style='text-decoration: none'>alone</a></p><label>C <select><option>D</select></label>",
  );
});

test("of what is pale", async () => {
  await finds(paleTexts, { "<p style='color: #999; background: #fff'>A</p>": '"A"', "<p style='opacity: 0.4'>A</p>": '"A"' }, "<p style='color: #666; background: #fff'>A</p><button disabled>B</button>");
  await finds(
    paleEdges,
    {
      "<input style='border: 1px solid #ccc; background: #fff'>": "<input",
      "<body style='background: #000'><select style='border: 1px solid #333; background: #111'></select>": "<select",
    },
    "<input style='border: 1px solid #777; background: #fff'><input style='border: 0; background: #777'><select style='border: 0; background: none'></select>",
  );
});

test("of the focus", async () => {
  await finds(
    lostFocus,
    {
      "<style>:focus { outline: none }</style><a href=/>A</a><a href=/>B</a>": "cannot be seen",
      "<style>:focus { outline: 2px solid #ddd }</style><a href=/>A</a><a href=/>B</a>": "hardly",
      "<style>:focus { outline: 2px solid light-dark(#000, #222) }</style><a href=/>A</a><a href=/>B</a>": "dark",
      "<p>A</p>": "nothing can have",
    },
    "<style>:focus { outline: 2px solid light-dark(#00f, #8af); outline-offset: 2px }</style><p><a href=/>A</a></p><p><a href=/>B</a></p>",
  );
});

test("of what is hit and seen", async () => {
  await putOn(page, DESK);
  const box = "position: absolute; padding: 0; width: 20px; height: 20px; top: 0;";
  await finds(
    smallTargets,
    { [`<button style='${box} left: 0'>A</button><button style='${box} left: 21px'>B</button>`]: "20 × 20" },
    `<button style='${box} left: 0'>A</button><button style='${box} left: 25px'>B</button><p style='margin-top: 3rem'>See <a href=/>C</a> or <a href=/>D</a>.</p>`,
  );
  await finds((page) => smallTargets(page, "div", 44), { "<div><button style='width: 60px; height: 40px'>A</button></div>": "60 × 40" }, "<button>A</button><div><button style='width: 44px; height: 44px'>A</button></div>");
  await finds(
    covered,
    {
      "<button>A</button><div style='position: fixed; inset: 0'></div>": "under",
      "<div style='position: relative; overflow: hidden; height: 40px'><button style='position: absolute; top: -40px'>A</button></div>": "out of view",
      "<button style='position: fixed; top: 2000px'>A</button>": "out of view",
    },
    "<div style='overflow: auto; height: 40px'><p style='height: 90px'></p><button>A</button></div><label>B <input type=checkbox></label><p style='height: 3000px'></p><button>C</button>",
  );
  await finds(
    cutOff,
    {
      "<p style='overflow: hidden; width: 50px; white-space: nowrap'>a long text of many words</p>": "its sides",
      "<p style='overflow: hidden; width: 50px; height: 20px'>a long text of many words</p>": "above or below",
      "<div style='overflow: hidden; position: relative; height: 50px'><p style='position: absolute; top: 100px'>A</p></div>": "above or below",
    },
    "<p style='overflow: hidden; width: 50px; white-space: nowrap; text-overflow: ellipsis'>a long text of many words</p><p style='overflow: auto; width: 50px; height: 20px'>a long text of many words</p>" +
      "<div style='overflow: hidden; height: 50px'><p style='position: absolute; top: 300px'>A</p></div>",
  );
  await finds(
    stuck,
    { "<pre style='overflow: auto; width: 50px'>a long text of many words</pre>": "<pre" },
    "<pre tabindex=0 style='overflow: auto; width: 50px'>a long text of many words</pre><div style='overflow: auto; height: 30px'><p>A</p><p>B</p><button>C</button></div><div style='overflow: auto'>D</div>",
  );
  await page.setContent("<div style='width: 100px'><button style='width: 80px'>A</button><button style='width: 80px'>B</button></div>");
  assert.equal(await rowsOf(page, "div"), 2);
});
