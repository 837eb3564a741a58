// Fields, buttons and sliders, and the choice of a photo and of a class.

import { h } from "./elements.js";
import { number, words } from "../pure/numbers.js";

const MOST_BYTES = 9e6; // more than Jupyter's websocket takes in one message would end the connection

export const options = (pairs) => pairs.map(([value, text]) => h("option", { value }, text));
export const select = (pairs, onchange) => h("select", { onchange: (event) => onchange(event.target.value) }, ...options(pairs));
export const button = (text, onclick) => h("button", { type: "button", onclick }, text);

/** A drop-down of the shipped photos and a file of one's own. */
export function photoControls({ model, kernel, follow }) {
  const photo = select([], (value) => kernel.set({ photo: value }));
  follow(["photos", "photo"], () => {
    photo.replaceChildren(...options(model.get("photos").map((name) => [name, words(name)])));
    photo.value = model.get("photo");
  });
  return [h("label", {}, "photo", photo), uploadField(kernel, "photo")];
}

/** A file of one's own; what cannot be sent at all is said, and the last photo or start stays. */
export function uploadField(kernel, what) {
  const upload = h("input", { type: "file", accept: "image/*", onchange: async () => {
    const [file] = upload.files, stays = `The last ${what} stays.`;
    if (file && !file.size) kernel.say(`${file.name} is empty: 0 bytes. ${stays}`);
    else if (file?.size > MOST_BYTES) kernel.say(`${file.name} has ${(file.size / 1e6).toFixed(1)} MB, and the browser can hand ` +
      `over ${MOST_BYTES / 1e6} MB. Save it smaller, or pass its path to the explorer in a cell. ${stays}`);
    else if (file) kernel.ask({ do: "upload" }, [await file.arrayBuffer()]);
    upload.value = "";
  } });
  return h("label", {}, "or a photo of yours", upload);
}

/** A field for part of a class's name, its WordNet id or its index; the kernel finds it. */
export function classSearch({ model, kernel }, text) {
  const id = `classes-${Math.random().toString(36).slice(2)}`;
  const find = () => {
    if (search.value.trim()) kernel.ask({ do: "find", text: search.value.replace(/.*\((\d+)\)$/, "$1") });
    search.value = "";
  };
  const search = h("input", { list: id, autocomplete: "off", spellcheck: "false", placeholder: "part of its name, then Enter",
    onchange: find,
    oninput: (event) => { if (event.inputType !== "insertText" && /\(\d+\)$/.test(search.value)) find(); }, // chosen from the list
    onkeydown: (event) => { if (event.key === "Enter") find(); } }); // while the list is open there is no change event
  const classes = h("datalist", { id }, ...model.get("labels").map((label, c) => h("option", { value: `${label} (${c})` })));
  return [h("label", {}, text, search), classes];
}

/** A number field; `apply(value)` at every change, with null for an empty field. JupyterLab's notebook keeps the browser
 * from turning Enter into a change, so Enter is listened to as well. */
export function numberField(limits, apply) {
  const field = h("input", { type: "number", ...limits, onchange: () => commit(),
    onkeydown: (event) => { if (event.key === "Enter") commit(); } });
  const commit = () => apply(field.value === "" ? null : field.valueAsNumber);
  return field;
}

/** A slider with its value beside it; `oninput(value)` at every move. */
export function slider(text, { min, max, step, value, says = (v) => number(v) }, oninput) {
  const output = h("output", { "aria-hidden": "true" }); // the label is an output's, if there is one, so the slider has its own
  const input = h("input", { type: "range", "aria-label": text, min, max, step, oninput: () => { show(); oninput(input.valueAsNumber); } });
  const show = () => { output.textContent = says(input.valueAsNumber); input.setAttribute("aria-valuetext", output.textContent); };
  const put = (to) => { input.value = to; show(); };
  put(value);
  return { label: h("label", { class: "slider" }, h("span", {}, `${text} `, output), input), input, put };
}

/** The photo's best classes, to be chosen by a click, and a search for any other; "classes" is told by the kernel. */
export function classControls({ model, kernel, on }, text = "or another class") {
  const list = h("div", { class: "classes", role: "group", "aria-label": "Classes of this photo, the network's first one first" });
  const press = () => {
    const chosen = model.get("class_index"), shown = [...list.children];
    if (shown.length && !shown.some((each) => Number(each.value) === chosen)) list.append(choice(chosen, ""));
    for (const each of list.children) each.setAttribute("aria-pressed", String(Number(each.value) === chosen));
  };
  const choice = (c, score) => {
    const each = button(`${model.get("labels")[c]} ${score}`.trim(), () => kernel.set({ class_index: c }));
    each.value = c;
    return each;
  };
  on("change:class_index", press);
  const draw = ({ listed }) => {
    list.replaceChildren(...listed.map(([c, score]) => choice(c, number(score))));
    press();
  };
  return { parts: [list, h("div", { class: "row" }, ...classSearch({ model, kernel }, text))], draw };
}
