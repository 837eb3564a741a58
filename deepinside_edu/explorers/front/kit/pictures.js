// Pictures, painted entry by entry, with a cursor that the pointer and the arrow keys move.

import { h } from "./elements.js";
import { put } from "../pure/colours.js";
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

/** Paint levels of red, green and blue as they are. */
export const paintRgb = (canvas, size, rgb) => paint(canvas, size, (i, rgba, at) => put(rgba, at, rgb, 3 * i));

/** Paint levels through a table of colours. */
export const paintLevels = (canvas, size, levels, table) =>
  paint(canvas, size, (i, rgba, at) => put(rgba, at, table, 3 * levels[i]));

/** A picture's pixels and its description for a screen reader. */
export const describe = (canvas, text) => canvas.setAttribute("aria-label", text);

/** An empty picture. */
export const canvas = (attributes = {}) => h("canvas", { role: "img", width: 1, height: 1, ...attributes });

/** A part of the page that takes the arrow keys; `text` describes their effect. */
export const board = (className, text, ...children) =>
  h("div", { class: className, tabindex: 0, role: "application", "aria-label": text }, ...children);

/** A canvas in a frame with a box that shows one of its entries; to move the box draws nothing again. */
export function plate(className = "") {
  const picture = canvas();
  const box = h("div", { class: "cursor", hidden: "" });
  const frame = h("div", { class: `plate ${className}` }, picture, box);
  const mark = (column, row, size = [1, 1]) => {
    box.hidden = column === undefined;
    const [x, y] = [column / size[0], row / size[1]];
    lay(box, [x, y, x + 1 / size[0], y + 1 / size[1]]);
  };
  return { frame, canvas: picture, mark };
}

/** Put a box in its frame, by shares of the frame's sides. */
export function lay(box, [left, top, right, bottom]) {
  const [width, height] = [right - left, bottom - top].map((part) => `${100 * part}%`);
  Object.assign(box.style, { left: `${100 * left}%`, top: `${100 * top}%`, width, height });
  return box;
}

/** The pixel under the pointer, column and row; it is outside the canvas if the pointer is. */
export function pixel(event, element, [width, height]) {
  const { left, top, width: wide, height: high } = element.getBoundingClientRect();
  return [Math.floor(((event.clientX - left) / wide) * width), Math.floor(((event.clientY - top) / high) * height)];
}

/** The entry under the pointer: column and row, within the picture. */
export const entry = (event, element, size) => within(pixel(event, element, size), size);

/** The nearest entry of a picture. */
export const within = ([column, row], [width, height]) => [clamp(column, width - 1), clamp(row, height - 1)];

const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

/** Arrow keys move by one entry, with Shift by ten; Enter and the space bar choose. */
export function keys(element, move, choose = () => {}) {
  element.addEventListener("keydown", (event) => {
    const step = ARROWS[event.key];
    const far = event.shiftKey ? 10 : 1;
    if (step) move(far * step[0], far * step[1]);
    else if (event.key === "Enter" || event.key === " ") choose();
    else return;
    event.preventDefault();
    event.stopPropagation();
  });
}
