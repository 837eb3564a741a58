// Numbers and names as a person reads them.

/** Three figures, as Python's .3g, with a real minus; no exponent before a millionth. */
export const number = (value, digits = 3) => String(Number(value.toPrecision(digits))).replace("-", "−");

/** A number in a given number of figures, with trailing zeros. */
export const significant = (value, digits = 3) => value.toPrecision(digits);

export const fixed = (value, decimals) => value.toFixed(decimals).replace("-", "−");

/** Numbers with one count of decimals: three figures for the largest. */
export const decimals = (values) => clamp(2 - Math.floor(Math.log10(Math.max(...values.map(Math.abs)) || 1)), 6);

/** A probability to three decimals; a value near 0 or 1 is not rounded to it. */
export const share = (p) => (p < 0.0005 ? "< 0.001" : p > 0.9995 ? "> 0.999" : p.toFixed(3));

/** A probability after its sign, =, < or >. */
export const probability = (p) => (p > 0.9995 ? "> 0.999" : `= ${number(p)}`);

export const percent = (part) => `${Math.round(100 * part)} %`;

export const clamp = (value, most, least = 0) => Math.max(least, Math.min(most, value));

/** A photo's file name as words. */
export const spaced = (name) => name.replaceAll("_", " ");
