// The choice of a class: by a click on one of the photo's best classes, or by part of a name.

import { button } from "./controls.js";
import { h, unique } from "./elements.js";
import { number } from "../pure/numbers.js";
import { matching } from "../pure/search.js";
import { texts } from "../texts/en.js";

/** A field for part of a class's name, its WordNet id or its index, with a list of the names that fit. The
 * kernel finds the class that is chosen or typed. Then the field is empty, or it names the current class. */
export function classSearch({ model, kernel, on, undo }, text, { named = false } = {}) {
  const labels = model.get("labels");
  const name = (c) => `${labels[c]} (${c})`;
  const rest = () => (named ? name(model.get("class_index")) : "");
  const list = listOf(name, (c) => find(String(c)));
  let asking = false;
  const restore = () => {
    list.offer([]);
    input.value = rest();
    if (document.activeElement === input) input.select();
  };
  const find = (wanted) => {
    kernel.ask({ do: "find", text: wanted });
    asking = named;
    if (named) input.select(); // if no class is found, the next text replaces this one
    else restore();
  };
  const onkeydown = (event) => {
    const move = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (event.key === "Escape") return restore();
    if (!move && event.key !== "Enter") return;
    event.preventDefault();
    if (move) list.move(move);
    else if (list.active() !== undefined) find(String(list.active()));
    else if (input.value.trim() && input.value !== rest()) find(input.value); // several may fit; the kernel decides
  };
  const all = () => {
    if (named && input.value === rest()) input.select();
  };
  const input = h("input", {
    id: unique("class"),
    role: "combobox",
    "aria-controls": list.element.id,
    "aria-autocomplete": "list",
    autocomplete: "off",
    spellcheck: "false",
    placeholder: named ? "" : texts.classes.placeholder,
    onkeydown,
    onfocus: all,
    onblur: () => (named || !input.value.trim() ? restore() : find(input.value)),
    oninput: () => list.offer(matching(labels, input.value)),
    onclick: () => setTimeout(all), // the click itself would undo the selection
  });
  list.belongsTo(input);
  const answered = () => {
    if (!asking || !kernel.settled) return;
    asking = false;
    if (!kernel.message) restore(); // also if the class is the same as before
  };
  if (named) {
    on("change:class_index", restore);
    kernel.listeners.add(answered);
    undo.push(() => kernel.listeners.delete(answered));
  }
  restore();
  // Beside the label and not inside, because the list is no part of the field's name.
  return h("div", { class: "search" }, h("label", { for: input.id }, text), input, list.element);
}

/** The names that fit, under a field; the arrow keys make one of them active. */
function listOf(name, choose) {
  const element = h("ul", { id: unique("classes"), role: "listbox", "aria-label": texts.classes.matching, hidden: "" });
  let found = [];
  let active = -1;
  let input;
  const show = () => {
    element.replaceChildren(...found.map(option));
    element.hidden = !found.length;
    input.setAttribute("aria-expanded", String(!element.hidden));
    if (active < 0) return input.removeAttribute("aria-activedescendant");
    input.setAttribute("aria-activedescendant", `${element.id}-${active}`);
    element.children[active].scrollIntoView?.({ block: "nearest" });
  };
  const option = (c, i) => {
    const onmousedown = (event) => {
      event.preventDefault(); // the text field keeps the focus
      choose(c);
    };
    const attributes = { role: "option", id: `${element.id}-${i}`, "aria-selected": i === active, onmousedown };
    return h("li", attributes, name(c));
  };
  return {
    element,
    active: () => found[active],
    belongsTo: (field) => {
      input = field;
    },
    offer: (classes) => {
      found = classes;
      active = -1;
      show();
    },
    move: (step) => {
      if (found.length) active = (Math.max(active, step > 0 ? -1 : 0) + step + found.length) % found.length;
      show();
    },
  };
}

/** The photo's best classes, which a click chooses, and a search for any other class; the kernel sends "classes". */
export function classControls(tools) {
  const { model, kernel, on } = tools;
  const list = h("div", { class: "classes", role: "group", "aria-label": texts.classes.best });
  const choice = (c, score) => {
    const each = button(`${model.get("labels")[c]} ${score}`.trim(), () => kernel.set({ class_index: c }));
    each.value = c;
    return each;
  };
  const press = () => {
    const chosen = model.get("class_index");
    const shown = [...list.children];
    if (shown.length && !shown.some((each) => Number(each.value) === chosen)) list.append(choice(chosen, ""));
    for (const each of list.children) each.setAttribute("aria-pressed", String(Number(each.value) === chosen));
  };
  on("change:class_index", press);
  const draw = ({ listed }) => {
    list.replaceChildren(...listed.map(([c, score]) => choice(c, number(score))));
    press();
  };
  return { list, search: classSearch(tools, texts.classes.another), draw };
}
