/**
 * Where tiles stand: people alone in a grid, or beside what is shown to all (a desktop, a screen, whoever is pinned), which takes
 * most of the room. Pure: sizes in CSS pixels in, rectangles out.
 */

export type Size = { readonly width: number; readonly height: number };
export type Box = Size & { readonly x: number; readonly y: number };

export type Arranged = {
  /** Of what is shown to all, in their order. */
  readonly stage: readonly Box[];
  /** Of people, in their order; fewer than there are where not all of them can be seen at a size that is of use. */
  readonly people: readonly Box[];
};

const GAP = 8;
/** The shape of most cameras. */
const ASPECT = 16 / 9;
/** A tile is never flatter than a camera's picture, and never narrower than this: pictures of people fill it. */
const NARROWEST = 3 / 4;
/** Faces in less than this are hard to tell apart. */
const LEAST: Size = { width: 84, height: 56 };
/** Tiles beside a stage want to be so large. */
const WANTED: Size = { width: 168, height: 95 };
/** How much of a side the people get beside a stage. */
const SHARES = [0.16, 0.2, 0.25, 0.3, 0.36];
/** Never more: what is shown to all may be high and narrow. */
const MOST_SHARE = 0.6;

type Grid = { readonly columns: number; readonly rows: number; readonly tile: Size };

/** Where everything stands in an area. */
export function layOut(area: Size, stage: number, people: number): Arranged {
  const whole: Box = { x: 0, y: 0, ...area };
  if (area.width <= 0 || area.height <= 0) return { stage: [], people: [] };
  if (stage === 0) return { stage: [], people: fill(whole, people) };
  if (people === 0) return { stage: split(whole, stage), people: [] };
  const beside = area.width > area.height;
  const needed = SHARES.find((candidate) => isEnough(strip(whole, beside, candidate), people)) ?? SHARES.at(-1) ?? 0;
  // What the stage would not use anyway is theirs, too.
  const free = spare(area, beside);
  const most = strip(whole, beside, Math.max(needed, free));
  // No wider than the tiles in it.
  const row = strip(whole, beside, Math.max(free, extent(fill(most, people), beside) / (beside ? area.width : area.height)));
  const rest: Box = beside
    ? { ...whole, width: area.width - row.width - GAP }
    : { ...whole, height: area.height - row.height - GAP };
  return { stage: split(rest, stage), people: fill(row, people) };
}

/** How much of a side a picture of the usual shape leaves free. */
function spare({ width, height }: Size, beside: boolean): number {
  const free = beside ? 1 - (height * ASPECT) / width : 1 - width / ASPECT / height;
  return Math.min(free, MOST_SHARE);
}

/** The part of an area at its right, or at its bottom, that is for the people. */
function strip(area: Box, beside: boolean, share: number): Box {
  const width = Math.ceil(area.width * share);
  const height = Math.ceil(area.height * share);
  return beside
    ? { ...area, x: area.x + area.width - width, width }
    : { ...area, y: area.y + area.height - height, height };
}

/** How much of a side boxes take. */
function extent(boxes: readonly Box[], beside: boolean): number {
  const from = Math.min(...boxes.map(({ x, y }) => (beside ? x : y)));
  const to = Math.max(...boxes.map(({ x, y, width, height }) => (beside ? x + width : y + height)));
  return to - from;
}

function isEnough(area: Box, count: number): boolean {
  const grid = bestGrid(area, count);
  return grid.tile.width >= Math.min(WANTED.width, area.width) * 0.6 && grid.tile.height >= WANTED.height * 0.6;
}

/** What is shown to all is shown whole: side by side, or one above the other, whichever makes it larger. */
function split(area: Box, count: number): readonly Box[] {
  const { columns, rows } = bestGrid(area, count, ASPECT);
  const width = (area.width - GAP * (columns - 1)) / columns;
  const height = (area.height - GAP * (rows - 1)) / rows;
  return place(area, count, { columns, rows, tile: { width, height } });
}

/** Tiles of people, as many as can be seen, in the middle of an area. */
function fill(area: Box, count: number): readonly Box[] {
  for (let shown = count; shown > 1; shown--) {
    const grid = bestGrid(area, shown);
    if (grid.tile.width >= LEAST.width && grid.tile.height >= LEAST.height) return place(area, shown, grid);
  }
  return count === 0 ? [] : place(area, 1, bestGrid(area, 1));
}

/** The grid with the largest tiles. @param narrowest least width of a tile, for its height. */
function bestGrid(area: Size, count: number, narrowest = NARROWEST): Grid {
  let best: Grid = { columns: 1, rows: Math.max(1, count), tile: { width: 0, height: 0 } };
  for (let columns = 1; columns <= count; columns++) {
    const rows = Math.ceil(count / columns);
    const tile = shaped(
      { width: (area.width - GAP * (columns - 1)) / columns, height: (area.height - GAP * (rows - 1)) / rows },
      narrowest,
    );
    if (value(tile) > value(best.tile)) best = { columns, rows, tile };
  }
  return best;
}

/** The largest size within a cell whose shape is one of a tile. */
function shaped(cell: Size, narrowest: number): Size {
  const width = Math.max(0, cell.width);
  const height = Math.max(0, cell.height);
  if (width > height * ASPECT) return { width: height * ASPECT, height };
  return width < height * narrowest ? { width, height: width / narrowest } : { width, height };
}

/** How good a tile's size is: what can be seen of a picture of the usual shape in it. */
function value({ width, height }: Size): number {
  return Math.min(width, height * ASPECT) * Math.min(height, width / ASPECT) + width * height * 0.1;
}

/** Row by row; the last row is centred. */
function place(area: Box, count: number, { columns, rows, tile }: Grid): readonly Box[] {
  const high = rows * tile.height + (rows - 1) * GAP;
  const top = area.y + (area.height - high) / 2;
  return Array.from({ length: count }, (_, index) => {
    const row = Math.floor(index / columns);
    const inRow = Math.min(columns, count - row * columns);
    const wide = inRow * tile.width + (inRow - 1) * GAP;
    return {
      x: area.x + (area.width - wide) / 2 + (index % columns) * (tile.width + GAP),
      y: top + row * (tile.height + GAP),
      ...tile,
    };
  });
}
