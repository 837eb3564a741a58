// The browser half's parts without a page, worked out by hand; tests/test_front.py compares them with Python.

import assert from "node:assert/strict";
import { test } from "node:test";

const pure = new URL("../../deepinside_edu/explorers/front/pure/", import.meta.url);
const { bytes } = await import(new URL("bytes.js", pure));
const { blend, heatLevels, put, signedLevel, tables } = await import(new URL("colours.js", pure));
const { clamp, decimals, fixed, number, percent, probability, share, significant, spaced } = await import(
  new URL("numbers.js", pure)
);
const { bestFirst, rankOf, withRivals } = await import(new URL("ranks.js", pure));
const { reach } = await import(new URL("reach.js", pure));
const { differing, fate, isOpen } = await import(new URL("relu.js", pure));
const { matching } = await import(new URL("search.js", pure));
const { discsBetween, rasterise } = await import(new URL("strokes.js", pure));
const { ticks } = await import(new URL("ticks.js", pure));

test("bytes are copied, wherever in a message they lie", () => {
  const message = new Uint8Array([9, 0, 0, 128, 63, 7]);
  const view = new DataView(message.buffer, 1, 4);
  const floats = bytes(view, Float32Array);
  assert.deepEqual([...floats], [1]);
  message.fill(0);
  assert.deepEqual([...floats], [1]);
});

test("numbers have three figures and a real minus", () => {
  assert.deepEqual(
    [1234, 0.00012345, -2.5, 0, 1e-9].map((v) => number(v)),
    ["1230", "0.000123", "−2.5", "0", "1e−9"],
  );
  assert.equal(number(1234.56, 6), "1234.56");
  assert.equal(fixed(-0.126, 2), "−0.13");
  assert.equal(significant(0.5), "0.500");
});

test("as many decimals as the largest number needs for three figures, never more than six", () => {
  assert.deepEqual([[34.3, 2], [-123.4, 1], [0.05], [1e-9], [0]].map(decimals), [1, 0, 4, 6, 2]);
});

test("what is nearly certain is not said to be certain", () => {
  assert.deepEqual([0.0004, 0.0005, 0.5, 0.9995, 0.9996].map(share), ["< 0.001", "0.001", "0.500", "1.000", "> 0.999"]);
  assert.deepEqual([0.5, 0.9996].map(probability), ["= 0.5", "> 0.999"]);
  assert.equal(percent(0.126), "13 %");
  assert.equal(spaced("red_panda_two"), "red panda two");
});

test("a number is kept between two others", () => {
  assert.deepEqual(
    [-1, 3, 9].map((v) => clamp(v, 5)),
    [0, 3, 5],
  );
  assert.deepEqual(
    [-9, 9].map((v) => clamp(v, 5, -2)),
    [-2, 5],
  );
});

test("colours: the first is 0, the last the peak and more; the middle one of both signs is 0", () => {
  assert.deepEqual([...heatLevels([0, 0.5, 1, 2], 1)], [0, 127, 255, 255]);
  assert.deepEqual(
    [-2, -1, 0, 1, 2].map((v) => signedLevel(v, 1)),
    [0, 0, 127, 254, 254],
  );
  assert.deepEqual([blend(0, 255, 0), blend(0, 255, 1), blend(100, 0, 0.5)], [0, 255, 50]);
  const { heat, signed } = tables(new Uint8Array(3 * (256 + 255)).map((_, i) => i >= 768));
  assert.deepEqual([heat.length, signed.length, heat.includes(1), signed.includes(0)], [768, 765, false, false]);
  const rgba = new Uint8ClampedArray(8);
  put(rgba, 4, [9, 8, 7, 6, 5, 4], 3);
  assert.deepEqual([...rgba], [0, 0, 0, 0, 6, 5, 4, 0]);
});

test("ranks: the largest first, of equals the first", () => {
  assert.deepEqual(bestFirst(new Float64Array([1, 3, 3, -2])), [1, 2, 0, 3]);
  assert.deepEqual(
    [0, 1, 2, 3].map((c) => rankOf([1, 3, 3, -2], c)),
    [3, 1, 1, 4],
  );
  assert.deepEqual(withRivals([5, 1, 9, 7, 8], 0, 3), [0, 2, 4, 3]);
  assert.deepEqual(withRivals([5, 1], 1, 3), [1, 0]);
  assert.deepEqual(withRivals(undefined, 4, 3), [4]);
});

test("full colour is reached at a quantile of what is not 0", () => {
  assert.equal(reach(new Float32Array(5), 0.97), 1);
  assert.equal(reach(new Float32Array([0, 0, -4, 0]), 0.97), 4);
  const values = Float32Array.from({ length: 1001 }, (_, i) => (i % 2 ? i : -i));
  assert.ok(Math.abs(reach(values, 0.9) - 900) < 2);
});

test("a ReLU passes, stops and is open as its rule says", () => {
  assert.deepEqual(
    [-1, 0, 3, 6, 7].map((x) => isOpen(x, 6)),
    [false, false, true, false, false],
  );
  assert.ok(isOpen(7, null));
  assert.equal(fate("gradient", 1, 0, null), "nothing");
  assert.deepEqual(
    ["gradient", "deconvnet", "guided"].map((rule) => fate(rule, -1, 2, null)),
    ["shut", "passes", "shut"],
  );
  assert.deepEqual(
    ["gradient", "deconvnet", "guided"].map((rule) => fate(rule, 1, -2, null)),
    ["passes", "negative", "negative"],
  );
  assert.deepEqual([...differing([1, 1, 0, 2], [1, 1.00001, 0, 1])], [0, 0, 0, 3]);
});

test("a search finds whole names first, then beginnings, then parts, at most twelve, and an index", () => {
  const labels = ["polar bear", "bear", "bearskin", "cat", ...Array(20).fill("teddy bear")];
  assert.deepEqual(matching(labels, " Bear ").slice(0, 4), [1, 2, 0, 4]);
  assert.equal(matching(labels, "bear").length, 12);
  assert.deepEqual(matching(labels, "3"), [3]);
  assert.deepEqual(matching(labels, "  "), []);
});

test("discs leave no gap and end where the pen is", () => {
  assert.deepEqual(discsBetween([5, 5], [5, 5], 9), [[5, 5]]);
  const way = discsBetween([0, 0], [40, -20], 8);
  assert.deepEqual(way.at(-1), [40, -20]);
  way.forEach(([x, y], i) => {
    const [fromX, fromY] = i ? way[i - 1] : [0, 0];
    assert.ok(Math.max(Math.abs(x - fromX), Math.abs(y - fromY)) <= 2);
  });
});

test("a disc is cut off at the picture's edge, and clearing leaves nothing", () => {
  const strokes = new Int8Array(12);
  rasterise(strokes, [4, 3], { discs: [[0, 0]], size: 3, side: 1 });
  assert.deepEqual([...strokes], [1, 1, 0, 0, 1, 1, 0, 0, 0, 0, 0, 0]);
  rasterise(strokes, [4, 3], { discs: [[2, 1]], size: 2, side: -1 });
  assert.deepEqual([...strokes], [1, 1, -1, 0, 1, -1, -1, -1, 0, 0, -1, 0]);
  rasterise(strokes, [4, 3], { clear: true });
  assert.deepEqual([...strokes], Array(12).fill(0));
});

test("ticks are round values, three to six of them, within the ends", () => {
  assert.deepEqual(ticks(0.13, 0.97), [0.2, 0.4, 0.6, 0.8]);
  assert.deepEqual(ticks(-3, 12), [0, 5, 10]);
  for (const [low, high] of [
    [0, 1],
    [17.2, 19],
    [-1e-3, 4e-3],
    [-250, 1e3],
  ]) {
    const found = ticks(low, high);
    assert.ok(found.length >= 3 && found.length <= 6, `${found}`);
    assert.ok(found[0] >= low && found.at(-1) <= high, `${found}`);
  }
});
