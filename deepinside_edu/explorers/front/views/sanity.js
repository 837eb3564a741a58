// The browser half of the sanity explorer. The slider sets how many layers are random; the kernel answers with maps and
// then with their similarities. Messages from the kernel: "classes", "photo", "trained", "maps", and "likeness",
// which has all depths visited so far.

import { classControls } from "../kit/classes.js";
import { button, slider, traitNumber } from "../kit/controls.js";
import { h, row, svg } from "../kit/elements.js";
import { explorer } from "../kit/explorer.js";
import { photoControls } from "../kit/photo.js";
import { canvas, describe, paintLevels, paintRgb } from "../kit/pictures.js";
import { bytes } from "../pure/bytes.js";
import { tables } from "../pure/colours.js";
import { clamp, fixed, probability } from "../pure/numbers.js";
import { texts } from "../texts/en.js";

const T = texts.sanity;
const [WIDE, HIGH, LEFT, RIGHT, TOP, BOTTOM] = [224, 96, 20, 218, 8, 76]; // of a chart and of the frame in it
const LEAST = -0.25; // the least value on the axis; a number beside the curve shows lower ones too
const down = (value) => BOTTOM - ((Math.max(LEAST, value) - LEAST) / (1 - LEAST)) * (BOTTOM - TOP);
const CHART = `<svg class="chart" role="img" viewBox="0 0 ${WIDE} ${HIGH}">
  <path class="frame" d="M${LEFT} ${TOP}H${RIGHT}V${BOTTOM}H${LEFT}ZM${LEFT} ${down(0)}H${RIGHT}" />
  <path class="here" /><path class="ssim" /><path class="rank" /><path class="ssim dots" /><path class="rank dots" />
  <text x="${LEFT - 5}" y="${TOP + 8}" text-anchor="end">1</text>
  <text x="${LEFT - 5}" y="${down(0) + 3}" text-anchor="end">0</text>
  <text x="${LEFT}" y="${HIGH - 5}">${T.trained}</text>
  <text x="${RIGHT}" y="${HIGH - 5}" text-anchor="end">${T.allRandom}</text></svg>`;

const alike = (value) => (value === null ? "–" : fixed(value, 2));

function build(tools) {
  const { model, status } = tools;
  const most = model.get("layers").length;
  const { heat } = tables(bytes(model.get("palettes"), Uint8Array));
  const classes = classControls(tools);
  const depth = depthControls(tools);
  const picture = canvas();
  const subject = h("p", { class: "subject" });
  const verdict = h("div", { class: "verdict", "aria-live": "polite" });
  const columns = model.get("methods").map((method) => methodColumn(texts.rules[method], most, depth.go));
  const each = (message, use) =>
    columns.forEach((column, i) => use(column, (place) => paintMap(place, message.size, message.buffers[i])));
  const paintMap = (place, size, buffer) => paintLevels(place, size, bytes(buffer, Uint8Array), heat);

  function drawPhoto({ size, buffers }) {
    paintRgb(picture, size, bytes(buffers[0], Uint8Array));
    describe(picture, texts.seenBy(size));
  }
  function drawTrained(message) {
    const { label, class_index: c, probability: p } = message.prediction;
    subject.textContent = T.subject(label, c, probability(p));
    each(message, ({ before, name }, draw) => {
      draw(before);
      describe(before, T.before(name, label));
    });
  }
  function drawMaps(message) {
    each(message, ({ now, which, name }, draw) => {
      draw(now);
      which.textContent = T.random(message.down_to);
      describe(now, T.now(name, T.random(message.down_to)));
    });
  }
  function drawLikeness(message) {
    columns.forEach((column, i) => column.drawLikeness(message, i));
    verdict.replaceChildren(...judged(message));
    depth.arrived(message.down_to);
  }
  const key = ([name, text]) => h("span", { class: `key ${name}` }, text);
  const seen = h("figcaption", {}, T.seen);
  const photo = [h("h4", {}, T.photo), picture, seen, verdict, h("p", {}, T.like), ...Object.entries(T.keys).map(key)];
  const parts = [
    row(...photoControls(tools), traitNumber(tools, "random_state", T.draw, { min: 0, step: 1 })),
    classes.list,
    row(classes.search),
    h("div", { class: "row depth" }, ...depth.parts),
    status,
    subject,
    h("div", { class: "columns" }, h("figure", {}, ...photo), ...columns.map((column) => column.part)),
    h("p", {}, T.note),
  ];
  const draws = { classes: classes.draw, photo: drawPhoto, trained: drawTrained, maps: drawMaps };
  return { parts, draws: { ...draws, likeness: drawLikeness } };
}

/** The number of random layers: a slider, and a button that adds one layer after each answer. */
function depthControls({ model, kernel, follow }) {
  const layers = model.get("layers");
  const most = layers.length;
  let playing = false;
  const set = (k) => kernel.set({ down_to: k });
  const go = (k) => {
    play(false);
    set(k);
  };
  const says = (k) => (k === 0 ? T.none : T.reached(k, most, layers[k - 1]));
  const depth = slider(T.depth, { min: 0, max: most, step: 1, value: model.get("down_to"), says }, go);
  follow(["down_to"], () => depth.put(model.get("down_to")));
  const player = button("", () => play(!playing));
  function play(yes) {
    playing = yes;
    player.textContent = yes ? T.stop : T.play;
    if (yes) set(model.get("down_to") < most ? model.get("down_to") + 1 : 0);
  }
  play(false);
  const arrived = (k) => {
    if (!playing || k !== model.get("down_to")) return;
    if (k < most) set(k + 1);
    else play(false);
  };
  return { parts: [depth.label, player], go, arrived };
}

/** The maps of one method, and their similarity in numbers and as a curve; a click on it sets the slider. */
function methodColumn(name, most, go) {
  const [before, now] = [canvas(), canvas()];
  const which = h("figcaption");
  const says = h("p", { class: "says", "aria-live": "polite" });
  const curve = svg(CHART);
  curve.addEventListener("click", (event) => {
    const { left, width } = curve.getBoundingClientRect();
    const x = ((event.clientX - left) / width) * WIDE;
    go(clamp(Math.round(((x - LEFT) / (RIGHT - LEFT)) * most), most));
  });
  const across = (k) => LEFT + (k / most) * (RIGHT - LEFT);
  const at = ([k, y]) => `${across(k).toFixed(1)} ${down(y).toFixed(1)}`;
  /** Neighbouring depths are joined; a depth that was not visited leaves a gap. */
  const line = (points) =>
    points.map((point, i) => `${points[i - 1]?.[0] === point[0] - 1 ? "L" : "M"}${at(point)}`).join("");
  const dots = (points) => points.map((point) => `M${at(point)}h0`).join("");
  const set = (selector, d) => curve.querySelector(selector).setAttribute("d", d);

  function drawLikeness({ down_to: k, known }, i) {
    [".rank", ".ssim"].forEach((kind, j) => {
      const points = known.map(([depth, all]) => [depth, all[i][j]]).filter(([, value]) => value !== null);
      set(kind, line(points));
      set(`${kind}.dots`, dots(points));
    });
    set(".here", `M${across(k)} ${TOP}V${BOTTOM}`);
    const here = known.find(([depth]) => depth === k)[1][i];
    says.textContent = T.alike(alike(here[0]), alike(here[1]));
    const all = known.map(([depth, values]) => [depth, alike(values[i][0]), alike(values[i][1])]);
    describe(curve, T.curve(name, all));
  }
  const trained = h("figcaption", {}, T.trainedNetwork);
  const part = h("figure", {}, h("h4", {}, name), before, trained, now, which, says, curve);
  return { name, part, before, now, which, drawLikeness };
}

/** The class that the network with random layers puts first. */
function judged({ now, top }) {
  const bar = h("i", { "aria-hidden": "true" });
  bar.style.width = `${100 * top.probability}%`;
  const same = top.class_index === now.class_index;
  const first = [T.says, h("b", {}, top.label), `, ${T.chance(probability(top.probability))}`];
  return [
    ...first,
    h("div", { class: "bar" }, bar),
    same ? "" : `${now.label}: ${T.chance(probability(now.probability))}`,
  ];
}

export default explorer("sanity", build);
