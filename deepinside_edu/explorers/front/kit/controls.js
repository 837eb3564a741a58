// Fields, buttons and sliders.

import { h, labelled, unique } from "./elements.js";
import { number } from "../pure/numbers.js";

export const options = (pairs) => pairs.map(([value, text]) => h("option", { value }, text));

export const select = (pairs, onchange) =>
  h("select", { onchange: (event) => onchange(event.target.value) }, ...options(pairs));

export const button = (text, onclick) => h("button", { type: "button", onclick }, text);

/** A drop-down that sets a trait and follows it. */
export function traitSelect({ model, kernel, follow }, trait, pairs, read = (value) => value) {
  const field = select(pairs, (value) => kernel.set({ [trait]: read(value) }));
  follow([trait], () => {
    field.value = model.get(trait);
  });
  return field;
}

/** A number field; `apply(value)` at every change, with null for an empty field. JupyterLab's notebook keeps the
 * browser from turning Enter into a change, so the field listens to Enter as well. */
export function numberField(limits, apply) {
  const commit = () => apply(field.value === "" ? null : field.valueAsNumber);
  const onkeydown = (event) => {
    if (event.key === "Enter") commit();
  };
  const field = h("input", { type: "number", ...limits, onchange: commit, onkeydown });
  return field;
}

/** A slider with its value beside it; `oninput(value)` at every move. */
export function slider(text, { min, max, step, value, says = (v) => number(v) }, oninput) {
  const output = h("output", { "aria-hidden": "true" }); // a label belongs to its output, so the slider has its own
  const show = () => {
    output.textContent = says(input.valueAsNumber);
    input.setAttribute("aria-valuetext", output.textContent);
  };
  const move = () => {
    show();
    oninput(input.valueAsNumber);
  };
  const input = h("input", { type: "range", "aria-label": text, min, max, step, oninput: move });
  const put = (to) => {
    input.value = to;
    show();
  };
  put(value);
  return { label: h("label", { class: "slider" }, h("span", {}, `${text} `, output), input), input, output, put };
}

/** Radio buttons in a frame; `put(value)` chooses one of them. */
export function radios(text, pairs, oninput) {
  const name = unique("radio");
  const inputs = pairs.map(([value]) => h("input", { type: "radio", name, value, oninput: () => oninput(value) }));
  const put = (to) =>
    inputs.forEach((each) => {
      each.checked = each.value === String(to);
    });
  const labels = pairs.map(([, says], i) => h("label", { class: "tick" }, inputs[i], says));
  return { field: h("fieldset", {}, h("legend", {}, text), ...labels), put };
}

/** Radio buttons that set a trait and follow it. */
export function traitRadios({ model, kernel, follow }, trait, text, pairs) {
  const { field, put } = radios(text, pairs, (value) => kernel.set({ [trait]: value }));
  follow([trait], () => put(model.get(trait)));
  return field;
}

/** A slider that sets a trait and follows it, even to a value between two steps. */
export function traitSlider({ model, kernel, follow }, trait, text, range) {
  const { label, input, output, put } = slider(text, { ...range, value: model.get(trait) }, (value) =>
    kernel.set({ [trait]: value }),
  );
  follow([trait], () => {
    const now = model.get(trait);
    if (input.valueAsNumber !== now) put(now);
    if (input.valueAsNumber !== now) output.textContent = number(now);
  });
  return label;
}

/** A number field that sets a trait and follows it. */
export function traitNumber({ model, kernel, follow }, trait, text, limits) {
  const field = numberField(limits, (value) => kernel.set({ [trait]: value }));
  follow([trait], () => {
    field.value = model.get(trait);
  });
  return labelled(text, field);
}
