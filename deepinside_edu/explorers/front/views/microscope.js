// The browser's half of the ReLU microscope: it keeps the planes under the microscope as they are in the network, so that
// hover, marks and colours ask the kernel for nothing. Told are "photo", "maps", "map", "ladder", "view", "distances".

import { button, classSearch, numberField, photoControls, select } from "../kit/controls.js";
import { h } from "../kit/elements.js";
import { explorer } from "../kit/explorer.js";
import { entry, keys, paint, plate } from "../kit/pictures.js";
import { bytes } from "../pure/bytes.js";
import { palettesOf, put } from "../pure/colours.js";
import { clamp, number } from "../pure/numbers.js";

const NAMES = { gradient: "gradient", deconvnet: "DeconvNet", guided: "guided" };
const CAUSES = ["the same", "forward mask", "backward mask", "from above"];
const MARKS = [null, [0, 114, 178], [230, 159, 0], [204, 121, 167]]; // told apart with any colour vision
const PEAK = 0.995, SPARSE = 0.97; // quantiles: that of figures.PEAK, and one for planes of few entries
const TILE = 28, GAP = 2, COLUMNS = 10;

const reached = new WeakMap(); // the same values are drawn again with other marks

/** What is drawn in full colour: a high quantile of the |values| that are not 0, so that a few do not pale all others. */
function reach(values, quantile) {
  if (reached.has(values)) return reached.get(values);
  let most = 0, entries = 0;
  for (const value of values) {
    most = Math.max(most, Math.abs(value));
    entries += value !== 0;
  }
  if (!most) return 1;
  const counts = new Uint32Array(4097); // sorting would take ten times as long
  for (const value of values) if (value) counts[Math.ceil((4096 * Math.abs(value)) / most)]++;
  let rank = quantile * (entries - 1), bin = 0;
  while ((rank -= counts[++bin]) >= 0);
  reached.set(values, (bin * most) / 4096);
  return reached.get(values);
}

/** By more than rounding, as in `Rung.distance`; where no ReLU is at work, what differs came down different already. */
const differing = (one, two) =>
  Uint8Array.from(one, (r, i) => 3 * (Math.abs(r - two[i]) > 1e-5 * Math.max(Math.abs(r), Math.abs(two[i]))));

/** Values of both signs as figures.signed_picture draws them, one channel or three; what differs is marked over grey. */
function paintSigned(canvas, size, values, tables, causes) {
  const entries = size[0] * size[1], colours = values.length === 3 * entries ? 3 : 1;
  const most = reach(values, colours === 3 ? PEAK : SPARSE);
  paint(canvas, size, (i, rgba, at) => {
    let cause = 0;
    for (let c = 0; c < colours; c++) {
      const part = Math.max(-1, Math.min(1, values[c * entries + i] / most));
      if (colours === 3) rgba[at + c] = Math.round(127.5 + 127.5 * part);
      else if (!causes) put(rgba, at, tables.signed, 3 * Math.round(127 + 127 * part));
      else rgba.fill(247 - 190 * Math.abs(part), at, at + 3);
      if (causes) cause ||= causes[c * entries + i];
    }
    if (cause) for (let c = 0; c < 3; c++) rgba[at + c] = 0.2 * rgba[at + c] + 0.8 * MARKS[cause][c];
  });
  return most;
}

/** What a ReLU does to R at one place under one rule, in words. */
function verdict(rule, x, r, ceiling) {
  const open = x > 0 && (ceiling === null || x < ceiling);
  const because = open ? `X_n = ${number(x)} > 0` : x > 0 ? `X_n = ${number(x)} ≥ ${ceiling}` : `X_n = ${number(x)} ≤ 0`;
  if (r === 0) return "nothing arrives, R_n+1 = 0";
  if (rule !== "deconvnet" && !open) return `stopped, ${because}`;
  if (rule !== "gradient" && r < 0) return `stopped, R_n+1 = ${number(r)} ≤ 0`;
  return `passes, ${rule === "deconvnet" ? `R_n+1 = ${number(r)} > 0` : because}` +
    (rule === "guided" ? ` and R_n+1 = ${number(r)} > 0` : "");
}

function build({ model, kernel, on, follow, redraw, status }) {
  const tables = palettesOf(model), labels = model.get("labels");

  // --- layer and rules; photo and class are in every explorer -------------------------------------------------------
  const layer = select(model.get("layers").map(([name, kind, shape]) =>
    [name, name === "scores" ? `the class scores · ${shape.join("×")}` : `${name} · ${kind} · ${shape.join("×")}`]),
  (value) => kernel.set({ layer: value }));
  follow(["layer"], () => { layer.value = model.get("layer"); });
  const ticks = Object.entries(NAMES).map(([rule, name]) => {
    const tick = h("input", { type: "checkbox", value: rule, onchange: () => {
      const wanted = ticks.map((each) => each.firstChild).filter((each) => each.checked).map((each) => each.value);
      if (wanted.length) return kernel.set({ rules: wanted });
      tick.checked = true;
      kernel.say("At least one rule is needed: tick another one first.");
    } });
    return h("label", { class: "tick" }, tick, name + (rule === "guided" ? " (later work)" : ""));
  });
  follow(["rules"], () => ticks.forEach(({ firstChild: t }) => { t.checked = model.get("rules").includes(t.value); }));

  // --- the feature maps, and the one whose unit is chosen -----------------------------------------------------------
  const grid = plate("grid"), chart = plate("chart");
  const gridBox = h("div", { class: "scroll maps", tabindex: 0, role: "application",
    "aria-label": "Feature maps of the layer: arrow keys choose one" }, grid.frame);
  const noMap = h("p", { class: "says" }), position = (text, value) => button(text, () => kernel.set({ position: value }));
  const wholes = [position("strongest unit", "max"), position("whole map (sum)", "sum")];
  const chartBox = h("div", { tabindex: 0, role: "application",
    "aria-label": "The chosen map: arrow keys move over its units, Enter chooses one" }, chart.frame);
  const gridSays = h("p", { class: "says", "aria-live": "polite" }), chartSays = h("p", { class: "says", "aria-live": "polite" });
  const sort = select([["strong", "strongest first"], ["order", "in their order"]], () => redraw("maps"));
  let order = [], gridSize = [COLUMNS, 1], unit = null;

  function drawMaps({ buffers, size: [width, height] }) {
    const levels = bytes(buffers[0], Uint8Array), largest = bytes(buffers[1], Float32Array);
    kernel.maps.largest = largest;
    order = [...largest.keys()];
    if (sort.value === "strong") order.sort((a, b) => largest[b] - largest[a] || a - b);
    const cell = TILE + GAP, wide = Math.min(COLUMNS, order.length);
    gridSize = [wide, Math.ceil(order.length / wide)];
    // Every map fills its square, whatever its shape; between the squares is nothing.
    paint(grid.canvas, [wide * cell, gridSize[1] * cell], (i, rgba, at) => {
      const x = i % (wide * cell), y = Math.floor(i / (wide * cell)), inX = x % cell, inY = y % cell;
      const c = order[Math.floor(y / cell) * wide + Math.floor(x / cell)];
      if (c === undefined || inX >= TILE || inY >= TILE) return rgba.fill(128, at, at + 3);
      const column = Math.floor((inX * width) / TILE), row = Math.floor((inY * height) / TILE);
      put(rgba, at, tables.heat, 3 * levels[c * width * height + row * width + column]);
    });
    grid.canvas.setAttribute("aria-label", `${order.length} feature maps of ${kernel.maps.layer}, ${sort.selectedOptions[0].text}, ` +
      `from black for 0 or less to yellow for ${width * height > 1 ? "each one's own" : "the layer's"} largest; the strongest, ${named(largest.indexOf(Math.max(...largest)))}, ` +
      `reaches ${number(Math.max(...largest))}`);
  }
  const named = (c) => (kernel.maps?.layer === "scores" ? `${labels[c]} (${c})` : `channel ${c}`);
  const sayMap = (c) => { gridSays.textContent = kernel.maps?.largest[c] === undefined ? "" : `${named(c)}: largest ${number(kernel.maps.largest[c])}`; };
  const chooseMap = (place) => {
    const c = order[clamp(place, order.length - 1)];
    if (c !== model.get("channel")) kernel.set({ channel: c, position: model.get("position") === "sum" ? "sum" : "max" });
  };
  const tileAt = (event) => { const [x, y] = entry(event, grid.canvas, gridSize); return y * gridSize[0] + x; };
  grid.canvas.addEventListener("pointermove", (event) => sayMap(order[tileAt(event)]));
  grid.canvas.addEventListener("pointerleave", () => sayMap(model.get("channel")));
  grid.canvas.addEventListener("click", (event) => chooseMap(tileAt(event)));
  keys(gridBox, (x, y) => chooseMap(order.indexOf(model.get("channel")) + x + y * gridSize[0]));

  function markMap() {
    const place = order.indexOf(model.get("channel"));
    if (place < 0 || kernel.maps.layer !== model.get("layer")) return; // the maps of a new layer are still on their way
    grid.mark(place % gridSize[0], Math.floor(place / gridSize[0]), gridSize);
    const top = (Math.floor(place / gridSize[0]) * grid.canvas.clientHeight) / gridSize[1], seen = gridBox.clientHeight;
    if (seen && (top < gridBox.scrollTop || top + TILE > gridBox.scrollTop + seen)) gridBox.scrollTop = top - seen / 2;
    sayMap(model.get("channel"));
  }
  function drawMap({ buffers, size, layer: of, channel }) {
    const values = (kernel.map.values = bytes(buffers[0], Float32Array)), single = values.length === 1;
    for (const each of [chartBox, ...wholes]) each.hidden = single; // one value is no map
    noMap.textContent = single ? `${named(channel)}: ${number(values[0])}, one value and no map. The squares are as bright as their values.` : "";
    const most = paintSigned(chart.canvas, size, values, tables);
    chart.canvas.setAttribute("aria-label", `Map of ${named(channel)} of ${of}, ${size[1]} rows by ${size[0]} columns, white for 0, ` +
      `blue above it and red below, full at ±${number(most)}`);
    unit = null;
  }
  const sayUnit = () => {
    if (!kernel.map || !unit) return;
    const { size, values } = kernel.map, [x, y] = unit;
    chart.mark(x, y, size);
    chartSays.textContent = `row ${y}, column ${x}: ${number(values[y * size[0] + x])}`;
  };
  const chooseUnit = () => {
    const rest = model.get("layers").find(([name]) => name === model.get("layer"))[2].length - 1;
    if (unit) kernel.set({ position: rest === 2 ? [unit[1], unit[0]] : rest === 1 ? [unit[0]] : "max" });
  };
  const home = () => {
    const at = kernel.ladder?.position, same = kernel.map && kernel.ladder?.layer === kernel.map.layer && kernel.ladder.channel === kernel.map.channel;
    unit = same && Array.isArray(at) && at.length ? [at.at(-1), at.length > 1 ? at[0] : 0] : null;
    if (unit) return sayUnit();
    chart.mark();
    chartSays.textContent = same && at === "sum" ? "the whole map, summed" : "";
  };
  const moveUnit = (x, y) => {
    if (!kernel.map) return;
    const [width, height] = kernel.map.size, [column, row] = unit || [0, 0];
    unit = [clamp(column + x, width - 1), clamp(row + y, height - 1)];
    sayUnit();
  };
  chart.canvas.addEventListener("pointermove", (event) => { if (kernel.map) { unit = entry(event, chart.canvas, kernel.map.size); sayUnit(); } });
  chart.canvas.addEventListener("pointerleave", home);
  chart.canvas.addEventListener("click", chooseUnit);
  keys(chartBox, moveUnit, chooseUnit);

  // --- the ladder ---------------------------------------------------------------------------------------------------
  const neuron = h("p", { class: "neuron" }), head = h("tr"), body = h("tbody");
  const ladderBox = h("div", { class: "scroll ladder" }, h("table", {}, h("thead", {}, head), body));
  const distancesMean = h("p", { class: "says" });
  let rows = [];

  function drawLadder({ rungs, rules, buffers, neuron: name, value }) {
    neuron.textContent = `f = ${number(value, 4)}: ${name}`;
    distancesMean.textContent = rules.length < 2 ? "" : `Each beside the ${NAMES[rules[0]]}'s R: cos, of the angle between them, from 1 (the same ` +
      "direction) by 0 (nothing in common) to −1 (opposite), – where one is all 0; L2, the length of their difference by that of the " +
      `${NAMES[rules[0]]}'s, without a unit, 0 for the same, ∞ where the ${NAMES[rules[0]]}'s is all 0; and how many entries differ.`;
    head.replaceChildren(...["layer", ...rules.map((rule) => NAMES[rule])].map((text) => h("th", { scope: "col" }, text)));
    const all = buffers.map((each) => bytes(each, Uint8Array)), kept = rows.map((row) => row.names).join() === rungs.map(([n]) => n).join() &&
      rows[0]?.pictures.length === rules.length;
    if (!kept) rows = rungs.map(([name, kind, shape]) => {
      const pictures = rules.map(() => h("canvas", { role: "img" })), says = rules.map(() => h("span"));
      const choose = h("button", { type: "button" }, ...name.split(/(?<=[._])/).flatMap((part) => [part, h("wbr")]));
      keys(choose, (x, y) => {
        const next = rows[clamp(rows.findIndex((row) => row.choose === choose) + x + y, rows.length - 1)];
        next.choose.focus();
        kernel.set({ rung: next.names });
      }, () => choose.click());
      const line = h("tr", { onclick: () => kernel.set({ rung: name }) },
        h("th", { scope: "row" }, choose, h("span", {}, `${kind} ${shape.join("×")}`)),
        ...pictures.map((picture, k) => h("td", {}, h("div", {}, picture, says[k]))));
      return { names: name, choose, line, pictures, says };
    });
    if (!kept) body.replaceChildren(...rows.map((row) => row.line));
    let starts = rules.map(() => 0);
    rungs.forEach(([name, , , size, colours, empty], i) => rules.forEach((rule, k) => {
      const levels = all[k].subarray(starts[k], (starts[k] += size[0] * size[1] * (colours ? 3 : 1)));
      const canvas = rows[i].pictures[k];
      paint(canvas, size, (j, rgba, at) => (colours ? put(rgba, at, levels, 3 * j) : put(rgba, at, tables.heat, 3 * levels[j])));
      canvas.setAttribute("aria-label", `${NAMES[rule]} at ${name}: ${colours ? "its picture in colours" : "the largest |R| over the channels"}`);
      rows[i].says[k].textContent = empty[k] ? "all 0" : k ? "…" : "";
    }));
  }
  function drawDistances({ values }) {
    rows.forEach((row, i) => values[i]?.forEach(([cosine, relative, differing], k) => {
      const zero = row.says[k + 1].textContent.startsWith("all 0") ? "all 0\n" : "";
      row.says[k + 1].textContent = `${zero}cos ${cosine}\nL2 ${relative}\n${differing} differ`.replace("-", "−");
    }));
  }
  function markRung() {
    const shown = kernel.view?.rung;
    rows.forEach(({ names, choose, line }) => {
      choose.tabIndex = names === shown ? 0 : -1;
      choose.setAttribute("aria-pressed", String(names === shown));
      line.classList.toggle("shown", names === shown);
    });
    const line = rows.find((row) => row.names === shown)?.line;
    if (!line) return;
    const { offsetTop: top, offsetHeight: high } = line, { scrollTop, clientHeight } = ladderBox;
    if (top < scrollTop + 30 || top + high > scrollTop + clientHeight) ladderBox.scrollTop = top - clientHeight / 2;
  }

  // --- under the microscope -----------------------------------------------------------------------------------------
  const marks = select([["relu", "at ReLUs, by cause"], ["all", "everywhere"], ["none", "nowhere"]], () => redraw("view"));
  const planes = select([["auto", "the largest |R|; the image in colours"], ["all", "maximum of |R| over channels"], ["one", "number …"]],
    (value) => kernel.set({ plane: value === "one" ? kernel.view?.channels?.[0] ?? 0 : value }));
  const plane = numberField({ min: 0, step: 1 }, (value) => kernel.set({ plane: value ?? "auto" }));
  const title = h("p", { class: "title" }), plates = h("div", { class: "plates", tabindex: 0, role: "application",
    "aria-label": "Pictures under the microscope: arrow keys move the cursor, with Shift by ten" });
  const legend = h("table", { class: "numbers" }), readout = h("p", { class: "readout", "aria-live": "polite" }), table = h("table", { class: "numbers" });
  let shown = [], place = [0, 0], last = {};
  const rightChannel = () => {
    planes.value = typeof model.get("plane") === "number" ? "one" : model.get("plane");
    plane.value = kernel.view?.channels?.length === 1 ? kernel.view.channels[0] : "";
    plane.max = (kernel.view?.of ?? 1) - 1;
  };
  follow(["plane"], rightChannel);

  /** The planes of a view from its bytes, once. */
  function unpack(view) {
    const { relu, rules, channels, ceiling } = view, rest = [...view.buffers], floats = () => bytes(rest.shift(), Float32Array);
    view.x = channels?.length > 1 ? bytes(kernel.photo.buffers[0], Float32Array) : floats();
    Object.assign(view, { above: {}, below: {}, cause: {}, shares: {} });
    for (const rule of rules) {
      view.above[rule] = floats();
      view.below[rule] = relu ? floats() : view.above[rule];
      const causes = relu ? bytes(rest.shift(), Uint8Array) : differing(view.above[rule], view.above[rules[0]]);
      const counts = CAUSES.map(() => 0);
      for (const cause of causes) counts[cause]++;
      view.cause[rule] = causes;
      view.shares[rule] = counts.map((n) => `${Math.round((100 * n) / causes.length)} %`);
    }
    view.open = view.x.map((x) => x > 0 && (ceiling === null || x < ceiling)); // 1(X_n > 0)
  }
  function drawView(view) {
    if (!view.x) unpack(view);
    const { relu, rules, size, channels, ceiling } = view;
    const which = channels === null ? "maximum over all channels" : channels.length > 1 ? "in colours" : `channel ${channels[0]} of ${view.of}`;
    title.textContent = [view.rung, view.layer, which].filter((part, i, all) => part !== all[i - 1]).join(" · ");
    const marked = (rule) => rule !== rules[0] && (marks.value === "all" || (marks.value === "relu" && relu));
    const mask = ceiling === null ? "1(X_n > 0)" : `1(0 < X_n < ${ceiling})`;
    const wanted = [["X_n", "X_n", view.x, null],
      ...(relu ? rules.map((rule) => [NAMES[rule], "R_n+1, what arrives", view.above[rule], null]) : []),
      ...(relu ? [[mask, mask, view.open, null]] : []),
      ...rules.map((rule) => [NAMES[rule], relu ? "R_n, what it lets through" : channels ? "R_n" : "max |R_n|", view.below[rule],
        marked(rule) ? view.cause[rule] : null, rule])];
    while (shown.length < wanted.length) shown.push(fresh(shown.length));
    shown.length = wanted.length;
    plates.replaceChildren(...shown.map((each) => each.figure));
    plates.style.setProperty("--columns", rules.length + 1);
    wanted.forEach(([who, what, values, causes, rule], i) => {
      const each = shown[i];
      if (each.values === values && each.causes === causes) return;
      Object.assign(each, { values, causes });
      const most = paintSigned(each.canvas, size, values, tables, causes);
      const text = `${who === what ? "" : `${who}: `}${what}` + (who === mask ? ", 1 blue" : `, ±${number(most)}`);
      each.caption.textContent = text;
      each.canvas.setAttribute("aria-label", `${text}; ${view.rung}, ${which}, ${size[1]} rows by ${size[0]} columns` +
        (causes ? "; marked by cause: " + CAUSES.map((cause, c) => `${cause} ${view.shares[rule][c]}`).join(", ") : ""));
    });
    const seen = rules.filter(marked);
    legend.hidden = !seen.length;
    legend.replaceChildren(
      h("tr", {}, h("td", {}, `not as the ${NAMES[rules[0]]}:`), ...seen.map((rule) => h("th", { scope: "col" }, NAMES[rule]))),
      ...CAUSES.map((cause, c) => {
        const swatch = h("i", { "aria-hidden": "true" });
        if (c) swatch.style.background = `rgb(${MARKS[c]})`;
        return h("tr", {}, h("th", { scope: "row" }, swatch, cause), ...seen.map((rule) => h("td", {}, view.shares[rule][c])));
      }));
    const [width, height] = size, first = view.above[rules[0]];
    const same = last.size === size.join() && last.rung === view.rung;
    if (!same) {
      let best = 0;
      for (let i = 0; i < width * height; i++) if (Math.abs(first[i]) > Math.abs(first[best])) best = i;
      place = [best % width, Math.floor(best / width)];
    }
    last = { size: size.join(), rung: view.rung };
    rightChannel();
    read();
  }
  function fresh() {
    const each = plate(), caption = h("figcaption");
    each.canvas.addEventListener("pointermove", (event) => { place = entry(event, each.canvas, kernel.view.size); read(); });
    return { ...each, caption, figure: h("figure", {}, each.frame, caption) };
  }
  keys(plates, (x, y) => {
    if (!kernel.view) return;
    place = [clamp(place[0] + x, kernel.view.size[0] - 1), clamp(place[1] + y, kernel.view.size[1] - 1)];
    read();
  });

  /** What is at the cursor, in numbers and in words. */
  function read() {
    const { size, x, open, above, below, cause, rules, relu, ceiling, channels } = kernel.view, at = place[1] * size[0] + place[0];
    shown.forEach((each) => each.mark(place[0], place[1], size));
    const entries = size[0] * size[1], value = (values) => (channels?.length > 1 ? channels.map((c) => number(values[c * entries + at])).join(", ") : number(values[at]));
    const where = `row ${place[1]}, column ${place[0]}`, bit = (yes) => (yes ? "1" : "0");
    const words = rules.map((rule) => relu ? `${NAMES[rule]}: ${verdict(rule, x[at], above[rule][at], ceiling)}`
      : `${NAMES[rule]}: ${channels ? "R_n" : "max |R_n|"} = ${value(above[rule])}`);
    readout.textContent = `${where}: ${relu ? "" : `${channels ? "X_n" : "max |X_n|"} = ${value(x)}; `}${words.join("; ")}.`;
    table.hidden = !relu;
    if (!relu) return;
    const names = ["", "X_n", ceiling === null ? "1(X_n > 0)" : `1(0 < X_n < ${ceiling})`, "R_n+1", "1(R_n+1 > 0)", "R_n", "differs because of"];
    table.replaceChildren(h("thead", {}, h("tr", {}, ...names.map((text) => h("th", { scope: "col" }, text)))),
      h("tbody", {}, ...rules.map((rule, k) => h("tr", {}, h("th", { scope: "row" }, NAMES[rule]),
        ...[number(x[at]), bit(open[at]), number(above[rule][at]), bit(above[rule][at] > 0), number(below[rule][at]),
          k ? (cause[rule][at] ? CAUSES[cause[rule][at]] : "it is the same") : "–"].map((text) => h("td", {}, text))))));
  }

  // --- all of it ----------------------------------------------------------------------------------------------------
  on("change:channel", () => { if (kernel.maps) markMap(); });
  const parts = [
    h("div", { class: "row" }, ...photoControls({ model, kernel, follow }), h("label", {}, "layer of the neuron", layer),
      ...classSearch({ model, kernel }, "or a class")),
    status,
    h("div", { class: "row top" },
      h("div", {}, h("label", { class: "line" }, "feature maps", sort), gridBox, gridSays),
      h("div", {}, h("div", { class: "row" }, ...wholes), chartBox, noMap, chartSays)),
    neuron,
    h("fieldset", {}, h("legend", {}, "rules for the way down through a ReLU"), ...ticks),
    h("div", { class: "row top" }, h("div", { class: "rungs" }, ladderBox, distancesMean),
      h("div", { class: "stage" }, title,
        h("div", { class: "row" }, h("label", {}, "channel", planes), h("label", {}, "its number", plane), h("label", {}, "mark what differs", marks)),
        plates, readout, table, legend)),
  ];
  return { parts, draws: {
    maps: (told) => { drawMaps(told); markMap(); },
    map: (told) => { drawMap(told); home(); },
    ladder: (told) => { drawLadder(told); home(); markRung(); },
    view: (told) => { drawView(told); markRung(); },
    distances: drawDistances,
  } };
}

export default explorer("microscope", build);
