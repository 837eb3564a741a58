// What a ReLU does on the way down, entry by entry.

/** Whether the ReLU let x through on the way up: 1(0 < x < ceiling); a ReLU without a ceiling has null. */
export const isOpen = (x, ceiling) => x > 0 && (ceiling === null || x < ceiling);

/** What becomes of R_n+1 = r under a rule, and why: one of "nothing", "shut", "negative" and "passes". */
export function fate(rule, x, r, ceiling) {
  if (r === 0) return "nothing";
  if (rule !== "deconvnet" && !isOpen(x, ceiling)) return "shut";
  if (rule !== "gradient" && r < 0) return "negative";
  return "passes";
}

/** 3 (from above) where two differ by more than rounding, as in Rung.distance; where no ReLU is at work, what differs
 * came down different already. */
export const differing = (one, two) =>
  Uint8Array.from(one, (r, i) => 3 * (Math.abs(r - two[i]) > 1e-5 * Math.max(Math.abs(r), Math.abs(two[i]))));
