// What every explorer shares in the browser; it stands before an explorer's own file. The kernel sends messages of several
// kinds, each complete in itself: the last one of a kind is what holds, and a page that is opened later gets it again.

const PATIENCE = 10, BUSY = 0.25; // seconds
const MOST_BYTES = 9e6; // more than Jupyter's websocket takes in one message would end the connection

function h(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value);
  }
  // JupyterLab takes arrow keys, Enter and letters away from whatever is not a text field.
  if (["input", "select", "button"].includes(tag) || "tabindex" in attributes) element.dataset.lmSuppressShortcuts = "true";
  element.append(...children);
  return element;
}

const bytes = (view, Type) => new Type(view.buffer.slice(view.byteOffset, view.byteOffset + view.byteLength));
/** A probability behind its sign: what is not quite 1 is not said to be 1. */
const probability = (p) => (p > 0.9995 ? "> 0.999" : `= ${number(p)}`);
const number = (value, digits = 3) => String(Number(value.toPrecision(digits))).replace("-", "−");
const clamp = (value, most) => Math.max(0, Math.min(most, value));
const words = (name) => name.replaceAll("_", " ");

/** The kernel as the page knows it, shared by every view of one widget. */
class Kernel {
  listeners = new Set();
  state = { busy: true, message: "" };
  constructor(model) {
    this.model = model;
    model.on("msg:custom", (content, buffers) => {
      clearTimeout(this.waiting);
      this.parted = false;
      this.answers = true;
      this.take(content, buffers);
    });
    model.on("comm_live_update", () => this.part()); // the kernel was restarted or shut down under this page
    this.ask({ do: "hello" });
  }
  take(content, buffers) {
    this[content.kind] = { ...content, buffers };
    if (this.state.busy) this.expect();
    this.tell();
  }
  ask(content, buffers) {
    this.expect();
    this.attempt(() => this.model.send(content, undefined, buffers));
  }
  /** Set traits whose new values the kernel answers. */
  set(values) {
    if (Object.entries(values).some(([name, value]) => this.model.get(name) !== value)) {
      this.expect();
      this.keep(values);
    } else if (this.message) this.ask({ do: "again" }); // what was said of another value does not hold any more
  }
  get message() { return this.state.message; }
  /** Set traits that are the page's own business; the kernel has nothing to answer. */
  keep(values) {
    this.attempt(() => {
      this.model.set(values);
      this.model.save_changes();
    });
  }
  attempt(send) {
    if (this.parted) return this.part();
    try {
      send();
    } catch { // the connection of this widget is closed
      this.part();
    }
  }
  part() {
    this.parted = true;
    this.say("The kernel does not know this widget any more: it was restarted or has died. Run this cell again.");
  }
  /** A kernel that died says nothing: then the page has to. */
  expect() {
    clearTimeout(this.waiting);
    this.waiting = setTimeout(() => {
      this.silent = true;
      this.say(`No answer for ${PATIENCE} seconds. The kernel may be busy with a cell; if it was restarted or has died, ` +
        "run this cell again.");
    }, 1000 * PATIENCE);
  }
  say(message) {
    clearTimeout(this.waiting);
    this.state = { busy: false, message };
    this.tell();
  }
  tell() { for (const listener of this.listeners) listener(); }
}

/** Where nobody answers, in a saved page, the box stays away, and the still picture is what is seen. It comes in the two
 * outputs before this one: a sentence, by which both are known, and the picture. Where there is none, the box says why. */
function comeAlive(kernel, el, box) {
  const stills = () => {
    for (let row = el; row; row = row.parentElement) {
      const picture = row.previousElementSibling, sentence = picture?.previousElementSibling;
      const words = sentence?.matches(".deepinside-still") ? sentence : sentence?.querySelector(".deepinside-still");
      if (words && words.textContent.trim() === sentence.textContent.trim()) return [sentence, picture];
    }
    return [];
  };
  let hidden = [], gone = false;
  const look = () => {
    if (gone) return;
    if (!el.isConnected) return requestAnimationFrame(look);
    const found = stills();
    box.hidden = !kernel.answers && (found.length > 0 || !kernel.silent);
    if (!kernel.answers) return;
    hidden = found;
    hidden.forEach((each) => { each.style.display = "none"; });
    kernel.listeners.delete(look);
  };
  kernel.listeners.add(look);
  look();
  return () => {
    gone = true;
    kernel.listeners.delete(look);
    hidden.forEach((each) => { each.style.display = ""; });
  };
}

/** A widget's module from `build`, which gets the tools below and returns its elements and, for each kind of message, what
 * draws it. Only what is new is drawn, once a frame, however many messages came. */
function explorer(name, build) {
  // A function, so that each widget has a kernel of its own to talk to.
  return () => {
    let kernel;
    return {
      initialize({ model }) { kernel = new Kernel(model); },
      render({ model, el }) {
        const undo = [], drawn = {}, status = h("p", { class: "status", role: "status" });
        const box = h("div", { class: `deepinside ${name}` });
        const on = (event, react) => { model.on(event, react); undo.push(() => model.off(event, react)); };
        const follow = (names, react) => { names.forEach((each) => on(`change:${each}`, react)); queueMicrotask(react); };
        let slow, asked = 0;
        const say = (text) => { if (status.textContent !== text) status.textContent = text; };
        const update = () => {
          const { busy, message } = kernel.state;
          clearTimeout(slow);
          if (busy && !message) slow = setTimeout(() => say("Working …"), 1000 * BUSY);
          else say(message);
          box.setAttribute("aria-busy", String(busy));
          for (const [kind, draw] of Object.entries(draws)) {
            if (!kernel[kind] || drawn[kind] === kernel[kind]) continue;
            drawn[kind] = kernel[kind];
            draw(kernel[kind]);
          }
        };
        const later = () => { asked ||= requestAnimationFrame(() => { asked = 0; update(); }); };
        /** Draw again what was told of these kinds: a setting of the page's own has changed. */
        const redraw = (...kinds) => { kinds.forEach((kind) => delete drawn[kind]); update(); };
        const { parts, draws } = build({ model, kernel, el, status, on, follow, redraw, undo });
        box.append(...parts);
        el.append(box);
        kernel.listeners.add(later);
        undo.push(() => kernel.listeners.delete(later), () => clearTimeout(slow), comeAlive(kernel, el, box));
        update();
        return () => undo.forEach((each) => each());
      },
    };
  };
}

// --- controls ---------------------------------------------------------------------------------------------------------

const options = (pairs) => pairs.map(([value, text]) => h("option", { value }, text));
const select = (pairs, onchange) => h("select", { onchange: (event) => onchange(event.target.value) }, ...options(pairs));
const button = (text, onclick) => h("button", { type: "button", onclick }, text);

/** A drop-down of the shipped photos and a file of one's own. */
function photoControls({ model, kernel, follow }) {
  const photo = select([], (value) => kernel.set({ photo: value }));
  follow(["photos", "photo"], () => {
    photo.replaceChildren(...options(model.get("photos").map((name) => [name, words(name)])));
    photo.value = model.get("photo");
  });
  return [h("label", {}, "photo", photo), uploadField(kernel, "photo")];
}

/** A file of one's own; what cannot be sent at all is said, and the last photo or start stays. */
function uploadField(kernel, what) {
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
function classSearch({ model, kernel }, text) {
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
function numberField(limits, apply) {
  const field = h("input", { type: "number", ...limits, onchange: () => commit(),
    onkeydown: (event) => { if (event.key === "Enter") commit(); } });
  const commit = () => apply(field.value === "" ? null : field.valueAsNumber);
  return field;
}

/** A slider with its value beside it; `oninput(value)` at every move. */
function slider(text, { min, max, step, value, says = (v) => number(v) }, oninput) {
  const output = h("output", { "aria-hidden": "true" }); // the label is an output's, if there is one, so the slider has its own
  const input = h("input", { type: "range", "aria-label": text, min, max, step, oninput: () => { show(); oninput(input.valueAsNumber); } });
  const show = () => { output.textContent = says(input.valueAsNumber); input.setAttribute("aria-valuetext", output.textContent); };
  const put = (to) => { input.value = to; show(); };
  put(value);
  return { label: h("label", { class: "slider" }, h("span", {}, `${text} `, output), input), input, put };
}

/** The photo's best classes, to be chosen by a click, and a search for any other; "classes" is told by the kernel. */
function classControls({ model, kernel, on }, text = "or another class") {
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

// --- pictures ---------------------------------------------------------------------------------------------------------

/** Paint entry by entry: colour(i, rgba, at) writes three levels. */
function paint(canvas, [width, height], colour) {
  if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
  const image = new ImageData(width, height);
  for (let i = 0, at = 0; i < width * height; i++, at += 4) {
    colour(i, image.data, at);
    image.data[at + 3] = 255;
  }
  canvas.getContext("2d").putImageData(image, 0, 0);
}

function put(rgba, at, table, first) {
  rgba[at] = table[first];
  rgba[at + 1] = table[first + 1];
  rgba[at + 2] = table[first + 2];
}

/** The colours of `figures`: 256 from 0 up, and 255 from below 0 to above. */
function palettesOf(model) {
  const palettes = bytes(model.get("palettes"), Uint8Array);
  return { heat: palettes.subarray(0, 768), signed: palettes.subarray(768) };
}

/** A canvas in a frame with a box that shows one of its entries; the box moves and nothing is drawn again. */
function plate(className = "") {
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
function entry(event, canvas, [width, height]) {
  const { left, top, width: wide, height: high } = canvas.getBoundingClientRect();
  return [clamp(Math.floor(((event.clientX - left) / wide) * width), width - 1),
    clamp(Math.floor(((event.clientY - top) / high) * height), height - 1)];
}

const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

/** Arrow keys move by one entry, with Shift by ten; Enter and the space bar choose. */
function keys(element, move, choose = () => {}) {
  element.addEventListener("keydown", (event) => {
    const step = ARROWS[event.key], far = event.shiftKey ? 10 : 1;
    if (step) move(far * step[0], far * step[1]);
    else if (event.key === "Enter" || event.key === " ") choose();
    else return;
    event.preventDefault();
    event.stopPropagation();
  });
}

