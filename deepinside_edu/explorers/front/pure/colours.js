// From values to colours, in the steps and the precision of deepinside_edu/figures.py and of Pillow, so that no level
// differs.

/** The three levels of one entry, from a table. */
export function put(rgba, at, table, first) {
  rgba[at] = table[first];
  rgba[at + 1] = table[first + 1];
  rgba[at + 2] = table[first + 2];
}

/** The tables that the kernel sends: 256 colours for maps from 0 up, and 255 for signed values. */
export const tables = (palettes) => ({ heat: palettes.subarray(0, 768), signed: palettes.subarray(768) });

/** The number of the colour, of 256, for each value, as in figures.heat_map: 0 gets the first, `peak` the last. */
export const heatLevels = (values, peak) =>
  Uint8Array.from(values, (value) => Math.min(255, Math.fround(255 * Math.fround(value / Math.fround(peak)))));

/** The number of the colour, of 255, for a signed value: the middle one is 0, the ends are ±peak and beyond. */
export const signedLevel = (value, peak) => Math.round(127 + 127 * Math.max(-1, Math.min(1, value / peak)));

/** The grey of each pixel, as in Pillow's convert("L"). */
export const greyLevels = (rgb) =>
  Uint8Array.from(
    { length: rgb.length / 3 },
    (_, i) => (19595 * rgb[3 * i] + 38470 * rgb[3 * i + 1] + 7471 * rgb[3 * i + 2] + 32768) >> 16,
  );

/** A mixture of two levels, as in Image.blend. */
export const blend = (from, to, part) => Math.floor(Math.fround(from + Math.fround(Math.fround(part) * (to - from))));

/** Every level from 0 to 255, as grey, blended with a colour: a table of 256 colours. */
export const tinted = (colour, part) =>
  Uint8Array.from({ length: 768 }, (_, i) => blend(Math.floor(i / 3), colour[i % 3], part));
