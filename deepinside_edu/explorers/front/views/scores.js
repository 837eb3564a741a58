// The browser half of the scores explorer. It has all scores of the photo, so it sorts, lists and draws them without
// the kernel. Message from the kernel: "scores".

import { classSearch } from "../kit/classes.js";
import { button, radios, slider } from "../kit/controls.js";
import { h, heads, row } from "../kit/elements.js";
import { explorer } from "../kit/explorer.js";
import { photoControls } from "../kit/photo.js";
import { canvas, describe, paintRgb } from "../kit/pictures.js";
import { bytes } from "../pure/bytes.js";
import { decimals, fixed, number, share, spaced } from "../pure/numbers.js";
import { bestFirst, rankOf } from "../pure/ranks.js";
import { texts } from "../texts/en.js";

const T = texts.scores;
const MOST = 20;

function build(tools) {
  const { model, kernel, follow, status } = tools;
  const labels = model.get("labels");
  const range = { min: 1, max: Math.min(MOST, labels.length), step: 1, value: model.get("k") };
  const most = slider(T.k, range, (value) => kernel.keep({ k: value }));
  const bars = radios(T.bars, Object.entries(T.shown), (value) => kernel.keep({ shown: value }));
  const search = classSearch(tools, T.find);
  const field = search.querySelector("input");
  const none = button(T.clear, () => {
    kernel.keep({ class_index: null });
    field.focus(); // this button is about to vanish
  });
  const list = classTable(tools, field);
  const photo = canvas();
  const caption = h("figcaption");

  function drawPhoto({ name, size, buffers }) {
    const [scores, probabilities] = buffers.slice(1).map((each) => bytes(each, Float64Array));
    const order = bestFirst(scores);
    paintRgb(photo, size, bytes(buffers[0], Uint8Array));
    caption.textContent = T.caption(spaced(name), size);
    describe(photo, T.photo(caption.textContent, labels[order[0]], number(scores[order[0]])));
    list.draw({ scores, probabilities, order });
  }

  follow(["k", "shown", "class_index"], () => {
    if (most.input.valueAsNumber !== model.get("k")) most.put(model.get("k"));
    bars.put(model.get("shown"));
    none.disabled = model.get("class_index") === null;
    list.draw();
  });
  const parts = [
    row(...photoControls(tools), search, none),
    row(most.label, bars.field),
    status,
    h("div", { class: "row top" }, h("figure", {}, photo, caption), h("div", { class: "list" }, ...list.parts)),
  ];
  return { parts, draws: { scores: drawPhoto } };
}

/** The best classes and the class of the search, each with a bar. */
function classTable({ model, kernel }, field) {
  const labels = model.get("labels");
  const told = h("p", { "aria-live": "polite", class: "told" });
  const body = h("tbody");
  const head = heads([...T.names, ...T.numbers]);
  head.insertBefore(h("td", { class: "bar", "aria-hidden": "true" }), head.children[2]);
  const choose = (c) => kernel.keep({ class_index: model.get("class_index") === c ? null : c });
  const lines = [];
  let seen;

  function draw(now = seen) {
    seen = now;
    if (!seen) return;
    const searched = model.get("class_index");
    const listed = seen.order.slice(0, model.get("k"));
    if (searched !== null && !listed.includes(searched)) listed.push(searched);
    const values = listed.map((c) => (model.get("shown") === "score" ? seen.scores : seen.probabilities)[c]);
    const low = Math.min(0, ...values);
    const scale = { low, span: Math.max(0, ...values) - low || 1 }; // scores of other networks may be negative
    const digits = decimals(listed.map((c) => seen.scores[c]));
    listed.forEach((c, i) => {
      if (!lines[i]) body.append((lines[i] = classLine(choose)).row);
      const words = {
        rank: rankOf(seen.scores, c),
        name: T.line(labels[c], c, c === searched),
        score: fixed(seen.scores[c], digits),
        probability: share(seen.probabilities[c]),
      };
      lines[i].put(c, words, c === searched, values[i], scale);
    });
    lines.forEach((line, i) => {
      if (i >= listed.length && line.name === document.activeElement) field.focus();
      line.row.hidden = i >= listed.length;
    });
    const k = model.get("k");
    const together = seen.order.slice(0, k).reduce((sum, c) => sum + seen.probabilities[c], 0);
    const rank = searched === null ? "" : ` ${T.rank(labels[searched], rankOf(seen.scores, searched))}`;
    told.textContent = T.together(k, labels.length, share(together)) + rank;
  }
  return { parts: [h("table", {}, h("thead", {}, head), body), told], draw };
}

/** A line of the table; a screen reader reads the numbers beside the bar. */
function classLine(choose) {
  let shown;
  const bar = h("div");
  const name = button("", () => choose(shown));
  const [rank, score, probability] = [h("td"), h("td"), h("td")];
  const title = h("th", { scope: "row" }, name);
  const line = h("tr", {}, rank, title, h("td", { class: "bar", "aria-hidden": "true" }, bar), score, probability);
  const put = (c, words, searched, value, { low, span }) => {
    shown = c;
    rank.textContent = words.rank;
    name.textContent = words.name;
    score.textContent = words.score;
    probability.textContent = words.probability;
    name.setAttribute("aria-pressed", String(searched));
    line.classList.toggle("searched", searched);
    bar.style.marginLeft = `${(100 * (Math.min(0, value) - low)) / span}%`;
    bar.style.width = `${(100 * Math.abs(value)) / span}%`;
  };
  return { row: line, name, put };
}

export default explorer("scores", build);
