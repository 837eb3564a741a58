// The browser's half of the scores explorer: it has all scores of the photo, so that sorting them, how many are listed and
// what the bars show ask the kernel for nothing. Told is "scores".

import { button, classSearch, photoControls, slider } from "../kit/controls.js";
import { h } from "../kit/elements.js";
import { explorer } from "../kit/explorer.js";
import { paint } from "../kit/pictures.js";
import { bytes } from "../pure/bytes.js";
import { put } from "../pure/colours.js";
import { clamp, number, words } from "../pure/numbers.js";

const MOST = 20;

/** Three figures of the largest, and as many decimals for all. */
const decimals = (values) => clamp(2 - Math.floor(Math.log10(Math.max(...values.map(Math.abs)) || 1)), 6);
const fixed = (value, digits) => value.toFixed(digits).replace("-", "−");
const share = (p) => (p < 0.0005 ? "< 0.001" : p > 0.9995 ? "> 0.999" : p.toFixed(3));

function build({ model, kernel, status, follow }) {
  const labels = model.get("labels"), group = `bars-${Math.random().toString(36).slice(2)}`;

  // --- controls -----------------------------------------------------------------------------------------------------
  const most = slider("k, how many classes", { min: 1, max: Math.min(MOST, labels.length), step: 1, value: model.get("k") },
    (value) => kernel.keep({ k: value }));
  const bars = [["score", "score S_c"], ["probability", "probability P_c"]].map(([value, text]) => {
    const choose = h("input", { type: "radio", name: group, value, onchange: () => kernel.keep({ shown: value }) });
    return h("label", { class: "tick" }, choose, text);
  });
  const [search, classes] = classSearch({ model, kernel }, "find a class");
  const field = search.querySelector("input");
  const none = button("clear the search", () => {
    kernel.keep({ class_index: null });
    field.focus(); // there is nothing more to do for this button
  });

  // --- photo and table ----------------------------------------------------------------------------------------------
  const photo = h("canvas", { role: "img" }), caption = h("figcaption"), told = h("p", { "aria-live": "polite", class: "told" });
  const body = h("tbody"), table = h("table", {}, h("thead", {}, h("tr", {},
    ...["rank", "class (index)"].map((text) => h("th", { scope: "col" }, text)), h("td", { class: "bar", "aria-hidden": "true" }),
    ...["score S_c", "probability P_c"].map((text) => h("th", { scope: "col" }, text)))), body);
  const lines = [];
  let seen;

  /** A line of the table; the bar is for the eye, the numbers beside it say the same to a screen reader. */
  function fresh() {
    const bar = h("div"), name = button("", () => kernel.keep({ class_index: model.get("class_index") === line.c ? null : line.c }));
    const [rank, score, probability] = [h("td"), h("td"), h("td")];
    const row = h("tr", {}, rank, h("th", { scope: "row" }, name), h("td", { class: "bar", "aria-hidden": "true" }, bar), score, probability);
    const line = { row, rank, name, bar, score, probability };
    body.append(row);
    return line;
  }

  function drawTable() {
    if (!seen) return;
    const { scores, probabilities, order } = seen, searched = model.get("class_index"), shown = model.get("shown");
    const listed = order.slice(0, model.get("k"));
    if (searched !== null && !listed.includes(searched)) listed.push(searched);
    const values = listed.map((c) => (shown === "score" ? scores : probabilities)[c]);
    const low = Math.min(0, ...values), span = Math.max(0, ...values) - low || 1; // of other networks some lie below 0
    const digits = decimals(listed.map((c) => scores[c]));
    listed.forEach((c, i) => {
      const line = (lines[i] ||= fresh()), { row, rank, name, bar, score, probability } = line;
      line.c = c;
      rank.textContent = rankOf(c);
      name.textContent = `${labels[c]} (${c})${c === searched ? " ← searched" : ""}`;
      name.setAttribute("aria-pressed", String(c === searched));
      row.classList.toggle("searched", c === searched);
      bar.style.marginLeft = `${(100 * (Math.min(0, values[i]) - low)) / span}%`;
      bar.style.width = `${(100 * Math.abs(values[i])) / span}%`;
      score.textContent = fixed(scores[c], digits);
      probability.textContent = share(probabilities[c]);
    });
    lines.forEach(({ row, name }, i) => {
      if (i >= listed.length && name === document.activeElement) field.focus();
      row.hidden = i >= listed.length;
    });
    none.disabled = searched === null;
    const k = model.get("k"), together = order.slice(0, k).reduce((sum, c) => sum + probabilities[c], 0);
    told.textContent = `The best ${k > 1 ? k : "one"} of ${labels.length} classes ${k > 1 ? "have" : "has"} probability ` +
      `${share(together)}${k > 1 ? " together" : ""}.` + (searched === null ? "" : ` ${labels[searched]} has rank ${rankOf(searched)}.`);
  }
  const rankOf = (c) => 1 + seen.scores.reduce((n, score) => n + (score > seen.scores[c]), 0);

  function drawPhoto({ name, size, buffers }) {
    const levels = bytes(buffers[0], Uint8Array), [scores, probabilities] = buffers.slice(1).map((each) => bytes(each, Float64Array));
    seen = { scores, probabilities, order: [...scores.keys()].sort((a, b) => scores[b] - scores[a] || a - b) };
    paint(photo, size, (i, rgba, at) => put(rgba, at, levels, 3 * i));
    caption.textContent = `${words(name)}, as the network sees it: ${size[1]} × ${size[0]} pixels`;
    const [best] = seen.order;
    photo.setAttribute("aria-label", `${caption.textContent}; its best class is ${labels[best]}, score ${number(scores[best])}`);
    drawTable();
  }

  follow(["k", "shown", "class_index"], () => {
    if (most.input.valueAsNumber !== model.get("k")) most.put(model.get("k"));
    for (const { firstChild: each } of bars) each.checked = each.value === model.get("shown");
    drawTable();
  });
  const parts = [
    h("div", { class: "row" }, ...photoControls({ model, kernel, follow }), search, classes, none),
    h("div", { class: "row" }, most.label, h("fieldset", {}, h("legend", {}, "the bars show"), ...bars)),
    status,
    h("div", { class: "row top" }, h("figure", {}, photo, caption), h("div", { class: "list" }, table, told)),
  ];
  return { parts, draws: { scores: drawPhoto } };
}

export default explorer("scores", build);
