// The browser half of the class-model studio. It keeps every picture and score, so it scrubs, stretches and draws
// curves without the kernel. Messages from the kernel: "state" and "steps", each with its run, and "film".

import { classSearch } from "../kit/classes.js";
import { button, options, select, traitNumber } from "../kit/controls.js";
import { h, labelled, row } from "../kit/elements.js";
import { explorer } from "../kit/explorer.js";
import { Kernel } from "../kit/kernel.js";
import { uploadField } from "../kit/photo.js";
import { canvas, describe, paintRgb } from "../kit/pictures.js";
import { bytes } from "../pure/bytes.js";
import { number, significant, spaced } from "../pure/numbers.js";
import { withRivals } from "../pure/ranks.js";
import { stretch } from "../pure/stretch.js";
import { texts } from "../texts/en.js";

const T = texts.classModel;
const RIVALS = 3;
const COLOURS = ["#0072b2", "#c85a00", "#008a63", "#b0508a"]; // 3:1 and more on white and on black
const DASHES = [[], [6, 3], [2, 3], [9, 3, 2, 3]]; // distinct without colours too

/** All that the kernel has sent, shared by every view of one widget. */
class Film extends Kernel {
  progress = { run: 0, about: {}, state: "ready", message: "", rate: 0, begun: "" };
  values = [];
  scores = [];
  pictures = new Map();
  numbers = []; // of the steps that have a picture
  looked = 0;
  making = "";
  get message() {
    return this.progress.message;
  }
  get settled() {
    return this.progress.kind === "state";
  }
  /** The number of the step on show: the chosen one, otherwise the latest with a picture. */
  get number() {
    return this.looked || this.numbers.at(-1) || 0;
  }
  get done() {
    return this.values.length;
  }
  say(message) {
    clearTimeout(this.waiting);
    this.progress.message = message;
    this.tell();
  }
  tell() {
    const { state, message } = this.progress;
    const words = [T.states[state](this.done), message].filter(Boolean).join(" ");
    this.state = { busy: false, message: this.making ? T.making(this.making.toUpperCase()) : words };
    this.film = {}; // something new to draw
    super.tell();
  }
  take(content, buffers) {
    if (content.state === "running") this.expect();
    if (content.kind === "film") return this.offer(content, buffers);
    if (content.run < this.progress.run) return;
    if (content.run > this.progress.run) {
      Object.assign(this, { values: [], scores: [], pictures: new Map(), numbers: [], looked: 0 });
    }
    this.progress = content;
    if (content.values) this.append(content, buffers);
    this.tell();
  }
  append({ first, values, size }, buffers) {
    const scores = bytes(buffers[0], Float32Array);
    const classes = scores.length / values.length;
    values.forEach((value, i) => {
      this.values[first + i] = value;
      this.scores[first + i] = scores.subarray(i * classes, (i + 1) * classes);
    });
    this.pictures.set(first + values.length, { size, rgb: bytes(buffers[1], Uint8Array) });
    this.numbers = [...this.pictures.keys()].sort((a, b) => a - b);
  }
  offer({ name, message }, buffers) {
    if (name) {
      const url = URL.createObjectURL(new Blob([bytes(buffers[0], Uint8Array)]));
      h("a", { href: url, download: name }).click();
      setTimeout(() => URL.revokeObjectURL(url), 1000);
    }
    this.progress.message = message;
    this.making = "";
    this.tell();
  }
}

function build(tools) {
  const { model, kernel: film, on, redraw, status, undo } = tools;
  const about = h("p");
  const buttons = runButtons(film);
  const scrub = scrubber(film);
  const climb = pictureAndCurves(model, film);
  const films = ["gif", "webp"].map((type) =>
    ableButton(T.films[type], () => {
      film.making = type;
      film.tell();
      film.ask({ do: "film", type });
    }),
  );
  on("change:contrast", () => redraw("film"));
  on("change:recipe", () => redraw("film"));
  const theme = new MutationObserver(() => redraw("film"));
  theme.observe(document.body, { attributes: true });
  undo.push(() => theme.disconnect());
  function draw() {
    about.textContent = [model.get("recipe"), film.progress.begun].filter(Boolean).join(" ");
    buttons.draw();
    films.forEach((each) => able(each, film.done && !film.making));
    scrub.draw();
    climb.draw();
  }
  const parts = [
    row(...settings(tools)),
    about,
    h("div", { class: "row buttons" }, ...buttons.parts),
    status,
    h("div", { class: "views" }, ...climb.parts),
    scrub.part,
    row(labelled(T.contrast, keptSelect(tools, "contrast", T.contrasts)), ...films),
  ];
  return { parts, draws: { film: draw } };
}

/** A drop-down of a trait that the kernel does not answer. */
function keptSelect({ model, kernel, follow }, trait, pairs) {
  const field = select(pairs, (value) => kernel.keep({ [trait]: value }));
  follow([trait], () => {
    field.value = model.get(trait);
  });
  return field;
}

function settings(tools) {
  const { model, kernel, on } = tools;
  const start = keptSelect(tools, "start", []);
  const fill = () => {
    const starts = ["zero", "noise", ...model.get("photos")];
    start.replaceChildren(...options(starts.map((name) => [name, T.starts[name] || T.startPhoto(spaced(name))])));
    start.value = model.get("start");
  };
  on("change:photos", fill);
  fill();
  return [
    classSearch(tools, T.search, { named: true }),
    labelled(T.preset, keptSelect(tools, "preset", T.presets)),
    labelled(T.objective, keptSelect(tools, "objective", T.objectives)),
    traitNumber(tools, "regularisation", T.penalty, { min: 0, step: "any" }),
    traitNumber(tools, "length", T.steps, { min: 1, max: model.get("most_steps") }),
    labelled(T.start, start),
    uploadField(kernel, T.start),
  ];
}

/** A button that keeps the focus while it is disabled. */
function ableButton(text, action) {
  const each = button(text, () => {
    if (each.getAttribute("aria-disabled") !== "true") action();
  });
  return each;
}

const able = (control, yes) => control.setAttribute("aria-disabled", String(!yes));

/** Run, pause, step and reset, and the progress of the run. */
function runButtons(film) {
  const ask = (what) => {
    film.looked = 0;
    film.ask({ do: what });
  };
  const [run, pause, step, reset] = Object.entries(T.buttons).map(([what, text]) => ableButton(text, () => ask(what)));
  run.className = "first";
  const bar = h("progress", { "aria-label": T.stepsDone, value: 0 });
  const pace = h("span");
  function draw() {
    const { about, state, rate } = film.progress;
    const { done } = film;
    const total = about.total || 0;
    Object.assign(bar, { max: total || 1, value: done });
    const left = state === "running" && rate ? T.left(Math.ceil((total - done) / rate)) : "";
    pace.textContent = T.stepOf(done, total) + (rate ? T.rate(significant(rate, 2)) : "") + left;
    able(run, state !== "running");
    able(pause, state === "running");
  }
  return { parts: [run, pause, step, reset, bar, pace], draw };
}

/** A slider over the steps that have a picture. */
function scrubber(film) {
  const back = h("span", {}, T.back);
  const range = h("input", { type: "range", min: 0, max: 0, step: 1, value: 0 });
  range.addEventListener("input", () => {
    const i = range.valueAsNumber;
    film.looked = i === film.numbers.length - 1 ? 0 : film.numbers[i];
    film.tell();
  });
  range.addEventListener("change", () => film.keep({ shown: film.looked }));
  function draw() {
    const { numbers, number: n } = film;
    back.textContent = T.back + (numbers.length < film.done ? T.backToSome(numbers.length) : "");
    Object.assign(range, { max: Math.max(numbers.length - 1, 0), value: numbers.indexOf(n) });
    range.setAttribute("aria-valuetext", n ? T.stepOf(n, film.progress.about.total || 0) : T.noStep);
  }
  return { part: h("label", { class: "scrub" }, back, range), draw };
}

/** The picture of the step on show, and the curves of all steps. */
function pictureAndCurves(model, film) {
  const labels = model.get("labels");
  const picture = canvas({ class: "picture", width: 224, height: 224 });
  const caption = h("figcaption", { class: "shown" });
  const curves = canvas({ class: "curves" });
  const legend = legendTable();
  function draw() {
    const { about } = film.progress;
    const { number: n } = film;
    const value = film.values[n - 1];
    const scores = film.scores[n - 1];
    const classes = value ? withRivals(scores, about.target, RIVALS) : [];
    const rows = classes.map((c) => [labels[c], significant(scores[c])]);
    const stretched = model.get("contrast") === "stretched";
    drawPicture(picture, film.pictures.get(n), stretched);
    picture.dataset.step = n;
    caption.textContent = n ? T.caption(about, n, significant(value[0]), chance(value[1]), stretched) : T.noPicture;
    describe(picture, n ? T.picture(caption.textContent) : T.noPicture);
    drawCurves(curves, film, classes);
    describe(curves, value ? curvesInWords(film, rows) : T.noCurves);
    legend.draw(rows);
  }
  const parts = [h("figure", {}, picture, caption), h("figure", {}, curves, legend.table)];
  return { parts, draw };
}

const chance = (p) => (p > 0.9995 ? "> 0.999" : significant(p));

function curvesInWords(film, rows) {
  const { about } = film.progress;
  const [first, last] = [film.values[0], film.values[film.done - 1]];
  const ends = [significant(first[0]), significant(last[0]), chance(first[1]), chance(last[1])];
  const rivals = rows.slice(1).map((line) => line.join(" "));
  return T.curves(film.done, about.label, ends, leap(film), film.number, rivals.join(", "));
}

function drawPicture(picture, shown, stretched) {
  if (!shown) return picture.getContext("2d").clearRect(0, 0, picture.width, picture.height);
  paintRgb(picture, shown.size, stretched ? stretch(shown.rgb) : shown.rgb);
}

/** The note on a last step that multiplies the image and is no step of the ascent; empty before that step. */
function leap(film) {
  const { total, contrast, target } = film.progress.about;
  const last = film.scores[total - 1];
  return !last || contrast === 1 || total < 2 ? "" : T.leap(contrast, significant(last[target]));
}

const [WIDE, HIGH, LEFT, RIGHT] = [300, 264, 36, 292]; // of the curves and of the frames in them

function drawCurves(curves, film, classes) {
  const scale = window.devicePixelRatio || 1;
  Object.assign(curves, { width: WIDE * scale, height: HIGH * scale });
  const pen = curves.getContext("2d");
  const ink = getComputedStyle(curves).color;
  pen.scale(scale, scale);
  pen.font = "11px system-ui, sans-serif";
  const total = film.progress.about.total || 1;
  const x = (i) => LEFT + ((RIGHT - LEFT) * i) / Math.max(total - 1, 1);
  // The score leaps in a last step that multiplies the image: it is written, so that the curve keeps its scale.
  const apart = leap(film);
  const steps = film.values.map((_, i) => i);
  const climb = apart ? steps.slice(0, -1) : steps;
  const all = climb.flatMap((i) => classes.map((c) => film.scores[i][c]));
  const [low, high] = all.length ? [Math.min(...all), Math.max(...all)] : [0, 1];
  const scores = classes.map((c) => climb.map((i) => [x(i), film.scores[i][c]]));
  const chances = [steps.map((i) => [x(i), film.values[i][1]])];
  const here = film.number && x(film.number - 1);
  drawPanel(pen, ink, { top: 16, bottom: 138, name: T.scoreCurves, low, high, here }, scores);
  write(pen, ink, "right", apart, RIGHT, 151);
  drawPanel(pen, ink, { top: 174, bottom: 242, name: T.chanceCurve, low: 0, high: 1, here }, chances);
  write(pen, ink, "right", T.stepNumber(total), RIGHT, 258);
  write(pen, ink, "left", "1", LEFT, 258);
}

function write(pen, ink, textAlign, text, x, y) {
  Object.assign(pen, { fillStyle: ink, textAlign });
  pen.fillText(text, x, y);
}

/** A frame with the ends of its scale, its curves, and a line at the step on show. */
function drawPanel(pen, ink, { top, bottom, name, low, high, here }, curves) {
  const y = (value) => bottom - ((bottom - top) * (value - low)) / (high - low || 1);
  const stroke = (points, strokeStyle, lineWidth, dashes) => {
    Object.assign(pen, { strokeStyle, lineWidth });
    pen.setLineDash(dashes);
    pen.beginPath();
    points.forEach((point) => pen.lineTo(...point));
    pen.stroke();
  };
  Object.assign(pen, { strokeStyle: ink, lineWidth: 1 });
  pen.setLineDash([]);
  pen.strokeRect(LEFT, top, RIGHT - LEFT, bottom - top);
  write(pen, ink, "left", name, LEFT, top - 4);
  write(pen, ink, "right", number(high), LEFT - 4, top + 8);
  write(pen, ink, "right", number(low), LEFT - 4, bottom);
  curves.forEach((curve, k) => {
    const points = curve.map(([x, value]) => [x, y(value)]);
    stroke(points, COLOURS[k], k ? 1.5 : 2.5, DASHES[k]);
  });
  if (here)
    stroke(
      [
        [here, top],
        [here, bottom],
      ],
      ink,
      1,
      [],
    );
}

/** One line per class, made once for each set of classes; the scores change in place. */
function legendTable() {
  const table = h("table");
  let names = "";
  const line = (k) => {
    const sample = h("canvas", { width: 28, height: 8, "aria-hidden": "true" });
    const pen = sample.getContext("2d");
    Object.assign(pen, { strokeStyle: COLOURS[k], lineWidth: k ? 2 : 3 });
    pen.setLineDash(DASHES[k]);
    pen.stroke(new Path2D("M0 4H28"));
    return sample;
  };
  function draw(rows) {
    const now = rows.map(([label]) => label).join("\n");
    if (now !== names) {
      const lines = rows.map(([label], k) =>
        h("tr", {}, h("td", {}, line(k)), h("th", { scope: "row" }, label), h("td")),
      );
      table.replaceChildren(...lines);
    }
    names = now;
    rows.forEach(([, score], k) => {
      table.rows[k].cells[2].textContent = score;
    });
  }
  return { table, draw };
}

export default explorer("class-model", build, Film);
