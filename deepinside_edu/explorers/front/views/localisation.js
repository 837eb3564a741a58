// The browser's half of the localisation lab: it paints all pictures from values, reads them at the cursor and draws strokes
// at once; the kernel cuts. Told are "scene", "map", "seeds", "models", "strokes" and, last, "cut": then all that is new is drawn.

import { button, classControls, photoControls, slider } from "../kit/controls.js";
import { h } from "../kit/elements.js";
import { explorer } from "../kit/explorer.js";
import { entry, keys, paint, plate } from "../kit/pictures.js";
import { bytes } from "../pure/bytes.js";
import { palettesOf, put } from "../pure/colours.js";
import { clamp, number } from "../pure/numbers.js";

const BLUE = [0, 40, 200], CYAN = [90, 235, 235], RED = [225, 55, 45]; // as in figures.seed_picture
const STRIPES = { 1: [[255, 215, 0], [0, 0, 0]], "-1": [[255, 255, 255], [150, 0, 110]] }; // two colours each: seen on any ground
const SEEDS = { 1: "foreground", "-1": "background", 0: "unused" };

/** Every level from 0 to 255 blended with a colour, as Pillow does it. */
const blended = (tint, share) => Uint8Array.from({ length: 768 }, (_, i) => {
  const level = Math.floor(i / 3);
  return Math.floor(Math.fround(level + Math.fround(Math.fround(share) * (tint[i % 3] - level))));
});
const TINTED = { 1: blended(BLUE, 0.8), "-1": blended(CYAN, 0.8), 0: blended(RED, 0.8) }; // as figures.seed_picture
const PALE = blended([255, 255, 255], 0.85); // as figures.cut_out
const percent = (share) => `${Math.round(100 * share)} %`;
const colour = (rgb) => `rgb(${rgb.join(", ")})`;

function radios(text, pairs, oninput) {
  const name = `radio-${Math.random().toString(36).slice(2)}`;
  const inputs = pairs.map(([value]) => h("input", { type: "radio", name, value, oninput: () => oninput(value) }));
  const put = (to) => inputs.forEach((each) => { each.checked = each.value === String(to); });
  const labels = pairs.map(([, says], i) => h("label", { class: "tick" }, inputs[i], says));
  return { field: h("fieldset", { class: "choice" }, h("legend", {}, text), ...labels), put };
}

/** Where a box is in its frame, from shares of the sides. */
function lay(box, [left, top, right, bottom]) {
  Object.assign(box.style, { left: `${100 * left}%`, top: `${100 * top}%`, width: `${100 * (right - left)}%`, height: `${100 * (bottom - top)}%` });
  return box;
}

function build({ model, kernel, on, follow, status }) {
  const tables = palettesOf(model);

  // --- photo, class and the steps' settings -------------------------------------------------------------------------
  const classes = classControls({ model, kernel, on });
  const setting = (name, text, range) => {
    const each = slider(text, { ...range, value: model.get(name) }, (value) => kernel.set({ [name]: value }));
    follow([name], () => {
      const now = model.get(name);
      if (each.input.valueAsNumber !== now) each.put(now);
      if (each.input.valueAsNumber !== now) each.label.querySelector("output").textContent = number(now); // between two steps
    });
    return each.label;
  };
  const quantile = { step: 0.005, says: (value) => value.toFixed(3) };
  const sliders = [
    setting("foreground", "foreground quantile", { min: 0.5, max: 0.995, ...quantile }),
    setting("background", "background quantile", { min: 0.05, max: 0.9, ...quantile }),
    setting("blur", "blur, pixels", { min: 0, max: 6, step: 0.25 }),
    setting("components", "components", { min: 1, max: 8, step: 1 }),
    setting("smoothness", "smoothness λ, nats", { min: 0, max: 200, step: 1 }),
  ];
  const crops = radios("crops", [[1, "one"], [10, "ten"]], (value) => kernel.set({ crops: value }));
  const hard = radios("seeds", [[false, "soft"], [true, "hard: they bind the cut"]], (value) => kernel.set({ hard_seeds: value }));
  follow(["crops"], () => crops.put(model.get("crops")));
  follow(["hard_seeds"], () => hard.put(model.get("hard_seeds")));

  // --- the pictures -------------------------------------------------------------------------------------------------
  const plates = { map: plate(), seeds: plate(), costs: plate(), cut: plate(), box: plate() };
  const board = (name) => h("div", { class: "board", tabindex: 0, role: "application",
    "aria-label": `The ${name}: arrow keys move the cursor, with Shift by ten; Space paints with the brush` }, plates[name].frame);
  const seedsBoard = board("seeds"), cutBoard = board("cut");
  const caption = Object.fromEntries(["map", "seeds", "swatches", "costs", "cut", "box"].map((name) => [name, h("figcaption")]));
  const swatches = h("div", { class: "swatches" });
  const figure = (name, frame) => h("figure", { class: name }, caption[name], frame);
  const pictures = h("div", { class: "pictures" }, figure("map", plates.map.frame), figure("seeds", seedsBoard),
    figure("swatches", swatches), figure("costs", plates.costs.frame), figure("cut", cutBoard), figure("box", plates.box.frame));
  const found = h("div", { class: "found" }), summary = h("p", { class: "summary" });
  plates.box.frame.append(found);
  const readout = h("p", { class: "readout", "aria-live": "polite" }, "Point at a picture, or press the arrow keys on the seeds or the cut, to read its numbers.");
  const mixtures = h("table", { class: "numbers" });
  let shown = null, strokes = new Int8Array(0), place = null;

  function drawCut(cut) {
    const { scene, map, seeds, models } = kernel, before = shown || {}, [width, height] = scene.size, entries = width * height;
    shown = { scene, map, seeds, models, cut, width, height };
    if (before.scene !== scene) {
      scene.rgb = bytes(scene.buffers[0], Uint8Array);
      // Pillow's grey
      scene.grey = Uint8Array.from({ length: entries }, (_, i) =>
        (19595 * scene.rgb[3 * i] + 38470 * scene.rgb[3 * i + 1] + 7471 * scene.rgb[3 * i + 2] + 32768) >> 16);
      pictures.style.setProperty("--shape", Math.max(0.5, Math.min(2, scene.shape[0] / scene.shape[1])));
      if (strokes.length !== entries) strokes = new Int8Array(entries);
    }
    if (before.map !== map) {
      map.values = bytes(map.buffers[0], Float32Array);
      paint(plates.map.canvas, scene.size, (i, rgba, at) =>
        put(rgba, at, tables.heat, 3 * Math.min(255, Math.floor(255 * (map.values[i] / map.peak)))));
    }
    if (before.seeds !== seeds) {
      seeds.sides = bytes(seeds.buffers[0], Int8Array);
      seeds.count = { 1: 0, "-1": 0, 0: 0 };
      for (const side of seeds.sides) seeds.count[side]++;
    }
    if (before.models !== models) drawModels(models);
    cut.parts = bytes(cut.buffers[0], Uint8Array);
    const pieces = [0, 0, 0];
    for (const part of cut.parts) pieces[part]++;
    paint(plates.box.canvas, scene.size, (i, rgba, at) => cutOut(i, rgba, at, cut.parts[i] > 1));
    const boxes = scene.boxes.map((each) => lay(h("div", { class: "true" }), each));
    found.replaceChildren(...boxes, lay(h("div"), cut.box));
    drawStrokes();

    const size = `${height} rows by ${width} columns`, share = (n) => percent(n / entries);
    say("map", `1 map M: black 0, yellow ${number(map.peak)} and more`, `Map of ${cut.label}, ${size}, black for 0, yellow for ${number(map.peak)} and more`);
    say("seeds", "2 seeds: blue foreground, cyan background, red unused", `Seeds: ${seeds.count[1]} foreground pixels are blue, ` +
      `${seeds.count[-1]} background pixels cyan, ${seeds.count[0]} unused ones red`);
    caption.swatches.textContent = "3 colours of the two mixtures, as wide as their weights";
    say("costs", "4 costs: blue where foreground is cheaper, red where background is", `Cost as background minus cost as foreground, ` +
      `white for 0, blue above it, in ${share(models.cheaper)} of the pixels, red below, full at ±${number(models.peak)} nats`);
    say("cut", "5 cut: the foreground in colour", `The cut: ${share(pieces[1] + pieces[2])} of the pixels are foreground, in colour, the rest is pale`);
    const judged = cut.iou === null ? "" : `, IoU ${cut.iou.toFixed(2)} ${cut.iou >= 0.5 ? "≥ 0.5: found" : "< 0.5: missed"}`;
    say("box", `6 largest component, its box yellow${boxes.length ? `; true ${boxes.length > 1 ? "boxes" : "box"} blue, dashed${judged}` : ""}`,
      `The largest component, ${share(pieces[2])} of the pixels, in a yellow box, left, top, right, bottom ${cut.pixels.join(", ")}; ` +
      `${boxes.length} true boxes in blue, dashed${judged}`);
    summary.textContent = cut.summary;
    if (place) move(0, 0);
  }
  function say(name, text, label) {
    caption[name].textContent = text;
    plates[name].canvas.setAttribute("aria-label", label);
  }

  function drawModels(models) {
    const [foreground, background] = models.buffers.map((each) => bytes(each, Float32Array));
    Object.assign(models, { foreground, background, cheaper: foreground.reduce((n, cost, i) => n + (cost < background[i]), 0) });
    paint(plates.costs.canvas, kernel.scene.size, (i, rgba, at) => {
      const part = Math.max(-1, Math.min(1, (background[i] - foreground[i]) / models.peak));
      put(rgba, at, tables.signed, 3 * Math.round(127 + 127 * part));
    });
    const sides = ["foreground", "background"], told = ([weight, rgb]) => `${percent(weight)} ${colour(rgb)}`;
    swatches.replaceChildren(...models.mixtures.flatMap((parts, side) => {
      const bar = h("div", { class: "bar", role: "img", "aria-label": `Mean colours of the ${sides[side]} mixture with their weights: ${parts.map(told).join("; ")}` });
      bar.append(...parts.map((part) => {
        const each = h("div", { title: told(part) });
        Object.assign(each.style, { flexGrow: part[0], background: colour(part[1]) });
        return each;
      }));
      return [h("span", {}, sides[side]), bar];
    }));
    mixtures.replaceChildren(h("tr", {}, ...["mixture", "weight", "red", "green", "blue"].map((text) => h("th", { scope: "col" }, text))),
      ...models.mixtures.flatMap((parts, side) => parts.map(([weight, rgb]) => h("tr", {}, h("th", { scope: "row" }, sides[side]),
        ...[percent(weight), ...rgb].map((text) => h("td", {}, String(text)))))));
  }

  /** The photo inside, pale outside, as in figures.cut_out. */
  function cutOut(i, rgba, at, inside) {
    const { rgb } = shown.scene;
    if (inside) return put(rgba, at, rgb, 3 * i);
    rgba[at] = PALE[3 * rgb[3 * i]];
    rgba[at + 1] = PALE[3 * rgb[3 * i + 1]];
    rgba[at + 2] = PALE[3 * rgb[3 * i + 2]];
  }
  /** The two pictures to paint on: strokes are striped, seeds are not. */
  function drawStrokes() {
    if (!shown) return;
    const { scene, seeds, cut, width } = shown;
    const striped = (i, rgba, at) => put(rgba, at, STRIPES[strokes[i]][((i % width) + Math.floor(i / width)) >> 1 & 1], 0);
    paint(plates.seeds.canvas, scene.size, (i, rgba, at) => {
      if (strokes[i]) return striped(i, rgba, at);
      put(rgba, at, TINTED[seeds.sides[i]], 3 * scene.grey[i]);
    });
    paint(plates.cut.canvas, scene.size, (i, rgba, at) => (strokes[i] ? striped(i, rgba, at) : cutOut(i, rgba, at, cut.parts[i] > 0)));
  }

  /** What is at the cursor, in numbers. */
  function read() {
    const { map, seeds, models, cut, width, height } = shown, [column, row] = place, i = row * width + column;
    for (const each of Object.values(plates)) each.mark(column, row, [width, height]);
    const [foreground, background] = [models.foreground[i], models.background[i]];
    const side = ["background", "foreground, but not in the largest component", "foreground, in the largest component"][cut.parts[i]];
    readout.textContent = `row ${row}, column ${column}: M = ${number(map.values[i])}; seed: ${SEEDS[seeds.sides[i]]}; ` +
      `${strokes[i] ? `stroke: ${SEEDS[strokes[i]]}; ` : ""}cost as foreground ${number(foreground)}, as background ${number(background)}; cut: ${side}.`;
    ring();
  }

  const move = (x, y) => {
    if (!shown) return;
    const [column, row] = place || [shown.width >> 1, shown.height >> 1];
    place = [clamp(column + x, shown.width - 1), clamp(row + y, shown.height - 1)];
    read();
  };

  // --- the brush ----------------------------------------------------------------------------------------------------
  // Discs are drawn here and sent at once, and the browser moves a pen once a frame. What was sent and is not yet in what
  // the kernel told is kept, so that no answer takes back a stroke that has gone on meanwhile.
  const page = Math.random().toString(36).slice(2), painted = h("span", { class: "bound" });
  let side = "none", pen = null, sent = [], count = 0;
  const brush = radios("brush", [["none", "none"], [1, "foreground"], [-1, "background"], [0, "erase"]], (value) => { side = value; ring(); });
  brush.put(side);
  const size = slider("brush size, pixels", { min: 1, max: 40, step: 1, value: 9 }, () => ring());
  const clear = button("clear strokes", () => {
    if (shown) send({ clear: true });
  });
  const rings = [plates.seeds, plates.cut].map((each) => each.frame.appendChild(h("div", { class: "ring", hidden: "" })));

  function ring() {
    for (const each of rings) {
      each.hidden = side === "none" || !place;
      if (each.hidden) continue;
      const d = size.input.valueAsNumber, [x, y] = [place[0] + 0.5 - d / 2, place[1] + 0.5 - d / 2];
      lay(each, [x / shown.width, y / shown.height, (x + d) / shown.width, (y + d) / shown.height]);
    }
  }
  /** Set the pixels of discs, exactly as the kernel does; what lies outside the picture is left out. */
  function rasterise({ discs, size: d, side: to, clear: all }) {
    if (all) return strokes.fill(0);
    const { width, height } = shown, reach = Math.floor(d / 2);
    for (const [x, y] of discs) {
      for (let row = Math.max(0, y - reach); row <= Math.min(height - 1, y + reach); row++) {
        for (let column = Math.max(0, x - reach); column <= Math.min(width - 1, x + reach); column++) {
          if (4 * ((column - x) ** 2 + (row - y) ** 2) <= d ** 2) strokes[row * width + column] = to;
        }
      }
    }
  }
  function send(what) {
    const stroke = { do: "stroke", name: `${page}-${++count}`, photo: shown.scene.photo, ...what };
    sent.push(stroke);
    kernel.ask(stroke);
    rasterise(stroke);
    drawStrokes();
  }
  /** Go on to a pixel, which may lie outside, in steps that leave no gap. */
  function paintTo(to) {
    const from = pen || to, far = Math.max(Math.abs(to[0] - from[0]), Math.abs(to[1] - from[1]));
    const steps = Math.max(1, Math.ceil(far / Math.max(1, size.input.valueAsNumber / 4)));
    const discs = Array.from({ length: steps }, (_, k) => [0, 1].map((c) => Math.round(from[c] + ((to[c] - from[c]) * (k + 1)) / steps)));
    pen = to;
    send({ discs, size: size.input.valueAsNumber, side: Number(side) });
  }
  function drawTold({ buffers, after, counts }) {
    sent.splice(0, sent.findIndex((each) => each.name === after) + 1);
    strokes = bytes(buffers[0], Int8Array);
    sent.forEach(rasterise);
    painted.textContent = `${counts[0]} pixels bound to the foreground, ${counts[1]} to the background`;
    drawStrokes();
    if (place) read();
  }
  for (const [board, { canvas }] of [[seedsBoard, plates.seeds], [cutBoard, plates.cut]]) {
    const pixel = (event) => {
      const { left, top, width, height } = canvas.getBoundingClientRect();
      return [Math.floor(((event.clientX - left) / width) * shown.width), Math.floor(((event.clientY - top) / height) * shown.height)];
    };
    canvas.addEventListener("pointerdown", (event) => {
      if (!shown || side === "none" || event.button) return;
      canvas.setPointerCapture(event.pointerId);
      pen = null;
      paintTo(pixel(event));
    });
    canvas.addEventListener("pointermove", (event) => { if (pen) paintTo(pixel(event)); });
    canvas.addEventListener("lostpointercapture", () => { pen = null; });
    keys(board, move, () => {
      if (!shown) return;
      if (side === "none") return kernel.say("Choose a brush first: foreground, background or erase.");
      move(0, 0);
      pen = null;
      paintTo(place);
      pen = null;
    });
  }

  const parts = [
    h("div", { class: "row" }, ...photoControls({ model, kernel, follow }), ...classes.parts.slice(1)),
    classes.parts[0],
    h("div", { class: "row" }, ...sliders, crops.field, hard.field),
    h("div", { class: "row brush" }, brush.field, size.label, clear,
      h("p", {}, "Paint on the seeds or on the cut: strokes bind the cut (yellow-black to the foreground, white-purple to the background); the mixtures do not learn from them. ", painted)),
    status, pictures, readout, summary,
    h("details", {}, h("summary", { tabindex: 0 }, "the mixtures in numbers"), mixtures),
  ];
  for (const { canvas } of Object.values(plates)) {
    canvas.addEventListener("pointermove", (event) => {
      if (!shown) return;
      place = entry(event, canvas, shown.scene.size);
      read();
    });
  }
  return { parts, draws: { classes: classes.draw, strokes: drawTold, cut: drawCut } };
}

export default explorer("localisation", build);
