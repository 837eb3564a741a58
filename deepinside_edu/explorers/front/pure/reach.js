const BINS = 4096;
const reached = new WeakMap(); // other marks draw the same values again

/** The value that gets the full colour: a high quantile of the |values| that are not 0, so that a few large values do
 * not make all others pale. It comes from a histogram, because sorting takes ten times as long. */
export function reach(values, quantile) {
  if (!reached.has(values)) reached.set(values, measured(values, quantile));
  return reached.get(values);
}

function measured(values, quantile) {
  let most = 0;
  let entries = 0;
  for (const value of values) {
    most = Math.max(most, Math.abs(value));
    entries += value !== 0;
  }
  if (!most) return 1;
  const counts = new Uint32Array(BINS + 1);
  for (const value of values) if (value) counts[Math.ceil((BINS * Math.abs(value)) / most)]++;
  let rank = quantile * (entries - 1);
  let bin = 0;
  while ((rank -= counts[++bin]) >= 0);
  return (bin * most) / BINS;
}
