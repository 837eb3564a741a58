// Numbers and names as they are written.

/** A probability behind its sign: what is not quite 1 is not said to be 1. */
export const probability = (p) => (p > 0.9995 ? "> 0.999" : `= ${number(p)}`);
export const number = (value, digits = 3) => String(Number(value.toPrecision(digits))).replace("-", "−");
export const clamp = (value, most) => Math.max(0, Math.min(most, value));
export const words = (name) => name.replaceAll("_", " ");
