// Numbers and names as a person reads them.

/** Three figures, as Python's .3g, with a real minus; no exponent before a millionth. */
export const number = (value, digits = 3) => String(Number(value.toPrecision(digits))).replace("-", "−");

/** So many figures, zeros too. */
export const significant = (value, digits = 3) => value.toPrecision(digits);

export const fixed = (value, decimals) => value.toFixed(decimals).replace("-", "−");

/** Three figures of the largest, and as many decimals for all. */
export const decimals = (values) => clamp(2 - Math.floor(Math.log10(Math.max(...values.map(Math.abs)) || 1)), 6);

/** A probability in three decimals; what is nearly 0 or 1 is not said to be 0 or 1. */
export const share = (p) => (p < 0.0005 ? "< 0.001" : p > 0.9995 ? "> 0.999" : p.toFixed(3));

/** A probability behind its sign: what is not quite 1 is not said to be 1. */
export const probability = (p) => (p > 0.9995 ? "> 0.999" : `= ${number(p)}`);

export const percent = (part) => `${Math.round(100 * part)} %`;

export const clamp = (value, most, least = 0) => Math.max(least, Math.min(most, value));

/** A photo's file name as words. */
export const spaced = (name) => name.replaceAll("_", " ");
