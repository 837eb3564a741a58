// The browser's half of the class-model studio: it keeps every picture and score that came, so that scrubbing, contrast
// and curves ask the kernel for nothing. The kernel sends two kinds of messages, "state" and "steps", each with its run.

import { numberField, options, uploadField } from "../kit/controls.js";
import { h } from "../kit/elements.js";
import { Kernel } from "../kit/kernel.js";
import { comeAlive } from "../kit/still.js";
import { bytes } from "../pure/bytes.js";

const RIVALS = 3;
const COLOURS = ["#0072b2", "#c85a00", "#008a63", "#b0508a"]; // 3:1 and more on white and on black
const DASHES = [[], [6, 3], [2, 3], [9, 3, 2, 3]]; // told apart without colours too
const LISTED = 12;
const STRETCHED = 0.995; // the quantile of figures.stretch_contrast

/** p' = 128 + 127 (p − m) / q in place, exactly as figures.stretch_contrast: m the mean colour, q a quantile. */
function stretch(rgba) {
  const pixels = rgba.length / 4;
  const counts = [0, 1, 2].map(() => new Uint32Array(256));
  for (let i = 0; i < rgba.length; i += 4) for (let c = 0; c < 3; c++) counts[c][rgba[i + c]]++;
  const means = counts.map((n) => n.reduce((sum, count, level) => sum + count * level, 0) / pixels);
  const deviations = counts.flatMap((n, c) => [...n].map((count, level) => [Math.abs(level - means[c]), count]));
  deviations.sort((a, b) => a[0] - b[0]);
  const at = (rank) => { for (const [d, count] of deviations) if ((rank -= count) < 0) return d; };
  const rank = STRETCHED * (3 * pixels - 1), low = Math.floor(rank);
  const reach = at(low) + (rank - low) * (at(Math.ceil(rank)) - at(low)) || 127;
  for (let i = 0; i < rgba.length; i++) if (i % 4 < 3) rgba[i] = Math.round(128 + (127 / reach) * (rgba[i] - means[i % 4]));
}

/** What has been sent, shared by every view of one widget. */
class Film extends Kernel {
  progress = { run: 0, about: {}, state: "ready", message: "", rate: 0, begun: "" };
  values = [];
  scores = [];
  pictures = new Map();
  numbers = []; // of the steps that have a picture
  looked = 0;
  say(message) {
    clearTimeout(this.waiting);
    this.progress.message = message;
    this.tell();
  }
  get message() { return this.progress.message; }
  clear(progress) {
    Object.assign(this, { progress, values: [], scores: [], pictures: new Map(), numbers: [], looked: 0 });
  }
  take(content, buffers) {
    if (content.state === "running") this.expect();
    if (content.kind === "film") return this.offer(content, buffers);
    if (content.run < this.progress.run) return;
    if (content.run > this.progress.run) this.clear(content);
    this.progress = content;
    if (content.values) {
      const classes = buffers[0].byteLength / 4 / content.values.length;
      const scores = bytes(buffers[0], Float32Array);
      content.values.forEach((value, i) => {
        this.values[content.first + i] = value;
        this.scores[content.first + i] = scores.subarray(i * classes, (i + 1) * classes);
      });
      const number = content.first + content.values.length;
      this.pictures.set(number, { size: content.size, rgb: bytes(buffers[1], Uint8Array) });
      this.numbers = [...this.pictures.keys()].sort((a, b) => a - b);
    }
    this.tell();
  }
  offer(content, buffers) {
    if (content.name) {
      const url = URL.createObjectURL(new Blob([bytes(buffers[0], Uint8Array)]));
      h("a", { href: url, download: content.name }).click();
      setTimeout(() => URL.revokeObjectURL(url), 1000);
    }
    this.progress.message = content.message;
    this.making = "";
    this.tell();
  }
  /** The number of the step that is looked at: what was scrubbed to, else the latest with a picture. */
  get number() { return this.looked || this.numbers.at(-1) || 0; }
}

function drawPicture(canvas, picture, contrast) {
  if (!picture) return canvas.getContext("2d").clearRect(0, 0, canvas.width, canvas.height);
  const [width, height] = picture.size;
  if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
  const image = new ImageData(width, height);
  for (let i = 0, j = 0; j < picture.rgb.length; i += 4, j += 3) {
    image.data[i] = picture.rgb[j];
    image.data[i + 1] = picture.rgb[j + 1];
    image.data[i + 2] = picture.rgb[j + 2];
    image.data[i + 3] = 255;
  }
  if (contrast === "stretched") stretch(image.data);
  canvas.getContext("2d").putImageData(image, 0, 0);
}

const share = (p) => (p > 0.9995 ? "> 0.999" : p.toPrecision(3));

/** The target first, then its strongest rivals at one step. */
function strongest(scores, target) {
  const rivals = [];
  scores?.forEach((score, c) => {
    if (c === target || (rivals.length === RIVALS && score <= scores[rivals.at(-1)])) return;
    rivals.push(c);
    rivals.sort((a, b) => scores[b] - scores[a]);
    rivals.length = Math.min(rivals.length, RIVALS);
  });
  return [target, ...rivals];
}

/** What is written of a last step that multiplies the image, which is no step of the ascent; nothing before it is done. */
function leap(film) {
  const { total, contrast, target } = film.progress.about, last = film.scores[total - 1];
  if (!last || contrast === 1 || total < 2) return "";
  return `not drawn: the last step, contrast × ${contrast}, S_c ${last[target].toPrecision(3)}`;
}

function drawCurves(canvas, film, classes) {
  const scale = window.devicePixelRatio || 1, width = 300, height = 264, left = 36, right = width - 8;
  Object.assign(canvas, { width: width * scale, height: height * scale });
  const pen = canvas.getContext("2d"), ink = getComputedStyle(canvas).color;
  pen.scale(scale, scale);
  pen.font = "11px system-ui, sans-serif";
  const total = film.progress.about.total || 1;
  const x = (i) => left + ((right - left) * i) / Math.max(total - 1, 1);
  const panel = (top, bottom, name, low, high, curves, without = 0) => {
    const y = (value) => bottom - ((bottom - top) * (value - low)) / (high - low || 1);
    pen.fillStyle = pen.strokeStyle = ink;
    Object.assign(pen, { lineWidth: 1, textAlign: "left" });
    pen.setLineDash([]);
    pen.strokeRect(left, top, right - left, bottom - top);
    pen.fillText(name, left, top - 4);
    pen.textAlign = "right";
    pen.fillText(Number(high.toPrecision(3)), left - 4, top + 8);
    pen.fillText(Number(low.toPrecision(3)), left - 4, bottom);
    curves.forEach((curve, k) => {
      pen.beginPath();
      for (let i = 0; i < film.values.length - without; i++) if (film.values[i]) pen.lineTo(x(i), y(curve(i)));
      Object.assign(pen, { strokeStyle: COLOURS[k], lineWidth: k ? 1.5 : 2.5 });
      pen.setLineDash(DASHES[k]);
      pen.stroke();
    });
    if (!film.number) return;
    pen.beginPath();
    pen.moveTo(x(film.number - 1), top);
    pen.lineTo(x(film.number - 1), bottom);
    Object.assign(pen, { strokeStyle: ink, lineWidth: 1 });
    pen.setLineDash([]);
    pen.stroke();
  };
  // A last step that multiplies the image by a constant leaps: its score is written, and the curve keeps its scale.
  const apart = leap(film);
  let low = Infinity, high = -Infinity;
  film.scores.slice(0, apart ? -1 : undefined).forEach((scores) => classes.forEach((c) => {
    low = Math.min(low, scores[c]);
    high = Math.max(high, scores[c]);
  }));
  if (low > high) [low, high] = [0, 1];
  panel(16, 138, "score S_c, before the softmax", low, high, classes.map((c) => (i) => film.scores[i][c]), apart ? 1 : 0);
  if (apart) {
    pen.fillStyle = ink;
    pen.textAlign = "right";
    pen.fillText(apart, right, 151);
  }
  panel(174, 242, "probability P_c of the target", 0, 1, [(i) => film.values[i][1]]);
  pen.fillStyle = ink;
  pen.fillText(`step ${total}`, right, 258);
  pen.textAlign = "left";
  pen.fillText("1", left, 258);
}

function classField(model, id, film, on, undo) {
  const labels = model.get("labels"), name = (c) => `${labels[c]} (${c})`;
  let found = [], active = -1, asking = false; // active: the class that an arrow key has reached
  const list = h("ul", { id: `${id}-list`, role: "listbox", "aria-label": "matching classes", hidden: "" });
  const input = h("input", {
    id: `${id}-class`, role: "combobox", "aria-expanded": "false", "aria-controls": list.id, "aria-autocomplete": "list",
    autocomplete: "off", spellcheck: "false", size: 24,
  });
  const close = () => {
    list.hidden = true;
    input.setAttribute("aria-expanded", "false");
    input.removeAttribute("aria-activedescendant");
  };
  const restore = () => {
    close();
    input.value = name(model.get("class_index"));
    if (document.activeElement === input) input.select();
  };
  const choose = (c) => {
    film.set({ class_index: c });
    restore();
  };
  const show = () => {
    list.replaceChildren(...found.map((c, i) =>
      h("li", { role: "option", id: `${id}-${i}`, "aria-selected": i === active, onmousedown: (event) => {
        event.preventDefault(); // the text field keeps the focus
        choose(c);
      } }, name(c))));
    list.hidden = !found.length;
    input.setAttribute("aria-expanded", String(!list.hidden));
    if (list.hidden) return input.removeAttribute("aria-activedescendant");
    if (active < 0) return input.removeAttribute("aria-activedescendant");
    input.setAttribute("aria-activedescendant", `${id}-${active}`);
    list.children[active].scrollIntoView?.({ block: "nearest" });
  };
  input.addEventListener("input", () => {
    const text = input.value.trim().toLowerCase();
    const fits = [...labels.keys()].filter((c) => labels[c].toLowerCase().includes(text) || String(c) === text);
    const rank = (c) => (labels[c].toLowerCase() === text ? 0 : labels[c].toLowerCase().startsWith(text) ? 1 : 2);
    found = text ? fits.sort((a, b) => rank(a) - rank(b) || a - b).slice(0, LISTED) : [];
    active = -1;
    show();
  });
  const answered = () => {
    if (!asking || film.progress.kind !== "state") return;
    asking = false;
    if (!film.message) restore(); // also if the class is the one that was chosen before
  };
  input.addEventListener("keydown", (event) => {
    const move = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (move && found.length) active = (Math.max(active, move > 0 ? -1 : 0) + move + found.length) % found.length;
    else if (event.key === "Escape") return restore();
    else if (event.key !== "Enter") return;
    event.preventDefault();
    if (move) return show();
    if (!list.hidden && active >= 0) choose(found[active]);
    else if (input.value !== name(model.get("class_index"))) { // several may fit: the kernel chooses one or says which
      asking = true;
      film.ask({ do: "find", text: input.value });
      input.select(); // if nothing is found, the next text takes its place
    }
  });
  const select = () => { if (input.value === name(model.get("class_index"))) input.select(); };
  input.addEventListener("focus", select);
  input.addEventListener("click", () => setTimeout(select)); // the click itself would undo the selection
  input.addEventListener("blur", restore);
  on("change:class_index", restore);
  film.listeners.add(answered);
  undo.push(() => film.listeners.delete(answered));
  restore();
  // Beside the label, not inside: the list is no part of the name.
  return h("div", { class: "field" }, h("label", { for: input.id }, "class: type part of its name"), input, list);
}

function render({ model, el, film }) {
  const id = `class-model-${Math.random().toString(36).slice(2)}`;
  const send = (content, buffers) => film.ask(content, buffers);
  const undo = []; // what a view that goes away takes back
  const on = (name, react) => { model.on(name, react); undo.push(() => model.off(name, react)); };

  const follow = (trait, control) => {
    const update = () => { control.value = model.get(trait); };
    on(`change:${trait}`, update);
    queueMicrotask(update);
  };
  const bound = (trait, label, control) => { // a control that shows a trait and sets it
    control.addEventListener("change", () => film.keep({ [trait]: control.value }));
    follow(trait, control);
    return h("label", {}, label, control);
  };
  const select = (trait, label, pairs) => bound(trait, label, h("select", {}, ...options(pairs)));
  const number = (trait, label, limits) => {
    const field = numberField(limits, (value) => film.set({ [trait]: value }));
    follow(trait, field);
    return h("label", {}, label, field);
  };

  const button = (text, action, main) =>
    h("button", { type: "button", class: main ? "first" : "", onclick: (event) => {
      if (event.currentTarget.getAttribute("aria-disabled") !== "true") action();
    } }, text);
  const ask = (what) => () => { film.looked = 0; send({ do: what }); };
  const run = button("Run", ask("run"), true), pause = button("Pause", ask("pause"));
  const step = button("Step", ask("step")), reset = button("Reset", ask("reset"));
  const films = ["gif", "webp"].map((type) =>
    button(type === "gif" ? "Film as GIF" : "Film as WebP", () => { film.making = type; update(); send({ do: "film", type }); }));

  const start = h("select");
  const fill = () => {
    const called = { zero: "zero (the mean colour)", noise: "noise" };
    start.replaceChildren(...options(["zero", "noise", ...model.get("photos")].map((s) => [s, called[s] || `photo: ${s.replaceAll("_", " ")}`])));
    start.value = model.get("start");
  };
  on("change:photos", fill);
  fill();
  const about = h("p"), status = h("p", { class: "status", role: "status" });
  const bar = h("progress", { "aria-label": "steps done", value: 0 }), pace = h("span");
  const picture = h("canvas", { class: "picture", role: "img", width: 224, height: 224 });
  const curves = h("canvas", { role: "img", class: "curves" });
  const caption = h("figcaption", { class: "shown" }), legend = h("table");
  const back = h("span", {}, "go back");
  const scrub = h("input", { type: "range", min: 0, max: 0, step: 1, value: 0 });
  scrub.addEventListener("input", () => {
    const i = scrub.valueAsNumber;
    film.looked = i === film.numbers.length - 1 ? 0 : film.numbers[i];
    update();
  });
  scrub.addEventListener("change", () => film.keep({ shown: film.looked }));

  function update() {
    const { about: what, state, message, rate, begun } = film.progress, done = film.values.length, n = film.number;
    const total = what.total || 0, labels = model.get("labels"), contrast = model.get("contrast");
    about.textContent = [model.get("recipe"), begun].filter(Boolean).join(" ");
    const words = { ready: "Ready: press Run.", running: "Running.", paused: `Paused at step ${done}.`,
      finished: "Finished.", failed: "Stopped." };
    const said = film.making ? `Making the ${film.making.toUpperCase()} …` : [words[state], message].filter(Boolean).join(" ");
    if (status.textContent !== said) status.textContent = said; // said once, not at every step
    Object.assign(bar, { max: total || 1, value: done });
    const left = rate ? Math.ceil((total - done) / rate) : 0;
    pace.textContent = `step ${done} of ${total}` + (rate ? ` · ${rate.toPrecision(2)} steps a second` : "") +
      (state === "running" && rate ? ` · ${left} s left` : "");
    const able = (control, yes) => control.setAttribute("aria-disabled", String(!yes));
    able(run, state !== "running");
    able(pause, state === "running");
    films.forEach((control) => able(control, done && !film.making));

    const shown = film.pictures.get(n), value = film.values[n - 1], classes = strongest(film.scores[n - 1], what.target);
    drawPicture(picture, shown, contrast);
    picture.dataset.step = n;
    const few = film.numbers.length < done ? ` to one of ${film.numbers.length} steps that have a picture` : "";
    back.textContent = `go back${few}`;
    Object.assign(scrub, { max: Math.max(film.numbers.length - 1, 0), value: film.numbers.indexOf(n) });
    scrub.setAttribute("aria-valuetext", n ? `step ${n} of ${total}` : "no step yet");
    const seen = n ? `${what.label}, ${what.way}, step ${n} of ${total}: S_c ${value[0].toPrecision(3)}, P_c ${share(value[1])}` : "";
    caption.textContent = n ? seen + (contrast === "stretched" ? " (contrast stretched)" : "") : "no picture yet";
    picture.setAttribute("aria-label", n ? `The picture that climbs towards ${caption.textContent}` : "no picture yet");
    drawCurves(curves, film, value ? classes : []);
    const rows = value ? classes.map((c) => [labels[c], film.scores[n - 1][c].toPrecision(3)]) : [];
    curves.setAttribute("aria-label", value
      ? `Curves of ${done} steps: S_c of ${what.label} from ${film.values[0][0].toPrecision(3)} to ${film.values[done - 1][0].toPrecision(3)}, ` +
        `P_c from ${share(film.values[0][1])} to ${share(film.values[done - 1][1])}. ` +
        (leap(film) && `${leap(film)}. `) + `At step ${n} the strongest rivals are ${rows.slice(1).map((r) => r.join(" ")).join(", ")}.`
      : "no curves yet");
    drawLegend(rows);
  }

  let keys = "";
  function drawLegend(rows) { // the lines are made once for each set of classes, the scores change in place
    const now = rows.map(([label]) => label).join("\n");
    if (now !== keys) legend.replaceChildren(...rows.map(([label], k) => {
      const line = h("canvas", { width: 28, height: 8, "aria-hidden": "true" });
      const pen = line.getContext("2d");
      Object.assign(pen, { strokeStyle: COLOURS[k], lineWidth: k ? 2 : 3 });
      pen.setLineDash(DASHES[k]);
      pen.stroke(new Path2D("M0 4H28"));
      return h("tr", {}, h("td", {}, line), h("th", { scope: "row" }, label), h("td"));
    }));
    keys = now;
    rows.forEach(([, score], k) => { legend.rows[k].cells[2].textContent = score; });
  }

  let asked = 0; // one drawing a frame, however many messages came
  const later = () => { asked ||= requestAnimationFrame(() => { asked = 0; update(); }); };
  film.listeners.add(later);
  on("change:contrast", update);
  on("change:recipe", later);
  const theme = new MutationObserver(later);
  theme.observe(document.body, { attributes: true });

  const search = classField(model, id, film, on, undo);
  const box = h("div", { class: "deepinside class-model" },
    h("div", { class: "row" }, search,
      select("preset", "preset", [["paper", "paper: the paper's objective"], ["readable", "readable: with later regularisers"]]),
      select("objective", "objective", [["score", "score S_c"], ["probability", "probability P_c"]]),
      number("regularisation", "λ", { min: 0, step: "any" }),
      number("length", "steps", { min: 1, max: model.get("most_steps") }),
      bound("start", "start", start),
      uploadField(film, "start")),
    about,
    h("div", { class: "row buttons" }, run, pause, step, reset, bar, pace), status,
    h("div", { class: "views" }, h("figure", {}, picture, caption), h("figure", {}, curves, legend)),
    h("label", { class: "scrub" }, back, scrub),
    h("div", { class: "row" },
      select("contrast", "contrast", [["plain", "as it is: 0 to 255, clipped"],
        ["stretched", "stretched: 128 + 127 (p − mean) / 99.5 % quantile of |p − mean|"]]),
      ...films));
  el.append(box);
  undo.push(comeAlive(film, el, box));
  update();
  return () => {
    undo.forEach((each) => each());
    film.listeners.delete(later);
    theme.disconnect();
  };
}

// A function, so that each widget has a film of its own.
export default () => {
  let film;
  return {
    initialize({ model }) { film = new Film(model); },
    render({ model, el }) { return render({ model, el, film }); },
  };
};
