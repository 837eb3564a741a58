// The browser half of the localisation lab. It paints all pictures from values, reads them at the cursor and draws
// strokes at once; the kernel computes the cut. Messages from the kernel: "classes", "scene", "map", "seeds", "models",
// "strokes" and, last, "cut", which draws all that is new.

import { classControls } from "../kit/classes.js";
import { button, radios, slider, traitRadios, traitSlider } from "../kit/controls.js";
import { h, heads, row, unique } from "../kit/elements.js";
import { explorer } from "../kit/explorer.js";
import { photoControls } from "../kit/photo.js";
import { board, describe, entry, keys, lay, paint, paintLevels, pixel, plate, within } from "../kit/pictures.js";
import { bytes } from "../pure/bytes.js";
import { greyLevels, heatLevels, put, signedLevel, tables, tinted } from "../pure/colours.js";
import { clamp, number, percent } from "../pure/numbers.js";
import { discsBetween, rasterise } from "../pure/strokes.js";
import { texts } from "../texts/en.js";

const T = texts.localisation;
// As figures.seed_picture and figures.cut_out.
const TINTED = { 1: tinted([0, 40, 200], 0.8), "-1": tinted([90, 235, 235], 0.8), 0: tinted([225, 55, 45], 0.8) };
const PALE = tinted([255, 255, 255], 0.85);
// Two colours each, so that they are visible on any ground.
const STRIPES = {
  1: [
    [255, 215, 0],
    [0, 0, 0],
  ],
  "-1": [
    [255, 255, 255],
    [150, 0, 110],
  ],
};
const colour = (rgb) => `rgb(${rgb.join(", ")})`;

function build(tools) {
  const { kernel, status } = tools;
  const classes = classControls(tools);
  const lab = { shown: null, strokes: new Int8Array(0), place: null };
  const pictures = fivePictures(tools, lab);
  const mixtures = mixtureTable();
  const summary = h("p", { class: "summary" });
  const readout = h("p", { class: "readout", "aria-live": "polite" }, T.point);
  const brush = brushControls(kernel, lab, pictures, () => lab.place && read());

  /** The readings at the cursor. */
  function read() {
    const { map, seeds, models, cut, width, height } = lab.shown;
    const [column, line] = lab.place;
    const i = line * width + column;
    for (const each of Object.values(pictures.plates)) each.mark(column, line, [width, height]);
    const costs = [number(models.foreground[i]), number(models.background[i])];
    const stroke = lab.strokes[i] ? T.seeds[lab.strokes[i]] : "";
    const [m, seed, part] = [number(map.values[i]), T.seeds[seeds.sides[i]], T.cutParts[cut.parts[i]]];
    readout.textContent = T.read(texts.place(line, column), { m, seed, stroke, costs, part });
    brush.ring();
  }
  const to = (place) => {
    if (!lab.shown) return;
    lab.place = within(place, lab.shown.scene.size);
    read();
  };
  const move = (x, y) => {
    if (!lab.shown) return;
    const [column, line] = lab.place || [lab.shown.width >> 1, lab.shown.height >> 1];
    to([column + x, line + y]);
  };
  brush.listen(move);
  for (const { canvas } of Object.values(pictures.plates)) {
    canvas.addEventListener("pointermove", (event) => {
      if (lab.shown) to(entry(event, canvas, lab.shown.scene.size));
    });
  }

  function drawCut(cut) {
    const before = lab.shown || {};
    unpack(lab, before, kernel, cut);
    pictures.draw(before);
    mixtures.draw(lab.shown.models);
    summary.textContent = cut.summary;
    if (lab.place) move(0, 0);
  }
  const parts = [
    row(...photoControls(tools), classes.search),
    classes.list,
    row(...settings(tools)),
    h("div", { class: "row brush" }, ...brush.parts),
    status,
    pictures.part(mixtures.swatches),
    readout,
    summary,
    h("details", {}, h("summary", { tabindex: 0 }, T.inNumbers), mixtures.table),
  ];
  return { parts, draws: { classes: classes.draw, strokes: brush.drawMessage, cut: drawCut } };
}

/** The settings of the steps. */
function settings(tools) {
  const quantile = { step: 0.005, says: (value) => value.toFixed(3) };
  const ranges = {
    foreground: { min: 0.5, max: 0.995, ...quantile },
    background: { min: 0.05, max: 0.9, ...quantile },
    blur: { min: 0, max: 6, step: 0.25 },
    components: { min: 1, max: 8, step: 1 },
    smoothness: { min: 0, max: 200, step: 1 },
  };
  const sliders = Object.entries(ranges).map(([name, range]) => traitSlider(tools, name, T.settings[name], range));
  const crops = traitRadios(tools, "crops", T.crops, [
    [1, T.one],
    [10, T.ten],
  ]);
  const hard = traitRadios(tools, "hard_seeds", T.seedsBind, [
    [false, T.soft],
    [true, T.hard],
  ]);
  return [...sliders, crops, hard];
}

/** All values that a cut draws, unpacked once. */
function unpack(lab, before, kernel, cut) {
  const { scene, map, seeds, models } = kernel;
  const [width, height] = scene.size;
  lab.shown = { scene, map, seeds, models, cut, width, height };
  if (before.scene !== scene) {
    scene.rgb = bytes(scene.buffers[0], Uint8Array);
    scene.grey = greyLevels(scene.rgb);
    if (lab.strokes.length !== width * height) lab.strokes = new Int8Array(width * height);
  }
  if (before.map !== map) map.values = bytes(map.buffers[0], Float32Array);
  if (before.seeds !== seeds) {
    seeds.sides = bytes(seeds.buffers[0], Int8Array);
    seeds.count = { 1: 0, "-1": 0, 0: 0 };
    for (const side of seeds.sides) seeds.count[side]++;
  }
  if (before.models !== models) {
    const [foreground, background] = models.buffers.map((each) => bytes(each, Float32Array));
    const cheaper = foreground.reduce((n, cost, i) => n + (cost < background[i]), 0);
    Object.assign(models, { foreground, background, cheaper });
  }
  cut.parts = bytes(cut.buffers[0], Uint8Array);
  cut.count = [0, 0, 0];
  for (const part of cut.parts) cut.count[part]++;
}

/** Map, seeds, costs, cut and box, with the mixtures' colours between them. */
function fivePictures({ model }, lab) {
  const palettes = tables(bytes(model.get("palettes"), Uint8Array));
  const plates = { map: plate(), seeds: plate(), costs: plate(), cut: plate(), box: plate() };
  const boards = { seeds: board("board", T.board("seeds"), plates.seeds.frame) };
  boards.cut = board("board", T.board("cut"), plates.cut.frame);
  const captions = Object.fromEntries(T.pictures.map((name) => [name, h("figcaption")]));
  const pictures = h("div", { class: "pictures" });
  const found = h("div", { class: "found" });
  plates.box.frame.append(found);
  const part = (swatches) => {
    const frames = { swatches, ...boards };
    const figure = (name) => h("figure", { class: name }, captions[name], frames[name] || plates[name].frame);
    pictures.append(...T.pictures.map(figure));
    return pictures;
  };

  function draw(before) {
    const { scene, map, models, cut } = lab.shown;
    const { size } = scene;
    const ratio = clamp(scene.shape[0] / scene.shape[1], 2, 0.5);
    if (before.scene !== scene) pictures.style.setProperty("--shape", ratio);
    if (before.map !== map) paintLevels(plates.map.canvas, size, heatLevels(map.values, map.peak), palettes.heat);
    if (before.models !== models) paintCosts(plates.costs.canvas, size, models, palettes.signed);
    paint(plates.box.canvas, size, (i, rgba, at) => cutOut(scene.rgb, i, rgba, at, cut.parts[i] > 1));
    const boxes = scene.boxes.map((each) => lay(h("div", { class: "true" }), each));
    found.replaceChildren(...boxes, lay(h("div"), cut.box));
    drawStrokes();
    const { captions: says, labels } = inWords(lab.shown);
    for (const name of T.pictures) captions[name].textContent = says[name];
    for (const [name, label] of Object.entries(labels)) describe(plates[name].canvas, label);
  }
  /** The two pictures to paint on: strokes are striped, seeds are not. */
  function drawStrokes() {
    if (!lab.shown) return;
    const { scene, seeds, cut, width } = lab.shown;
    const { strokes } = lab;
    const striped = (i, rgba, at) =>
      put(rgba, at, STRIPES[strokes[i]][(((i % width) + Math.floor(i / width)) >> 1) & 1], 0);
    paint(plates.seeds.canvas, scene.size, (i, rgba, at) => {
      if (strokes[i]) return striped(i, rgba, at);
      put(rgba, at, TINTED[seeds.sides[i]], 3 * scene.grey[i]);
    });
    paint(plates.cut.canvas, scene.size, (i, rgba, at) => {
      if (strokes[i]) return striped(i, rgba, at);
      cutOut(scene.rgb, i, rgba, at, cut.parts[i] > 0);
    });
  }
  return { plates, boards, part, draw, drawStrokes };
}

/** The captions of the pictures and their descriptions for a screen reader. */
function inWords({ scene, map, seeds, models, cut, width, height }) {
  const part = (n) => percent(n / (width * height));
  const boxes = scene.boxes.length;
  const judged = T.judged(cut.iou);
  const labels = {
    map: T.labels.map(cut.label, scene.size, number(map.peak)),
    seeds: T.labels.seeds(seeds.count),
    costs: T.labels.costs(part(models.cheaper), number(models.peak)),
    cut: T.labels.cut(part(cut.count[1] + cut.count[2])),
    box: T.labels.box(part(cut.count[2]), cut.pixels, boxes, judged),
  };
  return { captions: T.captions(number(map.peak), T.found(boxes, judged)), labels };
}

function paintCosts(canvas, size, { foreground, background, peak }, signed) {
  paint(canvas, size, (i, rgba, at) => put(rgba, at, signed, 3 * signedLevel(background[i] - foreground[i], peak)));
}

/** The photo inside, pale outside, as in figures.cut_out. */
function cutOut(rgb, i, rgba, at, inside) {
  for (let c = 0; c < 3; c++) rgba[at + c] = inside ? rgb[3 * i + c] : PALE[3 * rgb[3 * i + c]];
}

/** The two mixtures: bars of their mean colours, as wide as their weights, and a table of numbers. */
function mixtureTable() {
  const swatches = h("div", { class: "swatches" });
  const table = h("table", { class: "numbers" });
  let drawn;
  const listed = ([weight, rgb]) => `${percent(weight)} ${colour(rgb)}`;
  const swatch = (part) => {
    const each = h("div", { title: listed(part) });
    Object.assign(each.style, { flexGrow: part[0], background: colour(part[1]) });
    return each;
  };
  const bar = (parts, side) => {
    const label = T.bar(T.mixtures[side], parts.map(listed).join("; "));
    return [
      h("span", {}, T.mixtures[side]),
      h("div", { class: "bar", role: "img", "aria-label": label }, ...parts.map(swatch)),
    ];
  };
  const line =
    (side) =>
    ([weight, rgb]) => {
      const cells = [percent(weight), ...rgb].map((text) => h("td", {}, String(text)));
      return h("tr", {}, h("th", { scope: "row" }, T.mixtures[side]), ...cells);
    };
  function draw(models) {
    if (drawn === models) return;
    drawn = models;
    swatches.replaceChildren(...models.mixtures.flatMap(bar));
    table.replaceChildren(heads(T.mixtureHeads), ...models.mixtures.flatMap((parts, side) => parts.map(line(side))));
  }
  return { swatches, table, draw };
}

/** The strokes that the kernel has not confirmed. They are drawn at once, and sent once per frame while a pen moves.
 * They are kept until the kernel has them, so that an older answer does not remove a newer stroke. */
function strokeSender(kernel, lab, drawStrokes) {
  const page = unique("page");
  const sent = [];
  let count = 0;
  const apply = (stroke) => rasterise(lab.strokes, lab.shown.scene.size, stroke);
  function send(what) {
    const stroke = { do: "stroke", name: `${page}-${++count}`, photo: lab.shown.scene.photo, ...what };
    sent.push(stroke);
    kernel.ask(stroke);
    apply(stroke);
    drawStrokes();
  }
  function take({ buffers, after }) {
    sent.splice(0, sent.findIndex((each) => each.name === after) + 1);
    lab.strokes = bytes(buffers[0], Int8Array);
    sent.forEach(apply);
    drawStrokes();
  }
  return { send, take };
}

/** The brush: its side, its size, and the pen that moves over the seeds and the cut. */
function brushControls(kernel, lab, { plates, boards, drawStrokes }, read) {
  const painted = h("span", { class: "bound" });
  const strokes = strokeSender(kernel, lab, drawStrokes);
  let side = "none";
  let pen = null;
  const brush = radios(T.brush, T.brushes, (value) => {
    side = value;
    ring();
  });
  brush.put(side);
  const size = slider(T.size, { min: 1, max: 40, step: 1, value: 9 }, () => ring());
  const ring = ringsAround(lab, [plates.seeds, plates.cut], () => (side === "none" ? 0 : size.input.valueAsNumber));
  const clear = button(T.clear, () => lab.shown && strokes.send({ clear: true }));
  /** Move to a pixel, which may lie outside. */
  function paintTo(to) {
    const d = size.input.valueAsNumber;
    strokes.send({ discs: discsBetween(pen || to, to, d), size: d, side: Number(side) });
    pen = to;
  }
  function drawMessage(message) {
    strokes.take(message);
    painted.textContent = T.bound(...message.counts);
    read();
  }
  function dab(move) {
    if (!lab.shown) return;
    if (side === "none") return kernel.say(T.chooseBrush);
    move(0, 0);
    pen = null;
    paintTo(lab.place);
    pen = null;
  }
  const press = (event, canvas) => {
    if (!lab.shown || side === "none" || event.button) return;
    canvas.setPointerCapture(event.pointerId);
    pen = null;
    paintTo(pixel(event, canvas, lab.shown.scene.size));
  };
  function listen(move) {
    for (const name of ["seeds", "cut"]) {
      const { canvas } = plates[name];
      canvas.addEventListener("pointerdown", (event) => press(event, canvas));
      canvas.addEventListener("pointermove", (event) => pen && paintTo(pixel(event, canvas, lab.shown.scene.size)));
      canvas.addEventListener("lostpointercapture", () => {
        pen = null;
      });
      keys(boards[name], move, () => dab(move));
    }
  }
  return { parts: [brush.field, size.label, clear, h("p", {}, T.howToPaint, painted)], ring, drawMessage, listen };
}

/** A ring in each picture as large as the brush; `diameter()` is 0 without one. */
function ringsAround(lab, plates, diameter) {
  const rings = plates.map((each) => each.frame.appendChild(h("div", { class: "ring", hidden: "" })));
  return () => {
    const d = diameter();
    for (const each of rings) {
      each.hidden = !d || !lab.place;
      if (each.hidden) continue;
      const { width, height } = lab.shown;
      const [x, y] = lab.place.map((middle) => middle + 0.5 - d / 2);
      lay(each, [x / width, y / height, (x + d) / width, (y + d) / height]);
    }
  };
}

export default explorer("localisation", build);
