// Pictures, painted entry by entry, with a cursor that the pointer and the arrow keys move.

import { h } from "./elements.js";
import { clamp } from "../pure/numbers.js";

/** Paint entry by entry: colour(i, rgba, at) writes three levels. */
export function paint(canvas, [width, height], colour) {
  if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
  const image = new ImageData(width, height);
  for (let i = 0, at = 0; i < width * height; i++, at += 4) {
    colour(i, image.data, at);
    image.data[at + 3] = 255;
  }
  canvas.getContext("2d").putImageData(image, 0, 0);
}

/** A canvas in a frame with a box that shows one of its entries; the box moves and nothing is drawn again. */
export function plate(className = "") {
  const canvas = h("canvas", { role: "img", width: 1, height: 1 }), box = h("div", { class: "cursor", hidden: "" });
  const frame = h("div", { class: `plate ${className}` }, canvas, box);
  const mark = (column, row, [width, height] = [1, 1]) => {
    box.hidden = column === undefined;
    Object.assign(box.style, { left: `${(100 * column) / width}%`, top: `${(100 * row) / height}%`,
      width: `${100 / width}%`, height: `${100 / height}%` });
  };
  return { frame, canvas, mark };
}

/** The entry under the pointer: column and row. */
export function entry(event, canvas, [width, height]) {
  const { left, top, width: wide, height: high } = canvas.getBoundingClientRect();
  return [clamp(Math.floor(((event.clientX - left) / wide) * width), width - 1),
    clamp(Math.floor(((event.clientY - top) / high) * height), height - 1)];
}

const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

/** Arrow keys move by one entry, with Shift by ten; Enter and the space bar choose. */
export function keys(element, move, choose = () => {}) {
  element.addEventListener("keydown", (event) => {
    const step = ARROWS[event.key], far = event.shiftKey ? 10 : 1;
    if (step) move(far * step[0], far * step[1]);
    else if (event.key === "Enter" || event.key === " ") choose();
    else return;
    event.preventDefault();
    event.stopPropagation();
  });
}
