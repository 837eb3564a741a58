// The browser's half of the Taylor explorer: it has the photo, the direction and the scores, so that the walk itself, picture
// and numbers, asks the kernel for nothing. Told are "classes", "photo", "way" and "walk".

import { button, classControls, photoControls, select, slider } from "../kit/controls.js";
import { h } from "../kit/elements.js";
import { explorer } from "../kit/explorer.js";
import { paint } from "../kit/pictures.js";
import { bytes } from "../pure/bytes.js";
import { number, words } from "../pure/numbers.js";

const NAMES = { gradient: "along the gradient w", noise: "along noise", grey: "towards the mean colour",
  "another photo": "towards the next shipped photo" };
const WIDE = 460, HIGH = 272, LEFT = 56, RIGHT = 448, TOP = 10, BOTTOM = 226; // of the chart and of the frame in it
const CHART = `<svg class="chart" role="img" viewBox="0 0 ${WIDE} ${HIGH}">
  <clipPath><rect x="${LEFT}" y="${TOP}" width="${RIGHT - LEFT}" height="${BOTTOM - TOP}" /></clipPath>
  <rect class="holds" y="${TOP}" height="${BOTTOM - TOP}" /><path class="ticks" /><g class="texts"></g>
  <g class="inside"><path class="score" /><path class="line" /><path class="dots" /><path class="here" />
  <circle class="on-line" r="5" /><circle class="on-score" r="5" /></g>
  <text x="${(LEFT + RIGHT) / 2}" y="${HIGH - 6}" text-anchor="middle">s, in root-mean-square grey levels (of 255) along d</text>
  <text transform="translate(13 ${(TOP + BOTTOM) / 2}) rotate(-90)" text-anchor="middle">score S_c</text></svg>`;

/** Round values between two others, three to six of them. */
function ticks(low, high) {
  const rough = (high - low) / 5, power = 10 ** Math.floor(Math.log10(rough));
  const step = power * [1, 2, 5, 10].find((each) => each * power >= rough), first = Math.ceil(low / step);
  return Array.from({ length: Math.floor(high / step) - first + 1 }, (_, i) => Number(((first + i) * step).toPrecision(12)));
}

function build({ model, kernel, on, follow, status, undo }) {
  const places = model.get("places"), reaches = model.get("reaches");
  const levels = (s) => `${number(s)} level${Math.abs(s) === 1 ? "" : "s"}`;
  let seen, moves, walk, saved, i = places.indexOf(model.get("s"));

  // --- controls -----------------------------------------------------------------------------------------------------
  const classes = classControls({ model, kernel, on });
  const direction = select(Object.entries(NAMES), (value) => kernel.set({ direction: value }));
  follow(["direction"], () => { direction.value = model.get("direction"); });
  const reach = select([["auto", "around where the line holds"], ...reaches.map((r) => [r, `± ${levels(r)}`])], () => drawWalk());
  const way = slider("s, how far to walk", { min: 0, max: places.length - 1, step: 1, value: i, says: (k) => levels(places[k]) }, go);
  const home = button("back to the photo, s = 0", () => { way.put(places.indexOf(0)); go(places.indexOf(0)); });

  const move = () => { drawPicture(); drawWalk(); };
  /** The page follows at once; the kernel hears where it stopped. */
  function go(to) {
    i = to;
    clearTimeout(saved);
    saved = setTimeout(() => kernel.keep({ s: places[i] }), 200);
    move();
  }
  undo.push(() => clearTimeout(saved));
  follow(["s"], () => {
    if (places[i] === model.get("s")) return;
    i = places.indexOf(model.get("s"));
    way.put(i);
    move();
  });

  // --- the photo on its way -----------------------------------------------------------------------------------------
  const picture = h("canvas", { role: "img" }), caption = h("figcaption");
  function drawPicture() {
    if (!seen || !moves) return;
    const s = places[i];
    let out = 0;
    paint(picture, seen.size, (k, rgba, at) => {
      for (let c = 0; c < 3; c++) {
        const level = seen.values[3 * k + c] + s * moves[3 * k + c];
        rgba[at + c] = level; // rounded, and what lies outside 0 to 255 is cut off
        out += level < -0.5 || level > 255.5;
      }
    });
    const cut = Math.round((100 * out) / moves.length);
    const { far, direction: along } = kernel.way, there = NAMES[along]?.replace("towards ", "");
    const beyond = far && s > 1.02 * far ? `; beyond ${there}, which is at ${levels(far)}: ` +
      (along === "grey" ? "its colours are those of a negative" : "more than the whole difference is added") : "";
    caption.textContent = `I₀ + s·d, s = ${levels(s)}${beyond}` + (cut ? `; ${cut} % of its values lie outside 0 to 255 and are drawn cut off` : "");
    picture.setAttribute("aria-label", `${words(model.get("photo"))}, ${levels(s)} ${NAMES[kernel.way.direction]}`);
  }

  // --- score and line -----------------------------------------------------------------------------------------------
  const box = h("div");
  box.innerHTML = CHART;
  const chart = box.firstChild, part = (name) => chart.querySelector(`.${name}`);
  const clip = `frame-${Math.random().toString(36).slice(2)}`;
  chart.querySelector("clipPath").id = clip;
  part("inside").setAttribute("clip-path", `url(#${clip})`);
  const readout = h("p", { class: "readout", "aria-live": "polite" });
  const set = (name, values) => Object.entries(values).forEach(([key, value]) => part(name).setAttribute(key, value));
  let most = 1;

  function drawWalk() {
    if (!walk) return;
    const { scores, score, slope, holds, label, direction: along } = walk, s = places[i];
    const chosen = reach.value === "auto" ? walk.reach : Number(reach.value);
    most = Math.max(chosen, reaches.find((r) => r >= Math.abs(s)));
    const known = places.flatMap((place, k) => (Number.isFinite(scores[k]) ? [[place, scores[k]]] : []));
    const inside = known.filter(([place]) => Math.abs(place) <= most).map(([, y]) => y);
    let low = Math.min(...inside), high = Math.max(...inside);
    const air = 0.12 * (high - low) || 1;
    [low, high] = [low - air, high + air];
    const across = (x) => (LEFT + RIGHT) / 2 + (x / most) * (RIGHT - LEFT) / 2;
    const down = (y) => BOTTOM - ((y - low) / (high - low)) * (BOTTOM - TOP);
    const path = (points) => points.map(([x, y], k) => `${k ? "L" : "M"}${across(x).toFixed(2)} ${down(y).toFixed(2)}`).join("");
    const [from, to] = holds.map((x) => across(Math.max(-most, Math.min(most, x))));
    set("holds", { x: from, width: to - from });
    const xs = [-most, -most / 2, 0, most / 2, most], ys = ticks(low, high);
    set("ticks", { d: `M${LEFT} ${TOP}H${RIGHT}V${BOTTOM}H${LEFT}Z` + xs.map((x) => `M${across(x)} ${BOTTOM}v5`).join("") +
      ys.map((y) => `M${LEFT} ${down(y)}h-5`).join("") });
    part("texts").innerHTML = xs.map((x) => `<text x="${across(x)}" y="${BOTTOM + 19}" text-anchor="middle">${number(x)}</text>`).join("") +
      ys.map((y) => `<text x="${LEFT - 8}" y="${down(y)}" dy="4" text-anchor="end">${number(y, 6)}</text>`).join("");
    set("score", { d: path(known) });
    set("dots", { d: known.map((point) => `${path([point])}h0`).join("") });
    set("line", { d: path([-most, most].map((x) => [x, score + slope * x])) });
    set("here", { d: `M${across(s)} ${TOP}V${BOTTOM}` });
    const there = scores[i], line = score + slope * s, held = `from ${number(holds[0], 2)} to ${number(holds[1], 2)} levels`;
    set("on-line", { cx: across(s), cy: down(line) });
    set("on-score", { cx: across(s), cy: down(Number.isFinite(there) ? there : line) });
    const far = `the line is within 1 of the score ${held}`;
    chart.setAttribute("aria-label", `Score of ${label} and its straight line ${NAMES[along]}, s from ${number(-most)} to ${levels(most)}: ` +
      `score ${number(score, 4)} and slope ${number(slope)} per level at s = 0; the score runs from ${number(Math.min(...inside), 4)} to ` +
      `${number(Math.max(...inside), 4)}; ${far}`);
    readout.textContent = `${label}, s = ${levels(s)}: ` + (Number.isFinite(there) ?
      `score ${number(there, 4)}, line ${number(score, 4)} ${slope * s < 0 ? "−" : "+"} ${number(Math.abs(slope * s), 3)} = ${number(line, 4)}, ` +
      `difference ${number(Number((there - line).toFixed(3)))}` : "this score is being computed") +
      `. Walking ${NAMES[along]}, ${far}${walk.done ? "" : " so far"} (shaded); its slope is ${number(slope)} per level.`;
  }
  const drag = (event) => {
    if (!walk || (event.type === "pointermove" && !event.buttons)) return;
    const { left, width } = chart.getBoundingClientRect(), x = (((event.clientX - left) / width) * WIDE - LEFT) / (RIGHT - LEFT);
    const s = Math.max(-most, Math.min(most, (2 * x - 1) * most));
    const near = places.reduce((best, place, k) => (Math.abs(place - s) < Math.abs(places[best] - s) ? k : best), 0);
    way.put(near);
    go(near);
  };
  chart.addEventListener("pointerdown", drag);
  chart.addEventListener("pointermove", drag);

  // --- all of it ----------------------------------------------------------------------------------------------------
  const key = (name, text) => h("span", { class: `key ${name}` }, text);
  const parts = [
    h("div", { class: "row" }, ...photoControls({ model, kernel, follow }), h("label", {}, "walk", direction)),
    ...classes.parts,
    status,
    h("div", { class: "row" }, way.label, home, h("label", {}, "the chart shows", reach)),
    h("div", { class: "row top" },
      h("figure", {}, picture, caption),
      h("figure", { class: "walk" }, chart, h("figcaption", {}, key("score", "score S_c(I₀ + s·d)"), key("line", "line S_c(I₀) + s·wᵀd"),
        key("holds", "they are at most 1 apart")))),
    readout,
    h("p", { class: "note" }, "A level of s is the root mean square over all values of the photo: along w a few pixels move by far more than one " +
      "level and most by less. Along the sign of w, as in “one level up or down in every value”, the slope is another number."),
  ];
  return { parts, draws: {
    classes: classes.draw,
    photo: ({ size, buffers }) => {
      seen = { size, values: bytes(buffers[0], Float32Array) };
      moves = null; // that of the photo before
    },
    way: ({ buffers }) => { moves = bytes(buffers[0], Float32Array); drawPicture(); },
    walk: (told) => { walk = { ...told, scores: bytes(told.buffers[0], Float64Array) }; drawWalk(); },
  } };
}

export default explorer("taylor", build);
