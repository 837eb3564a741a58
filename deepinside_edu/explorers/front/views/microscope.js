// The browser half of the ReLU microscope. It keeps the planes under the microscope as they are in the network, so it
// reads, marks and colours them without the kernel. Messages from the kernel: "photo", "maps", "map",
// "ladder", "view" and "distances".

import { classSearch } from "../kit/classes.js";
import { button, numberField, select, traitSelect } from "../kit/controls.js";
import { h, heads, labelled, row } from "../kit/elements.js";
import { explorer } from "../kit/explorer.js";
import { photoControls } from "../kit/photo.js";
import { board, canvas, describe, entry, keys, paint, paintLevels, paintRgb, plate, within } from "../kit/pictures.js";
import { bytes } from "../pure/bytes.js";
import { put, signedLevel, tables } from "../pure/colours.js";
import { clamp, number, percent } from "../pure/numbers.js";
import { bestFirst } from "../pure/ranks.js";
import { reach } from "../pure/reach.js";
import { differing, fate, isOpen } from "../pure/relu.js";
import { texts } from "../texts/en.js";

const T = texts.microscope;
const NAMES = texts.rules;
const MARKS = [null, [0, 114, 178], [230, 159, 0], [204, 121, 167]]; // distinct with any colour vision
const PEAK = 0.995; // the quantile of figures.PEAK, and one for planes of few entries
const SPARSE = 0.97;
const [TILE, GAP, COLUMNS] = [28, 2, 10];

/** Signed values as figures.signed_picture draws them, one channel or three; differences are marked on grey. */
function paintSigned(picture, size, values, signed, causes) {
  const entries = size[0] * size[1];
  const colours = values.length === 3 * entries ? 3 : 1;
  const most = reach(values, colours === 3 ? PEAK : SPARSE);
  paint(picture, size, (i, rgba, at) => {
    let cause = 0;
    for (let c = 0; c < colours; c++) {
      const part = clamp(values[c * entries + i] / most, 1, -1);
      if (colours === 3) rgba[at + c] = Math.round(127.5 + 127.5 * part);
      else if (!causes) put(rgba, at, signed, 3 * signedLevel(values[i], most));
      else rgba.fill(247 - 190 * Math.abs(part), at, at + 3);
      if (causes) cause ||= causes[c * entries + i];
    }
    if (cause) for (let c = 0; c < 3; c++) rgba[at + c] = 0.2 * rgba[at + c] + 0.8 * MARKS[cause][c];
  });
  return most;
}

const maskOf = (ceiling) => (ceiling === null ? "1(X_n > 0)" : `1(0 < X_n < ${ceiling})`);

function build(tools) {
  const { model, kernel, on, status } = tools;
  const palettes = tables(bytes(model.get("palettes"), Uint8Array));
  const maps = mapGrid(tools, palettes);
  const map = mapChart(tools, palettes);
  const ladder = ladderTable(tools, palettes);
  const stage = microscopeStage(tools, palettes);
  const layers = model.get("layers").map(([name, kind, shape]) => [name, T.layer(name, kind, shape.join("×"))]);
  on("change:channel", () => {
    if (kernel.maps) maps.mark();
  });
  const parts = [
    row(
      ...photoControls(tools),
      labelled(T.layerOfNeuron, traitSelect(tools, "layer", layers)),
      classSearch(tools, T.orClass),
    ),
    status,
    h("div", { class: "row top" }, h("div", {}, ...maps.parts), h("div", {}, ...map.parts)),
    ladder.neuron,
    ruleTicks(tools),
    h("div", { class: "row top" }, h("div", { class: "rungs" }, ...ladder.parts), stage.part),
  ];
  const draws = {
    maps: (message) => {
      maps.draw(message);
      maps.mark();
    },
    map: (message) => {
      map.draw(message);
      map.home();
    },
    ladder: (message) => {
      ladder.draw(message);
      map.home();
      ladder.mark();
    },
    view: (message) => {
      stage.draw(message);
      ladder.mark();
    },
    distances: ladder.drawDistances,
  };
  return { parts, draws };
}

/** Which rules go down through a ReLU; at least one does. */
function ruleTicks({ model, kernel, follow }) {
  const tick = ([rule, name]) => {
    const onchange = () => {
      const wanted = ticks.filter((each) => each.checked).map((each) => each.value);
      if (wanted.length) return kernel.set({ rules: wanted });
      box.checked = true;
      kernel.say(T.oneRule);
    };
    const box = h("input", { type: "checkbox", value: rule, onchange });
    return [box, h("label", { class: "tick" }, box, rule === "guided" ? T.later(name) : name)];
  };
  const pairs = Object.entries(NAMES).map(tick);
  const ticks = pairs.map(([box]) => box);
  follow(["rules"], () => {
    for (const box of ticks) box.checked = model.get("rules").includes(box.value);
  });
  return h("fieldset", {}, h("legend", {}, T.rules), ...pairs.map(([, label]) => label));
}

const nameOfMap = (layer, labels, c) => (layer === "scores" ? `${labels[c]} (${c})` : T.channel(c));

/** The feature maps of a layer, each in a square; one of them is chosen. */
function mapGrid({ model, kernel, redraw }, { heat }) {
  const labels = model.get("labels");
  const grid = plate("grid");
  const box = board("scroll maps", T.maps, grid.frame);
  const says = h("p", { class: "says", "aria-live": "polite" });
  const sort = select(T.sorts, () => redraw("maps"));
  let order = [];
  let size = [COLUMNS, 1];
  const named = (c) => nameOfMap(kernel.maps?.layer, labels, c);

  function draw({ buffers, size: [width, height] }) {
    const levels = bytes(buffers[0], Uint8Array);
    const largest = (kernel.maps.largest = bytes(buffers[1], Float32Array));
    order = sort.value === "strong" ? bestFirst(largest) : [...largest.keys()];
    const wide = Math.min(COLUMNS, order.length);
    size = [wide, Math.ceil(order.length / wide)];
    const place = tileEntries(wide, width, height);
    paint(grid.canvas, [wide * (TILE + GAP), size[1] * (TILE + GAP)], (i, rgba, at) => {
      const [tile, inside] = place(i);
      const c = order[tile];
      if (c === undefined || inside < 0) return rgba.fill(128, at, at + 3);
      put(rgba, at, heat, 3 * levels[c * width * height + inside]);
    });
    const most = Math.max(...largest);
    const [sorted, each] = [sort.selectedOptions[0].text, width * height > 1];
    const words = [order.length, kernel.maps.layer, sorted, each, named(largest.indexOf(most)), number(most)];
    describe(grid.canvas, T.mapsAre(...words));
  }
  const say = (c) => {
    const largest = kernel.maps?.largest[c];
    says.textContent = largest === undefined ? "" : T.largest(named(c), number(largest));
  };
  const choose = (place) => {
    const c = order[clamp(place, order.length - 1)];
    if (c === model.get("channel")) return;
    kernel.set({ channel: c, position: model.get("position") === "sum" ? "sum" : "max" });
  };
  const tileAt = (event) => {
    const [x, y] = entry(event, grid.canvas, size);
    return y * size[0] + x;
  };
  grid.canvas.addEventListener("pointermove", (event) => say(order[tileAt(event)]));
  grid.canvas.addEventListener("pointerleave", () => say(model.get("channel")));
  grid.canvas.addEventListener("click", (event) => choose(tileAt(event)));
  keys(box, (x, y) => choose(order.indexOf(model.get("channel")) + x + y * size[0]));

  function mark() {
    const place = order.indexOf(model.get("channel"));
    if (place < 0 || kernel.maps.layer !== model.get("layer")) return; // the maps of the new layer have not arrived
    const line = Math.floor(place / size[0]);
    grid.mark(place % size[0], line, size);
    intoSight(box, (line * grid.canvas.clientHeight) / size[1], TILE);
    say(model.get("channel"));
  }
  return { parts: [h("label", { class: "line" }, T.featureMaps, sort), box, says], draw, mark };
}

/** For each pixel of the grid its tile and the map's entry there, −1 between the tiles. A map of any shape fills its
 * tile. */
function tileEntries(wide, width, height) {
  const cell = TILE + GAP;
  return (i) => {
    const [x, y] = [i % (wide * cell), Math.floor(i / (wide * cell))];
    const [inX, inY] = [x % cell, y % cell];
    const [column, line] = [Math.floor((inX * width) / TILE), Math.floor((inY * height) / TILE)];
    const inside = inX >= TILE || inY >= TILE ? -1 : line * width + column;
    return [Math.floor(y / cell) * wide + Math.floor(x / cell), inside];
  };
}

/** Scroll a part into the middle of its box, if it is not in sight below `head` pixels. */
function intoSight(box, top, high, head = 0) {
  const { scrollTop, clientHeight } = box;
  if (!clientHeight) return;
  if (top < scrollTop + head || top + high > scrollTop + clientHeight) box.scrollTop = top - clientHeight / 2;
}

/** The chosen map with a cursor over its units; one unit, the strongest or the sum of all is the neuron. */
function mapChart({ model, kernel }, { signed }) {
  const labels = model.get("labels");
  const chart = plate("chart");
  const box = board("", T.units, chart.frame);
  const says = h("p", { class: "says", "aria-live": "polite" });
  const none = h("p", { class: "says" });
  const position = ([value, text]) => button(text, () => kernel.set({ position: value }));
  const wholes = Object.entries(T.wholes).map(position);
  let unit = null;

  function draw({ buffers, size, layer, channel }) {
    const values = (kernel.map.values = bytes(buffers[0], Float32Array));
    const single = values.length === 1; // one value is no map
    const name = nameOfMap(layer, labels, channel);
    for (const each of [box, ...wholes]) each.hidden = single;
    none.textContent = single ? T.single(name, number(values[0])) : "";
    const most = paintSigned(chart.canvas, size, values, signed);
    describe(chart.canvas, T.map(name, layer, size, number(most)));
    unit = null;
  }
  const say = () => {
    if (!kernel.map || !unit) return;
    const { size, values } = kernel.map;
    const [x, y] = unit;
    chart.mark(x, y, size);
    says.textContent = `${texts.place(y, x)}: ${number(values[y * size[0] + x])}`;
  };
  const choose = () => {
    const rest = model.get("layers").find(([name]) => name === model.get("layer"))[2].length - 1;
    if (unit) kernel.set({ position: rest === 2 ? [unit[1], unit[0]] : rest === 1 ? [unit[0]] : "max" });
  };
  const home = () => {
    const { map, ladder } = kernel;
    const at = ladder?.position;
    const same = map && ladder?.layer === map.layer && ladder.channel === map.channel;
    unit = same && Array.isArray(at) && at.length ? [at.at(-1), at.length > 1 ? at[0] : 0] : null;
    if (unit) return say();
    chart.mark();
    says.textContent = same && at === "sum" ? T.summed : "";
  };
  const move = (x, y) => {
    if (!kernel.map) return;
    const [column, line] = unit || [0, 0];
    unit = within([column + x, line + y], kernel.map.size);
    say();
  };
  chart.canvas.addEventListener("pointermove", (event) => {
    if (!kernel.map) return;
    unit = entry(event, chart.canvas, kernel.map.size);
    say();
  });
  chart.canvas.addEventListener("pointerleave", home);
  chart.canvas.addEventListener("click", choose);
  keys(box, move, choose);
  return { parts: [row(...wholes), box, none, says], draw, home };
}

/** The ladder: a line per layer on the way down, a picture per rule, and the distances between the rules. */
function ladderTable({ kernel }, { heat }) {
  const neuron = h("p", { class: "neuron" });
  const head = h("thead");
  const body = h("tbody");
  const box = h("div", { class: "scroll ladder" }, h("table", {}, head, body));
  const mean = h("p", { class: "says" });
  let rows = [];
  const step = (line, by) => {
    const next = rows[clamp(rows.indexOf(line) + by, rows.length - 1)];
    next.choose.focus();
    kernel.set({ rung: next.name });
  };
  function fill(rungs, rules) {
    const same = rows.map((line) => line.name).join() === rungs.map(([name]) => name).join();
    if (same && rows[0]?.pictures.length === rules.length) return;
    rows = rungs.map(([name, kind, shape]) => {
      const line = rungLine(name, `${kind} ${shape.join("×")}`, rules, () => kernel.set({ rung: name }));
      keys(
        line.choose,
        (x, y) => step(line, x + y),
        () => line.choose.click(),
      );
      return line;
    });
    body.replaceChildren(...rows.map((line) => line.part));
  }
  function draw({ rungs, rules, buffers, neuron: name, value }) {
    neuron.textContent = `f = ${number(value, 4)}: ${name}`;
    mean.textContent = rules.length < 2 ? "" : T.distances(NAMES[rules[0]]);
    head.replaceChildren(heads([T.layerHead, ...rules.map((rule) => NAMES[rule])]));
    fill(rungs, rules);
    const all = buffers.map((each) => bytes(each, Uint8Array));
    rules.forEach((rule, k) => drawRule(rows, k, NAMES[rule], rungs, all[k], heat));
  }
  function drawDistances({ values }) {
    rows.forEach((line, i) =>
      values[i]?.forEach((distance, k) => {
        const says = line.says[k + 1];
        const zero = says.textContent.startsWith(T.zero) ? `${T.zero}\n` : "";
        says.textContent = zero + T.distance(...distance).replace("-", "−");
      }),
    );
  }
  function mark() {
    const shown = kernel.view?.rung;
    for (const { name, choose, part } of rows) {
      choose.tabIndex = name === shown ? 0 : -1;
      choose.setAttribute("aria-pressed", String(name === shown));
      part.classList.toggle("shown", name === shown);
    }
    const part = rows.find((line) => line.name === shown)?.part;
    if (part) intoSight(box, part.offsetTop, part.offsetHeight, 30); // below the head, which stays
  }
  return { neuron, parts: [box, mean], draw, drawDistances, mark };
}

/** One rule's pictures, from top to bottom of the ladder. */
function drawRule(rows, k, rule, rungs, levels, heat) {
  let start = 0;
  rungs.forEach(([rung, , , size, colours, empty], i) => {
    const { pictures, says } = rows[i];
    const end = start + size[0] * size[1] * (colours ? 3 : 1);
    if (colours) paintRgb(pictures[k], size, levels.subarray(start, end));
    else paintLevels(pictures[k], size, levels.subarray(start, end), heat);
    start = end;
    describe(pictures[k], T.rung(rule, rung, colours));
    says[k].textContent = empty[k] ? T.zero : k ? "…" : "";
  });
}

/** A line of the ladder. */
function rungLine(name, kind, rules, onclick) {
  const pictures = rules.map(() => canvas());
  const says = rules.map(() => h("span"));
  const pieces = name.split(/(?<=[._])/).flatMap((part) => [part, h("wbr")]);
  const choose = h("button", { type: "button" }, ...pieces);
  const title = h("th", { scope: "row" }, choose, h("span", {}, kind));
  const cells = pictures.map((picture, k) => h("td", {}, h("div", {}, picture, says[k])));
  return { name, choose, pictures, says, part: h("tr", { onclick }, title, ...cells) };
}

/** The planes of a view from its bytes, once. */
function unpack(view, photo) {
  const { relu, rules, channels, ceiling } = view;
  const rest = [...view.buffers];
  const floats = () => bytes(rest.shift(), Float32Array);
  view.x = channels?.length > 1 ? bytes(photo.buffers[0], Float32Array) : floats();
  Object.assign(view, { above: {}, below: {}, cause: {}, shares: {} });
  for (const rule of rules) {
    view.above[rule] = floats();
    view.below[rule] = relu ? floats() : view.above[rule];
    const causes = relu ? bytes(rest.shift(), Uint8Array) : differing(view.above[rule], view.above[rules[0]]);
    const counts = T.causes.map(() => 0);
    for (const cause of causes) counts[cause]++;
    view.cause[rule] = causes;
    view.shares[rule] = counts.map((n) => percent(n / causes.length));
  }
  view.open = view.x.map((x) => isOpen(x, ceiling)); // 1(X_n > 0)
}

/** X_n, R_n of each rule and R_n+1 above it, pixel by pixel under one cursor. */
function microscopeStage(tools, { signed }) {
  const { kernel, redraw } = tools;
  const marks = select(T.marks, () => redraw("view"));
  const plane = planeControls(tools);
  const title = h("p", { class: "title" });
  const plates = board("plates", T.plates);
  const legend = h("table", { class: "numbers" });
  const readout = h("p", { class: "readout", "aria-live": "polite" });
  const table = h("table", { class: "numbers" });
  const shown = [];
  let place = [0, 0];
  let last = "";
  const read = () => {
    shown.forEach((each) => each.mark(place[0], place[1], kernel.view.size));
    readOut(kernel.view, place, readout, table);
  };
  function draw(view) {
    if (!view.x) unpack(view, kernel.photo);
    const marked = (rule) => rule !== view.rules[0] && (marks.value === "all" || (marks.value === "relu" && view.relu));
    const which = T.which(view.channels, view.of);
    title.textContent = [view.rung, view.layer, which].filter((part, i, all) => part !== all[i - 1]).join(" · ");
    const wanted = planesOf(view, marked);
    while (shown.length < wanted.length) shown.push(fresh());
    shown.length = wanted.length;
    plates.replaceChildren(...shown.map((each) => each.figure));
    plates.style.setProperty("--columns", view.rules.length + 1);
    wanted.forEach((each, i) => drawPlane(shown[i], each, view, which, signed));
    drawLegend(legend, view, view.rules.filter(marked));
    const here = `${view.size.join()} ${view.rung}`;
    if (last !== here) place = strongest(view);
    last = here;
    plane.show();
    read();
  }
  function fresh() {
    const each = plate();
    const caption = h("figcaption");
    each.canvas.addEventListener("pointermove", (event) => {
      place = entry(event, each.canvas, kernel.view.size);
      read();
    });
    return { ...each, caption, figure: h("figure", {}, each.frame, caption) };
  }
  keys(plates, (x, y) => {
    if (!kernel.view) return;
    place = within([place[0] + x, place[1] + y], kernel.view.size);
    read();
  });
  const controls = row(...plane.parts, labelled(T.mark, marks));
  return { part: h("div", { class: "stage" }, title, controls, plates, readout, table, legend), draw };
}

/** The choice of the channel under the microscope. */
function planeControls({ model, kernel, follow }) {
  const planes = select(T.planes, (value) =>
    kernel.set({ plane: value === "one" ? (kernel.view?.channels?.[0] ?? 0) : value }),
  );
  const plane = numberField({ min: 0, step: 1 }, (value) => kernel.set({ plane: value ?? "auto" }));
  const show = () => {
    planes.value = typeof model.get("plane") === "number" ? "one" : model.get("plane");
    plane.value = kernel.view?.channels?.length === 1 ? kernel.view.channels[0] : "";
    plane.max = (kernel.view?.of ?? 1) - 1;
  };
  follow(["plane"], show);
  return { parts: [labelled(T.channelLabel, planes), labelled(T.channelNumber, plane)], show };
}

/** The plates of a view: rule, caption, values, and the marked causes of each rule. */
function planesOf({ relu, rules, channels, ceiling, x, open, above, below, cause }, marked) {
  const mask = { who: maskOf(ceiling), what: maskOf(ceiling), values: open, causes: null, bit: true };
  const arrives = (rule) => ({ who: NAMES[rule], what: T.arrives, values: above[rule], causes: null });
  const passed = relu ? T.passed : channels ? "R_n" : "max |R_n|";
  const leaves = (rule) => {
    const causes = marked(rule) ? cause[rule] : null;
    return { who: NAMES[rule], what: passed, values: below[rule], causes, rule };
  };
  const activation = { who: "X_n", what: "X_n", values: x, causes: null };
  return [activation, ...(relu ? [...rules.map(arrives), mask] : []), ...rules.map(leaves)];
}

function drawPlane(each, { who, what, values, causes, rule, bit }, view, which, signed) {
  if (each.values === values && each.causes === causes) return;
  Object.assign(each, { values, causes });
  const most = paintSigned(each.canvas, view.size, values, signed, causes);
  const text = (who === what ? "" : `${who}: `) + what + (bit ? T.oneIsBlue : `, ±${number(most)}`);
  each.caption.textContent = text;
  describe(each.canvas, T.plane(text, view.rung, which, view.size) + (causes ? T.marked(view.shares[rule]) : ""));
}

function drawLegend(legend, view, seen) {
  legend.hidden = !seen.length;
  const lines = T.causes.map((cause, c) => {
    const swatch = h("i", { "aria-hidden": "true" });
    if (c) swatch.style.background = `rgb(${MARKS[c]})`;
    const cells = seen.map((rule) => h("td", {}, view.shares[rule][c]));
    return h("tr", {}, h("th", { scope: "row" }, swatch, cause), ...cells);
  });
  const names = seen.map((rule) => h("th", { scope: "col" }, NAMES[rule]));
  legend.replaceChildren(h("tr", {}, h("td", {}, T.notAs(NAMES[view.rules[0]])), ...names), ...lines);
}

/** Where the first rule's |R| is largest, column and row. */
function strongest({ size: [width, height], above, rules }) {
  const first = above[rules[0]];
  let best = 0;
  for (let i = 0; i < width * height; i++) if (Math.abs(first[i]) > Math.abs(first[best])) best = i;
  return [best % width, Math.floor(best / width)];
}

/** The readings at the cursor, in numbers and in words. */
function readOut(view, place, readout, table) {
  const { size, x, above, rules, relu, ceiling, channels } = view;
  const at = place[1] * size[0] + place[0];
  const entries = size[0] * size[1];
  const value = (values) =>
    channels?.length > 1 ? channels.map((c) => number(values[c * entries + at])).join(", ") : number(values[at]);
  const [X, R] = channels ? ["X_n", "R_n"] : ["max |X_n|", "max |R_n|"];
  const words = rules.map((rule) => {
    const says = relu ? verdict(rule, x[at], above[rule][at], ceiling) : `${R} = ${value(above[rule])}`;
    return `${NAMES[rule]}: ${says}`;
  });
  const activation = relu ? "" : `${X} = ${value(x)}; `;
  readout.textContent = `${texts.place(place[1], place[0])}: ${activation}${words.join("; ")}.`;
  table.hidden = !relu;
  if (relu) table.replaceChildren(...reluTable(view, at));
}

/** The effect of a ReLU on R at one place under one rule, in words. */
function verdict(rule, x, r, ceiling) {
  const bound = x > 0 && !isOpen(x, ceiling) ? `≥ ${ceiling}` : x > 0 ? "> 0" : "≤ 0";
  const [up, down] = [`X_n = ${number(x)} ${bound}`, `R_n+1 = ${number(r)}`];
  const passes = { gradient: [up], deconvnet: [`${down} > 0`], guided: [up, `${down} > 0`] };
  const says = {
    nothing: () => T.nothing,
    shut: () => T.stopped(up),
    negative: () => T.stopped(`${down} ≤ 0`),
    passes: () => T.passes(passes[rule]),
  };
  return says[fate(rule, x, r, ceiling)]();
}

/** One line per rule: how the ReLU makes R_n at one entry. */
function reluTable({ x, open, above, below, cause, rules, ceiling }, at) {
  const bit = (yes) => (yes ? "1" : "0");
  const because = (rule, k) => (k ? (cause[rule][at] ? T.causes[cause[rule][at]] : T.same) : "–");
  const line = (rule, k) => {
    const up = [number(x[at]), bit(open[at])];
    const down = [number(above[rule][at]), bit(above[rule][at] > 0), number(below[rule][at]), because(rule, k)];
    const cells = [...up, ...down].map((text) => h("td", {}, text));
    return h("tr", {}, h("th", { scope: "row" }, NAMES[rule]), ...cells);
  };
  const names = ["", "X_n", maskOf(ceiling), "R_n+1", "1(R_n+1 > 0)", "R_n", T.because];
  return [h("thead", {}, heads(names)), h("tbody", {}, ...rules.map(line))];
}

export default explorer("microscope", build);
