// The choice of a photo: a shipped one, or the learner's own file.

import { options, select } from "./controls.js";
import { h, labelled } from "./elements.js";
import { spaced } from "../pure/numbers.js";
import { texts } from "../texts/en.js";

const MOST_BYTES = 9e6; // a larger message would end the connection of Jupyter's websocket

/** A drop-down of the shipped photos, and a field for the learner's own file. */
export function photoControls({ model, kernel, follow }) {
  const photo = select([], (value) => kernel.set({ photo: value }));
  follow(["photos", "photo"], () => {
    photo.replaceChildren(...options(model.get("photos").map((name) => [name, spaced(name)])));
    photo.value = model.get("photo");
  });
  return [labelled(texts.photo.photo, photo), uploadField(kernel, texts.photo.photo)];
}

/** A field for the learner's own file; if it cannot be sent, a message says why, and the last photo or start stays. */
export function uploadField(kernel, what) {
  const take = async () => {
    const [file] = upload.files;
    if (file && !file.size) kernel.say(texts.photo.empty(file.name, what));
    else if (file?.size > MOST_BYTES) kernel.say(texts.photo.large(file.name, file.size, MOST_BYTES, what));
    else if (file) kernel.ask({ do: "upload" }, [await file.arrayBuffer()]);
    upload.value = "";
  };
  const upload = h("input", { type: "file", accept: "image/*", onchange: take });
  return labelled(texts.photo.yours, upload);
}
