// The browser half of the saliency explorer. It keeps the photo, M and w as they are, so it reads them at the cursor
// and draws the overlay without the kernel. Messages from the kernel: "classes", "photo" and "map", which belongs to
// the last photo.

import { classControls } from "../kit/classes.js";
import { button, slider, traitSelect } from "../kit/controls.js";
import { h, heads, labelled, row } from "../kit/elements.js";
import { explorer } from "../kit/explorer.js";
import { photoControls } from "../kit/photo.js";
import { board, canvas, describe, entry, keys, paint, paintLevels, paintRgb, plate, within } from "../kit/pictures.js";
import { bytes } from "../pure/bytes.js";
import { blend, greyLevels, heatLevels, tables } from "../pure/colours.js";
import { number, probability } from "../pure/numbers.js";
import { texts } from "../texts/en.js";

const T = texts.saliency;

function build(tools) {
  const { model, kernel, follow, status } = tools;
  const classes = classControls(tools);
  const crops = traitSelect(tools, "crops", T.cropChoices, Number);
  const title = h("p", { class: "title" });
  const numbers = readout();
  let shown;
  let place;
  const read = (to) => {
    place = to;
    pictures.mark(place, shown.size);
    numbers.read(shown, place);
  };
  const pictures = threePictures(tools, {
    point: (event, element) => shown && read(entry(event, element, shown.size)),
    move: (x, y) => shown && read(within([place[0] + x, place[1] + y], shown.size)),
  });
  const toStrongest = () => read([shown.strongest % shown.size[0], Math.floor(shown.strongest / shown.size[0])]);

  function drawMap(message) {
    const before = shown?.size.join();
    shown = unpacked(message, kernel.photo);
    const { class_index: c, label, score, probability: p } = message.prediction;
    title.textContent = T.title(label, c, number(score), probability(p));
    pictures.draw(shown);
    numbers.fill(shown);
    if (place && before === shown.size.join()) read(place);
    else toStrongest();
  }

  const strength = slider(T.strength, { min: 0, max: 1, step: 0.05, value: model.get("strength") }, (part) =>
    pictures.drawOverlay(shown, part),
  );
  strength.input.addEventListener("change", () => kernel.keep({ strength: strength.input.valueAsNumber }));
  follow(["strength"], () => {
    strength.put(model.get("strength"));
    pictures.drawOverlay(shown, model.get("strength"));
  });
  const parts = [
    row(...photoControls(tools), labelled(T.crops, crops), strength.label),
    classes.list,
    row(classes.search),
    status,
    title,
    pictures.part,
    row(button(T.toStrongest, () => shown && toStrongest())),
    numbers.part,
  ];
  return { parts, draws: { classes: classes.draw, map: drawMap } };
}

/** All values of a map that the view draws and reads. */
function unpacked({ size, brightest, crops, prediction, buffers }, photo) {
  const [m, w] = buffers.map((each) => bytes(each, Float32Array));
  const rgb = bytes(photo.buffers[0], Uint8Array);
  return {
    size,
    m,
    w,
    rgb,
    brightest,
    label: prediction.label,
    ten: crops === 10,
    grey: greyLevels(rgb),
    levels: heatLevels(m, brightest),
    channels: T.channels[w.length / m.length],
    strongest: m.indexOf(m.reduce((a, b) => Math.max(a, b))),
  };
}

const spot = (i, [width]) => texts.place(Math.floor(i / width), i % width);

/** Photo, map and overlay, with one cursor in all three. */
function threePictures({ model }, { point, move }) {
  const { heat } = tables(bytes(model.get("palettes"), Uint8Array));
  const bar = canvas();
  const full = h("span");
  let alpha = model.get("strength");
  const [seen, map, over] = [[T.seen], [T.map, bar, full], [T.over]].map((caption) => {
    const each = plate();
    each.canvas.addEventListener("pointermove", (event) => point(event, each.canvas));
    return { ...each, figure: h("figure", {}, each.frame, h("figcaption", {}, ...caption)) };
  });
  paintLevels(
    bar,
    [256, 1],
    Uint8Array.from({ length: 256 }).map((_, i) => i),
    heat,
  );
  const part = board("pictures", T.pictures, seen.figure, map.figure, over.figure);
  keys(part, move);

  function drawOverlay(shown, strength = alpha) {
    alpha = strength;
    if (!shown) return;
    const { size, grey, levels } = shown;
    paint(over.canvas, size, (i, rgba, at) => {
      for (let c = 0; c < 3; c++) rgba[at + c] = blend(grey[i], heat[3 * levels[i] + c], alpha);
    });
    describe(over.canvas, T.overlay(number(alpha)));
  }
  function draw(shown) {
    const { size, rgb, levels, m, strongest, ten, label } = shown;
    const brightest = number(shown.brightest);
    paintRgb(seen.canvas, size, rgb);
    paintLevels(map.canvas, size, levels, heat);
    drawOverlay(shown);
    full.textContent = ` ≥ ${brightest}`;
    describe(bar, T.scale(brightest));
    describe(seen.canvas, texts.seenBy(size));
    describe(map.canvas, T.mapOf(label, ten, brightest, number(m[strongest]), spot(strongest, size)));
  }
  const mark = (place, size) => [seen, map, over].forEach((each) => each.mark(...place, size));
  return { part, draw, drawOverlay, mark };
}

/** The readings at the cursor: M, and for each channel the photo, w and |w|. */
function readout() {
  const says = h("p");
  const table = h("table", { class: "numbers" });
  let cells;
  function fill({ channels }) {
    cells = T.rows.map(() => channels.map(() => h("td")));
    const rows = T.rows.map((text, k) => h("tr", {}, h("th", { scope: "row" }, text), ...cells[k]));
    table.replaceChildren(h("thead", {}, heads(["", ...channels])), h("tbody", {}, ...rows));
  }
  function read({ size, m, w, rgb, channels, ten }, place) {
    const i = place[1] * size[0] + place[0];
    const here = channels.map((_, c) => w[c * m.length + i]);
    const most = Math.max(...here.map(Math.abs));
    const top = most ? here.findIndex((value) => Math.abs(value) === most) : -1;
    says.textContent = T.read(spot(i, size), number(m[i]), ten, channels[top]);
    here.forEach((value, c) => {
      cells[0][c].textContent = rgb[3 * i + c];
      cells[1][c].textContent = number(value);
      cells[2][c].textContent = number(Math.abs(value)) + (c === top ? T.largest(ten) : "");
      cells[2][c].classList.toggle("most", c === top);
    });
  }
  return { part: h("div", { class: "readout", "aria-live": "polite" }, says, table), fill, read };
}

export default explorer("saliency", build);
