// The effect of a ReLU on the way down, entry by entry.

/** Whether the ReLU let x through on the way up: 1(0 < x < ceiling); a ReLU without a ceiling has null. */
export const isOpen = (x, ceiling) => x > 0 && (ceiling === null || x < ceiling);

/** What happens to R_n+1 = r under a rule, in one word: "nothing", "shut", "negative" and "passes". */
export function fate(rule, x, r, ceiling) {
  if (r === 0) return "nothing";
  if (rule !== "deconvnet" && !isOpen(x, ceiling)) return "shut";
  if (rule !== "gradient" && r < 0) return "negative";
  return "passes";
}

/** 3 (from above) where two values differ by more than rounding, as in Rung.distance: without a ReLU at this layer, the
 * difference comes from a layer above. */
export const differing = (one, two) =>
  Uint8Array.from(one, (r, i) => 3 * (Math.abs(r - two[i]) > 1e-5 * Math.max(Math.abs(r), Math.abs(two[i]))));
