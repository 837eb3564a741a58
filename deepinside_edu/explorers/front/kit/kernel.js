// The kernel sends messages of several kinds, each complete in itself: the last one of a kind is what holds, and a page
// that is opened later gets it again.

import { texts } from "../texts/en.js";

const PATIENCE = 10; // seconds

/** The kernel as the page knows it, shared by every view of one widget. */
export class Kernel {
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
  get message() {
    return this.state.message;
  }
  get settled() {
    return !this.state.busy;
  }
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
    } catch {
      // the connection of this widget is closed
      this.part();
    }
  }
  part() {
    this.parted = true;
    this.say(texts.kernel.parted);
  }
  /** A kernel that died says nothing: then the page has to. */
  expect() {
    clearTimeout(this.waiting);
    this.waiting = setTimeout(() => {
      this.silent = true;
      this.say(texts.kernel.silent(PATIENCE));
    }, 1000 * PATIENCE);
  }
  say(message) {
    clearTimeout(this.waiting);
    this.state = { busy: false, message };
    this.tell();
  }
  tell() {
    for (const listener of this.listeners) listener();
  }
}
