// Classes in the order of their scores.

/** All indices, the largest value first; equal values keep their order. */
export const bestFirst = (values) => [...values.keys()].sort((a, b) => values[b] - values[a] || a - b);

/** 1 for the largest. */
export const rankOf = (values, c) => 1 + values.reduce((n, value) => n + (value > values[c]), 0);

/** The target first, then its strongest rivals. */
export function withRivals(scores, target, count) {
  const rivals = [];
  scores?.forEach((score, c) => {
    if (c === target || (rivals.length === count && score <= scores[rivals.at(-1)])) return;
    rivals.push(c);
    rivals.sort((a, b) => scores[b] - scores[a]);
    rivals.length = Math.min(rivals.length, count);
  });
  return [target, ...rivals];
}
