// A brush's strokes as pixels, exactly as the kernel sets them.

/** Set the pixels of discs, clipped to the picture. */
export function rasterise(strokes, [width, height], { discs, size, side, clear }) {
  if (clear) return strokes.fill(0);
  const radius = Math.floor(size / 2);
  for (const [x, y] of discs) {
    for (let row = Math.max(0, y - radius); row <= Math.min(height - 1, y + radius); row++) {
      for (let column = Math.max(0, x - radius); column <= Math.min(width - 1, x + radius); column++) {
        if (4 * ((column - x) ** 2 + (row - y) ** 2) <= size ** 2) strokes[row * width + column] = side;
      }
    }
  }
  return strokes;
}

/** The centres of discs from one pixel to another, in steps that leave no gap; either pixel may lie outside. */
export function discsBetween(from, to, size) {
  const far = Math.max(Math.abs(to[0] - from[0]), Math.abs(to[1] - from[1]));
  const steps = Math.max(1, Math.ceil(far / Math.max(1, size / 4)));
  return Array.from({ length: steps }, (_, k) =>
    [0, 1].map((c) => Math.round(from[c] + ((to[c] - from[c]) * (k + 1)) / steps)),
  );
}
