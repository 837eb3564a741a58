// What every explorer has in the browser. A view gets a `model` with get, set, on, off, save_changes and send, and it
// knows nothing else about the page.

import { h, speak } from "./elements.js";
import { Kernel } from "./kernel.js";
import { comeAlive } from "./still.js";
import { texts } from "../texts/en.js";

const BUSY = 0.25; // seconds

/** A widget's module from `build`, which gets the tools below and returns its elements and, for each kind of message,
 * what draws it. */
export function explorer(name, build, Type = Kernel) {
  // A function, so that each widget has a kernel of its own to talk to.
  return () => {
    let kernel;
    return {
      initialize({ model }) {
        kernel = new Type(model);
        kernel.ask({ do: "hello" });
      },
      render: ({ model, el }) => view(name, build, { model, kernel, el }),
    };
  };
}

/** One view of a widget; it draws only what is new, once per frame, however many messages came. */
function view(name, build, { model, kernel, el }) {
  const undo = [];
  const drawn = {};
  const status = h("p", { class: "status", role: "status" });
  const box = h("div", { class: `deepinside ${name}` });
  const on = (event, react) => {
    model.on(event, react);
    undo.push(() => model.off(event, react));
  };
  const follow = (names, react) => {
    names.forEach((each) => on(`change:${each}`, react));
    queueMicrotask(react);
  };
  let slow;
  let asked = 0;
  const update = () => {
    const { busy, message } = kernel.state;
    clearTimeout(slow);
    if (busy && !message) slow = setTimeout(() => speak(status, texts.kernel.working), 1000 * BUSY);
    else speak(status, message);
    box.setAttribute("aria-busy", String(busy));
    for (const [kind, draw] of Object.entries(draws)) {
      if (!kernel[kind] || drawn[kind] === kernel[kind]) continue;
      drawn[kind] = kernel[kind];
      draw(kernel[kind]);
    }
  };
  const later = () => {
    asked ||= requestAnimationFrame(() => {
      asked = 0;
      update();
    });
  };
  /** Draw the last messages of these kinds again, after a setting of the page has changed. */
  const redraw = (...kinds) => {
    kinds.forEach((kind) => delete drawn[kind]);
    update();
  };
  const { parts, draws } = build({ model, kernel, el, status, on, follow, redraw, undo });
  box.append(...parts);
  el.append(box);
  kernel.listeners.add(later);
  undo.push(
    () => kernel.listeners.delete(later),
    () => clearTimeout(slow),
    comeAlive(kernel, el, box),
  );
  update();
  return () => undo.forEach((each) => each());
}
