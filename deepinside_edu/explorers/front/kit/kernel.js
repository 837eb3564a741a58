// The kernel sends messages of several kinds, and each message is complete: the last of a kind counts, and a page that
// opens later gets it again.

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
    } else if (this.message) this.ask({ do: "again" }); // clears the message about another value
  }
  get message() {
    return this.state.message;
  }
  get settled() {
    return !this.state.busy;
  }
  /** Set traits that the kernel does not answer. */
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
  /** Say so if the kernel does not answer: a dead kernel cannot. */
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
