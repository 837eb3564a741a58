const TAKE_KEYS = ["input", "select", "button"];

/** An element with attributes, listeners (a name that begins with "on") and children. */
export function h(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value);
  }
  // JupyterLab takes arrow keys, Enter and letters from every element but text fields.
  if (TAKE_KEYS.includes(tag) || "tabindex" in attributes) element.dataset.lmSuppressShortcuts = "true";
  element.append(...children);
  return element;
}

/** An id that no other element of the page has. */
export const unique = (prefix) => `${prefix}-${Math.random().toString(36).slice(2)}`;

export const row = (...parts) => h("div", { class: "row" }, ...parts);

export const labelled = (text, control) => h("label", {}, text, control);

/** The heads of a table's columns. */
export const heads = (texts) => h("tr", {}, ...texts.map((text) => h("th", { scope: "col" }, text)));

/** Set a text that a screen reader speaks, only if it is new. */
export function speak(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** The element of fixed markup; text from a kernel or a person must not be in it. */
export function svg(markup) {
  const box = h("div");
  box.innerHTML = markup;
  return box.firstChild;
}
