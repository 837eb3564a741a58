// The browser's half of the sanity explorer: the slider says how many layers are random, the kernel answers with maps and
// then with how alike they are. Told are "classes", "photo", "trained", "maps", and "likeness", of all places visited so far.

import { button, classControls, numberField, photoControls, slider } from "../kit/controls.js";
import { h } from "../kit/elements.js";
import { explorer } from "../kit/explorer.js";
import { paint } from "../kit/pictures.js";
import { bytes } from "../pure/bytes.js";
import { palettesOf, put } from "../pure/colours.js";
import { clamp, probability } from "../pure/numbers.js";

const NAMES = { gradient: "gradient", deconvnet: "DeconvNet", guided: "guided" };
const WIDE = 224, HIGH = 96, LEFT = 20, RIGHT = 218, TOP = 8, BOTTOM = 76; // of a chart and of the frame in it
const LEAST = -0.25; // of the axis: now and then a rank correlation is less than 0; the number says what the curve cuts off below this
const down = (value) => BOTTOM - ((Math.max(LEAST, value) - LEAST) / (1 - LEAST)) * (BOTTOM - TOP);

function build({ model, kernel, on, follow, status }) {
  const { heat } = palettesOf(model), layers = model.get("layers"), most = layers.length;
  const classes = classControls({ model, kernel, on });
  const reached = (k) => (k === 0 ? "none: the trained network" : `${k} of ${most}, down to ${layers[k - 1]}`);
  const share = (value) => (value === null ? "–" : value.toFixed(2).replace("-", "−"));
  let playing = false;

  // --- controls -----------------------------------------------------------------------------------------------------
  const go = (k) => kernel.set({ down_to: k });
  const depth = slider("random layers, from the last one down", { min: 0, max: most, step: 1,
    value: model.get("down_to"), says: reached }, (k) => { play(false); go(k); });
  follow(["down_to"], () => depth.put(model.get("down_to")));
  const player = button("", () => play(!playing));
  function play(yes) {
    playing = yes;
    player.textContent = yes ? "stop" : "forget layer by layer";
    if (yes) go(model.get("down_to") < most ? model.get("down_to") + 1 : 0);
  }
  play(false);
  const draw = numberField({ min: 0, step: 1 }, (value) => kernel.set({ random_state: value }));
  follow(["random_state"], () => { draw.value = model.get("random_state"); });

  // --- pictures, one column a method --------------------------------------------------------------------------------
  const frame = () => h("canvas", { role: "img", width: 1, height: 1 });
  const picture = frame(), subject = h("p", { class: "subject" }), verdict = h("div", { class: "verdict", "aria-live": "polite" });
  const columns = model.get("methods").map((method) => ({ method, before: frame(), now: frame(), which: h("figcaption"),
    says: h("p", { class: "says", "aria-live": "polite" }), curve: chart() }));

  function paintMap(canvas, told, i) {
    const levels = bytes(told.buffers[i], Uint8Array);
    paint(canvas, told.size, (k, rgba, at) => put(rgba, at, heat, 3 * levels[k]));
  }
  function drawPhoto({ size, buffers }) {
    const levels = bytes(buffers[0], Uint8Array);
    paint(picture, size, (k, rgba, at) => put(rgba, at, levels, 3 * k));
    picture.setAttribute("aria-label", `The photo as the network saw it, ${size[1]} rows by ${size[0]} columns`);
  }
  function drawTrained(told) {
    const { label: text, class_index: c, probability: p } = told.prediction;
    subject.textContent = `Maps of ${text} (${c}): P_c ${probability(p)} in the trained network.`;
    columns.forEach(({ method, before }, i) => {
      paintMap(before, told, i);
      before.setAttribute("aria-label", `${NAMES[method]} map of ${text} in the trained network`);
    });
  }
  function drawMaps(told) {
    const k = told.down_to, random = k ? `last ${k} layer${k > 1 ? "s" : ""} random` : "no layer random";
    columns.forEach(({ method, now, which }, i) => {
      paintMap(now, told, i);
      now.setAttribute("aria-label", `${NAMES[method]} map, ${random}`);
      which.textContent = random;
    });
  }

  // --- how alike, in numbers and as a curve -------------------------------------------------------------------------
  const across = (k) => LEFT + (k / most) * (RIGHT - LEFT);

  function chart() {
    const box = h("div");
    box.innerHTML = `<svg class="chart" role="img" viewBox="0 0 ${WIDE} ${HIGH}">
      <path class="frame" d="M${LEFT} ${TOP}H${RIGHT}V${BOTTOM}H${LEFT}ZM${LEFT} ${down(0)}H${RIGHT}" /><path class="here" />
      <path class="ssim" /><path class="rank" /><path class="ssim dots" /><path class="rank dots" />
      <text x="${LEFT - 5}" y="${TOP + 8}" text-anchor="end">1</text><text x="${LEFT - 5}" y="${down(0) + 3}" text-anchor="end">0</text>
      <text x="${LEFT}" y="${HIGH - 5}">trained</text><text x="${RIGHT}" y="${HIGH - 5}" text-anchor="end">all random</text></svg>`;
    const curve = box.firstChild;
    curve.addEventListener("click", (event) => {
      const { left, width } = curve.getBoundingClientRect(), x = ((event.clientX - left) / width) * WIDE;
      play(false);
      go(clamp(Math.round(((x - LEFT) / (RIGHT - LEFT)) * most), most));
    });
    return curve;
  }
  /** Neighbours are joined; a place that nobody has been to leaves a gap. */
  const line = (points) => points.map(([k, y], i) => `${points[i - 1]?.[0] === k - 1 ? "L" : "M"}${across(k).toFixed(1)} ${down(y).toFixed(1)}`).join("");
  const dots = (points) => points.map(([k, y]) => `M${across(k).toFixed(1)} ${down(y).toFixed(1)}h0`).join("");

  function drawLikeness({ down_to: k, known, now, top }) {
    columns.forEach(({ method, says, curve }, i) => {
      const [rank, ssim] = [0, 1].map((j) => known.map(([at, all]) => [at, all[i][j]]).filter(([, value]) => value !== null));
      const set = (name, d) => curve.querySelector(name).setAttribute("d", d);
      set(".rank", line(rank));
      set(".ssim", line(ssim));
      set(".rank.dots", dots(rank));
      set(".ssim.dots", dots(ssim));
      set(".here", `M${across(k)} ${TOP}V${BOTTOM}`);
      const here = known.find(([at]) => at === k)[1][i];
      says.textContent = `rank correlation ${share(here[0])}, SSIM ${share(here[1])}`;
      curve.setAttribute("aria-label", `${NAMES[method]}, how like the trained network's map, over the number of random layers; ` +
        `rank correlation and SSIM: ${known.map(([at, all]) => `${at}: ${share(all[i][0])} and ${share(all[i][1])}`).join("; ")}`);
    });
    const bar = h("i", { "aria-hidden": "true" });
    bar.style.width = `${100 * top.probability}%`;
    verdict.replaceChildren("This network says ", h("b", {}, top.label), `, P_c ${probability(top.probability)}`, h("div", { class: "bar" }, bar),
      top.class_index === now.class_index ? "" : `${now.label}: P_c ${probability(now.probability)}`);
    if (playing && k === model.get("down_to")) {
      if (k < most) go(k + 1);
      else play(false);
    }
  }

  const key = (name, text) => h("span", { class: `key ${name}` }, text);
  const column = (title, ...rest) => h("figure", {}, h("h4", {}, title), ...rest);
  const parts = [
    h("div", { class: "row" }, ...photoControls({ model, kernel, follow }), h("label", {}, "draw of the random weights", draw)),
    ...classes.parts,
    h("div", { class: "row depth" }, depth.label, player),
    status, subject,
    h("div", { class: "columns" },
      column("photo", picture, h("figcaption", {}, "as the network saw it"), verdict, h("p", {}, "How like the map above?"),
        key("rank", "rank correlation"), key("ssim", "SSIM")),
      ...columns.map(({ method, before, now, which, says, curve }) =>
        column(NAMES[method], before, h("figcaption", {}, "trained network"), now, which, says, curve))),
    h("p", {}, "Each map is drawn from black for 0 to yellow for its own 99.5 % quantile: only its pattern counts, not its size."),
  ];
  return { parts, draws: { classes: classes.draw, photo: drawPhoto, trained: drawTrained, maps: drawMaps, likeness: drawLikeness } };
}

export default explorer("sanity", build);
