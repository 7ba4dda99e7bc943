import { describe, expect, it } from "vitest";
import { type Box, layOut, type Size } from "../src/room/layout";

const SIZES: Readonly<Record<string, Size>> = {
  desktop: { width: 1280, height: 700 },
  phone: { width: 390, height: 720 },
  "phone on its side": { width: 844, height: 326 },
  "with a panel": { width: 900, height: 700 },
};

function inside(box: Box, area: Size): boolean {
  const slack = 0.01;
  return (
    box.x >= -slack && box.y >= -slack && box.x + box.width <= area.width + slack && box.y + box.height <= area.height + slack
  );
}

function overlap(a: Box, b: Box): boolean {
  const slack = 0.01;
  return (
    a.x + a.width > b.x + slack && b.x + b.width > a.x + slack && a.y + a.height > b.y + slack && b.y + b.height > a.y + slack
  );
}

describe("tiles", () => {
  it("stay inside and apart, from 1 to 25 people and with up to 3 things shown to all", () => {
    for (const [name, area] of Object.entries(SIZES)) {
      for (let people = 0; people <= 25; people++) {
        for (let stage = 0; stage <= 3; stage++) {
          const arranged = layOut(area, stage, people);
          const boxes = [...arranged.stage, ...arranged.people];
          const where = `${name}, ${people} people, ${stage} shown to all`;
          expect(arranged.stage.length, where).toBe(stage);
          expect(boxes.every((box) => inside(box, area)), where).toBe(true);
          const clash = boxes.some((a, i) => boxes.some((b, j) => i < j && overlap(a, b)));
          expect(clash, where).toBe(false);
        }
      }
    }
  });

  it("show everybody where nothing else is shown, at a size that is of use", () => {
    for (const [name, area] of Object.entries(SIZES)) {
      for (let people = 1; people <= 25; people++) {
        const arranged = layOut(area, 0, people);
        expect(arranged.people.length, `${name}, ${people} people`).toBe(people);
        for (const { width, height } of arranged.people) {
          expect(Math.min(width / 84, height / 56), `${name}, ${people} people`).toBeGreaterThanOrEqual(1);
        }
      }
    }
  });

  it("fill the area: one is as large as it can be, two stand side by side, or one above the other on a phone", () => {
    const [one] = layOut({ width: 1600, height: 900 }, 0, 1).people;
    expect(one).toEqual({ x: 0, y: 0, width: 1600, height: 900 });
    const wide = layOut({ width: 1280, height: 700 }, 0, 2).people;
    expect(wide[0]?.y).toBe(wide[1]?.y);
    const high = layOut({ width: 390, height: 720 }, 0, 2).people;
    expect(high[0]?.x).toBe(high[1]?.x);
  });

  it("have the same size, and the last row is centred", () => {
    const area = { width: 1280, height: 700 };
    const { people } = layOut(area, 0, 5);
    expect(new Set(people.map(({ width, height }) => `${width}x${height}`)).size).toBe(1);
    const last = people.filter(({ y }) => y === people.at(-1)?.y);
    const left = last[0]?.x ?? 0;
    const right = area.width - (last.at(-1)?.x ?? 0) - (last.at(-1)?.width ?? 0);
    expect(left).toBeCloseTo(right);
  });

  it("leave to what is shown to all most of the size that it could have", () => {
    const picture = ({ width, height }: Size): number => Math.min(width, (height * 16) / 9);
    for (const [name, area] of Object.entries(SIZES)) {
      for (const [people, least] of [[1, 0.8], [5, 0.8], [25, 0.6]] as const) {
        const [main] = layOut(area, 1, people).stage;
        expect(main === undefined ? 0 : picture(main) / picture(area), `${name}, ${people} people`).toBeGreaterThan(least);
      }
    }
  });

  it("take what a picture above them leaves free on a phone", () => {
    const { stage, people } = layOut({ width: 390, height: 720 }, 1, 2);
    expect(stage[0]?.height).toBeLessThan(300);
    expect(people[0]?.width).toBeGreaterThan(180);
  });

  it("are fewer than the people when they would be too small beside it", () => {
    const { people } = layOut({ width: 844, height: 326 }, 1, 25);
    expect(people.length).toBeLessThan(25);
    expect(people.length).toBeGreaterThanOrEqual(4);
  });

  it("are none in no area", () => {
    expect(layOut({ width: 0, height: 500 }, 1, 3)).toEqual({ stage: [], people: [] });
  });
});
