// The browser's half of the saliency explorer: it keeps the photo, M and w as they are, so that the cursor and the overlay's
// strength ask the kernel for nothing. Told are "classes", "photo" and "map", which is of the photo that was told last.

import { button, classControls, photoControls, select, slider } from "../kit/controls.js";
import { h } from "../kit/elements.js";
import { explorer } from "../kit/explorer.js";
import { entry, keys, paint, plate } from "../kit/pictures.js";
import { bytes } from "../pure/bytes.js";
import { palettesOf, put } from "../pure/colours.js";
import { clamp, number, probability } from "../pure/numbers.js";

const CHANNELS = { 1: ["grey"], 3: ["red", "green", "blue"] };

function build({ model, kernel, on, follow, status }) {
  const { heat } = palettesOf(model), classes = classControls({ model, kernel, on });
  let size = [0, 0], m, w, photo, grey, shade, channels, ten, strongest, place, alpha = model.get("strength");

  // --- controls -----------------------------------------------------------------------------------------------------
  const crops = select([[1, "one: the whole photo"], [10, "ten, averaged"]], (value) => kernel.set({ crops: Number(value) }));
  follow(["crops"], () => { crops.value = model.get("crops"); });
  const strength = slider("overlay strength", { min: 0, max: 1, step: 0.05, value: alpha }, drawOverlay);
  strength.input.addEventListener("change", () => kernel.keep({ strength: strength.input.valueAsNumber }));
  follow(["strength"], () => {
    strength.put(model.get("strength"));
    drawOverlay(model.get("strength"));
  });

  // --- three pictures -----------------------------------------------------------------------------------------------
  const title = h("p", { class: "title" }), bar = h("canvas", { role: "img" }), full = h("span");
  const [seen, map, over] = [["photo, as the network saw it"], ["map M: 0 ", bar, full], ["overlay, map over grey photo"]].map((caption) => {
    const each = plate();
    each.canvas.addEventListener("pointermove", (event) => { if (m) read(entry(event, each.canvas, size)); });
    return { ...each, figure: h("figure", {}, each.frame, h("figcaption", {}, ...caption)) };
  });
  paint(bar, [256, 1], (i, rgba, at) => put(rgba, at, heat, 3 * i));
  const pictures = h("div", { class: "pictures", tabindex: 0, role: "application",
    "aria-label": "Photo, map and overlay: arrow keys move one cursor in all three, with Shift by ten" },
  seen.figure, map.figure, over.figure);
  keys(pictures, (x, y) => { if (m) read([clamp(place[0] + x, size[0] - 1), clamp(place[1] + y, size[1] - 1)]); });

  function drawMap(told) {
    const { brightest, prediction: { class_index: c, label, score } } = told, before = size;
    ({ size } = told);
    ten = told.crops === 10;
    [m, w] = told.buffers.map((each) => bytes(each, Float32Array));
    photo = bytes(kernel.photo.buffers[0], Uint8Array);
    // In the steps and the precision of figures.heat_map and of Pillow, so that not one level differs.
    shade = Uint8Array.from(m, (value) => Math.min(255, Math.fround(255 * Math.fround(value / Math.fround(brightest)))));
    grey = Uint8Array.from(m, (_, i) => (19595 * photo[3 * i] + 38470 * photo[3 * i + 1] + 7471 * photo[3 * i + 2] + 32768) >> 16);
    paint(seen.canvas, size, (i, rgba, at) => put(rgba, at, photo, 3 * i));
    paint(map.canvas, size, (i, rgba, at) => put(rgba, at, heat, 3 * shade[i]));
    drawOverlay(alpha);
    channels = CHANNELS[w.length / m.length];
    strongest = m.indexOf(m.reduce((a, b) => Math.max(a, b)));
    const end = `${number(brightest)} and more`;
    title.textContent = `${label} (${c}): score S_c = ${number(score)}, probability P_c ${probability(told.prediction.probability)}`;
    full.textContent = ` ≥ ${number(brightest)}`;
    bar.setAttribute("aria-label", `black for 0, by way of red to yellow for ${end}`);
    seen.canvas.setAttribute("aria-label", `The photo as the network saw it, ${size[1]} rows by ${size[0]} columns`);
    map.canvas.setAttribute("aria-label", `Saliency map of ${label}, ${ten ? "averaged over ten crops" : "of one crop"}, black for 0, ` +
      `yellow for ${end}; the largest M, ${number(m[strongest])}, is in ${row(strongest)}`);
    fillTable();
    if (place && before.join() === size.join()) read(place);
    else toStrongest();
  }
  function drawOverlay(value) {
    alpha = value;
    if (!m) return;
    const part = Math.fround(alpha);
    paint(over.canvas, size, (i, rgba, at) => {
      for (let c = 0; c < 3; c++) rgba[at + c] = Math.trunc(Math.fround(grey[i] + Math.fround(part * (heat[3 * shade[i] + c] - grey[i]))));
    });
    over.canvas.setAttribute("aria-label", `The map over the grey photo, at strength ${number(alpha)}`);
  }

  // --- the cursor, and what is there --------------------------------------------------------------------------------
  const says = h("p"), table = h("table", { class: "numbers" });
  let cells;
  const row = (i) => `row ${Math.floor(i / size[0])}, column ${i % size[0]}`;
  const toStrongest = () => read([strongest % size[0], Math.floor(strongest / size[0])]);

  function fillTable() {
    cells = ["photo", "w", "|w|"].map(() => channels.map(() => h("td")));
    table.replaceChildren(
      h("thead", {}, h("tr", {}, ...["", ...channels].map((text) => h("th", { scope: "col" }, text)))),
      h("tbody", {}, ...["photo, 0 to 255", "w = ∂S_c/∂I", "|w|"].map((text, k) =>
        h("tr", {}, h("th", { scope: "row" }, text), ...cells[k]))));
  }
  function read(to) {
    place = to;
    for (const each of [seen, map, over]) each.mark(...place, size);
    const i = place[1] * size[0] + place[0], here = channels.map((_, c) => w[c * m.length + i]);
    const most = Math.max(...here.map(Math.abs)), top = most ? here.findIndex((value) => Math.abs(value) === most) : -1;
    const where = top < 0 ? "w is 0 in every channel" : `|w| is largest in ${channels[top]}`;
    says.textContent = `${row(i)}: M = ${number(m[i])}` +
      (ten ? `, the average over the crops that saw this pixel. For the whole photo alone, as in the table, ${where}.` : `; ${where}.`);
    here.forEach((value, c) => {
      cells[0][c].textContent = photo[3 * i + c];
      cells[1][c].textContent = number(value);
      cells[2][c].textContent = number(Math.abs(value)) + (c === top ? (ten ? ", largest" : " = M") : "");
      cells[2][c].classList.toggle("most", c === top);
    });
  }

  const parts = [
    h("div", { class: "row" }, ...photoControls({ model, kernel, follow }), h("label", {}, "crops", crops), strength.label),
    ...classes.parts,
    status, title, pictures,
    h("div", { class: "row" }, button("to the strongest pixel", () => { if (m) toStrongest(); })),
    h("div", { class: "readout", "aria-live": "polite" }, says, table),
  ];
  return { parts, draws: { classes: classes.draw, map: drawMap } };
}

export default explorer("saliency", build);
