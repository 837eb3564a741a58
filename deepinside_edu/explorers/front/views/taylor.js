// The browser half of the Taylor explorer. It has the photo, the direction and the scores, so it draws the picture and
// the numbers of a walk without the kernel. Messages from the kernel: "classes", "photo", "way" and "walk".

import { classControls } from "../kit/classes.js";
import { button, select, slider, traitSelect } from "../kit/controls.js";
import { h, labelled, row, svg, unique } from "../kit/elements.js";
import { explorer } from "../kit/explorer.js";
import { photoControls } from "../kit/photo.js";
import { canvas, describe, paint } from "../kit/pictures.js";
import { bytes } from "../pure/bytes.js";
import { clamp, number, spaced } from "../pure/numbers.js";
import { ticks } from "../pure/ticks.js";
import { texts } from "../texts/en.js";

const T = texts.taylor;
const SLOW = 200; // milliseconds, after which the kernel learns where a walk stopped
const [WIDE, HIGH, LEFT, RIGHT, TOP, BOTTOM] = [460, 272, 56, 448, 10, 226]; // of the chart and of the frame in it
const MIDDLE = (LEFT + RIGHT) / 2;
const CHART = `<svg class="chart" role="img" viewBox="0 0 ${WIDE} ${HIGH}">
  <clipPath><rect x="${LEFT}" y="${TOP}" width="${RIGHT - LEFT}" height="${BOTTOM - TOP}" /></clipPath>
  <rect class="holds" y="${TOP}" height="${BOTTOM - TOP}" /><path class="ticks" /><g class="texts"></g>
  <g class="inside"><path class="score" /><path class="line" /><path class="dots" /><path class="here" />
  <circle class="on-line" r="5" /><circle class="on-score" r="5" /></g>
  <text x="${MIDDLE}" y="${HIGH - 6}" text-anchor="middle">${T.across}</text>
  <text transform="translate(13 ${(TOP + BOTTOM) / 2}) rotate(-90)" text-anchor="middle">${T.up}</text></svg>`;

const levels = (s) => T.levels(number(s));

function build(tools) {
  const { model, kernel, follow, status, undo } = tools;
  const places = model.get("places");
  const classes = classControls(tools);
  const direction = traitSelect(tools, "direction", Object.entries(T.directions));
  const reaches = model.get("reaches");
  const reach = select([["auto", T.auto], ...reaches.map((r) => [r, `± ${levels(r)}`])], () => chart.draw());
  const picture = walkingPicture(tools);
  const chart = walkChart({ places, reaches, reach }, (k) => {
    way.put(k);
    go(k);
  });
  let i = places.indexOf(model.get("s"));
  let saved;
  const move = () => {
    picture.draw(places[i]);
    chart.draw(i);
  };
  /** The page follows at once; the kernel learns where the walk stopped. */
  function go(to) {
    i = to;
    clearTimeout(saved);
    saved = setTimeout(() => kernel.keep({ s: places[i] }), SLOW);
    move();
  }
  undo.push(() => clearTimeout(saved));
  const range = { min: 0, max: places.length - 1, step: 1, value: i, says: (k) => levels(places[k]) };
  const way = slider(T.way, range, go);
  const home = button(T.home, () => {
    way.put(places.indexOf(0));
    go(places.indexOf(0));
  });
  follow(["s"], () => {
    if (places[i] === model.get("s")) return;
    i = places.indexOf(model.get("s"));
    way.put(i);
    move();
  });
  const key = ([name, text]) => h("span", { class: `key ${name}` }, text);
  const walk = h("figure", { class: "walk" }, chart.part, h("figcaption", {}, ...Object.entries(T.keys).map(key)));
  const parts = [
    row(...photoControls(tools), labelled(T.walk, direction)),
    classes.list,
    row(classes.search),
    status,
    row(way.label, home, labelled(T.shows, reach)),
    h("div", { class: "row top" }, picture.part, walk),
    chart.readout,
    h("p", { class: "note" }, T.note),
  ];
  const draws = {
    classes: classes.draw,
    photo: picture.start,
    way: ({ buffers }) => picture.turn(bytes(buffers[0], Float32Array), places[i]),
    walk: (message) => chart.draw(i, { ...message, scores: bytes(message.buffers[0], Float64Array) }),
  };
  return { parts, draws };
}

/** The photo on its way: I₀ + s·d. */
function walkingPicture({ model, kernel }) {
  const picture = canvas();
  const caption = h("figcaption");
  let seen;
  let moves;
  function draw(s) {
    if (!seen || !moves) return;
    let out = 0;
    paint(picture, seen.size, (k, rgba, at) => {
      for (let c = 0; c < 3; c++) {
        const level = seen.values[3 * k + c] + s * moves[3 * k + c];
        rgba[at + c] = level; // rounded and clipped to 0 to 255
        out += level < -0.5 || level > 255.5;
      }
    });
    const { far, direction } = kernel.way;
    const beyond = far && s > 1.02 * far ? T.beyond(direction, number(far)) : "";
    const cut = Math.round((100 * out) / moves.length);
    caption.textContent = T.caption(number(s), beyond, cut);
    describe(picture, T.picture(spaced(model.get("photo")), number(s), direction));
  }
  return {
    part: h("figure", {}, picture, caption),
    draw,
    start: ({ size, buffers }) => {
      seen = { size, values: bytes(buffers[0], Float32Array) };
      moves = null; // the moves belong to the last photo
    },
    turn: (to, s) => {
      moves = to;
      draw(s);
    },
  };
}

/** The score along the walk and its straight line; a dragged pointer calls `stroll(k)` with its place. */
function walkChart({ places, reaches, reach }, stroll) {
  const part = svg(CHART);
  const inner = (name) => part.querySelector(`.${name}`);
  const clip = unique("frame");
  part.querySelector("clipPath").id = clip;
  inner("inside").setAttribute("clip-path", `url(#${clip})`);
  const readout = h("p", { class: "readout", "aria-live": "polite" });
  const set = (name, values) => Object.entries(values).forEach(([key, value]) => inner(name).setAttribute(key, value));
  let walk;
  let i = 0;
  let most = 1;

  function draw(at = i, message = walk) {
    i = at;
    walk = message;
    if (!walk) return;
    const s = places[i];
    const chosen = reach.value === "auto" ? walk.reach : Number(reach.value);
    most = Math.max(
      chosen,
      reaches.find((r) => r >= Math.abs(s)),
    );
    const known = places.flatMap((place, k) => (Number.isFinite(walk.scores[k]) ? [[place, walk.scores[k]]] : []));
    const inside = known.filter(([place]) => Math.abs(place) <= most).map(([, y]) => y);
    const ends = { low: Math.min(...inside), high: Math.max(...inside) };
    const here = { s, there: walk.scores[i], line: walk.score + walk.slope * s };
    drawCurves({ set, inner }, axes(ends, most), walk, known, here);
    const holds = T.holds(...walk.holds.map((x) => number(x, 2)));
    const reached = [ends.low, ends.high].map((y) => number(y, 4));
    const line = [number(walk.score, 4), number(walk.slope)];
    const across = [number(-most), number(most)];
    describe(part, T.chart(walk.label, walk.direction, across, ...line, reached, holds));
    readout.textContent = inWords(walk, here, holds);
  }
  const drag = (event) => {
    if (!walk || (event.type === "pointermove" && !event.buttons)) return;
    const { left, width } = part.getBoundingClientRect();
    const x = (((event.clientX - left) / width) * WIDE - LEFT) / (RIGHT - LEFT);
    const s = clamp((2 * x - 1) * most, most, -most);
    stroll(places.reduce((best, place, k) => (Math.abs(place - s) < Math.abs(places[best] - s) ? k : best), 0));
  };
  part.addEventListener("pointerdown", drag);
  part.addEventListener("pointermove", drag);
  return { part, readout, draw };
}

/** The score at s beside the line, and how far the line holds. */
function inWords({ label, direction, score, slope, done }, { s, there, line }, holds) {
  const way = `${slope * s < 0 ? "−" : "+"} ${number(Math.abs(slope * s), 3)}`;
  const numbers = [there, score].map((y) => number(y, 4));
  const difference = number(Number((there - line).toFixed(3)));
  const sum = Number.isFinite(there) ? T.sum(...numbers, way, number(line, 4), difference) : T.computed;
  return T.read(label, number(s), sum, direction, holds, done, number(slope));
}

/** From s and scores to places in the chart. */
function axes({ low, high }, most) {
  const air = 0.12 * (high - low) || 1;
  const [bottom, top] = [low - air, high + air];
  const across = (x) => MIDDLE + ((x / most) * (RIGHT - LEFT)) / 2;
  const down = (y) => BOTTOM - ((y - bottom) / (top - bottom)) * (BOTTOM - TOP);
  const path = (points) =>
    points.map(([x, y], k) => `${k ? "L" : "M"}${across(x).toFixed(2)} ${down(y).toFixed(2)}`).join("");
  return { most, across, down, path, xs: [-most, -most / 2, 0, most / 2, most], ys: ticks(bottom, top) };
}

function drawCurves({ set, inner }, { most, across, down, path, xs, ys }, walk, known, { s, there, line }) {
  const [from, to] = walk.holds.map((x) => across(clamp(x, most, -most)));
  set("holds", { x: from, width: to - from });
  const frame = `M${LEFT} ${TOP}H${RIGHT}V${BOTTOM}H${LEFT}Z`;
  const below = xs.map((x) => `M${across(x)} ${BOTTOM}v5`);
  const beside = ys.map((y) => `M${LEFT} ${down(y)}h-5`);
  set("ticks", { d: [frame, ...below, ...beside].join("") });
  const numbers = [
    ...xs.map((x) => `<text x="${across(x)}" y="${BOTTOM + 19}" text-anchor="middle">${number(x)}</text>`),
    ...ys.map((y) => `<text x="${LEFT - 8}" y="${down(y)}" dy="4" text-anchor="end">${number(y, 6)}</text>`),
  ];
  inner("texts").innerHTML = numbers.join("");
  set("score", { d: path(known) });
  set("dots", { d: known.map((point) => `${path([point])}h0`).join("") });
  set("line", { d: path([-most, most].map((x) => [x, walk.score + walk.slope * x])) });
  set("here", { d: `M${across(s)} ${TOP}V${BOTTOM}` });
  set("on-line", { cx: across(s), cy: down(line) });
  set("on-score", { cx: across(s), cy: down(Number.isFinite(there) ? there : line) });
}

export default explorer("taylor", build);
