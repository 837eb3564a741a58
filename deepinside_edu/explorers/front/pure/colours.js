// Colour tables and the entries of a picture.

import { bytes } from "./bytes.js";

export function put(rgba, at, table, first) {
  rgba[at] = table[first];
  rgba[at + 1] = table[first + 1];
  rgba[at + 2] = table[first + 2];
}

/** The colours of `figures`: 256 from 0 up, and 255 from below 0 to above. */
export function palettesOf(model) {
  const palettes = bytes(model.get("palettes"), Uint8Array);
  return { heat: palettes.subarray(0, 768), signed: palettes.subarray(768) };
}
