const QUANTILE = 0.995; // as in figures.stretch_contrast

/** p' = 128 + 127 (p − m) / q, exactly as figures.stretch_contrast: m the mean colour, q a quantile. */
export function stretch(rgb) {
  const pixels = rgb.length / 3;
  const counts = [0, 1, 2].map(() => new Uint32Array(256));
  rgb.forEach((level, i) => counts[i % 3][level]++);
  const means = counts.map((n) => n.reduce((sum, count, level) => sum + count * level, 0) / pixels);
  const deviations = counts.flatMap((n, c) => [...n].map((count, level) => [Math.abs(level - means[c]), count]));
  deviations.sort((a, b) => a[0] - b[0]);
  const at = (place) => {
    let left = place;
    return deviations.find(([, count]) => (left -= count) < 0)[0];
  };
  const rank = QUANTILE * (3 * pixels - 1);
  const low = Math.floor(rank);
  const reach = at(low) + (rank - low) * (at(Math.ceil(rank)) - at(low)) || 127;
  return Uint8ClampedArray.from(rgb, (level, i) => Math.round(128 + (127 / reach) * (level - means[i % 3])));
}
