const LISTED = 12;

/** The classes that a text may mean: equal names, then beginnings, then parts of names; or the class of an index. */
export function matching(labels, text) {
  const wanted = text.trim().toLowerCase();
  if (!wanted) return [];
  const names = labels.map((label) => label.toLowerCase());
  const place = (c) => (names[c] === wanted ? 0 : names[c].startsWith(wanted) ? 1 : 2);
  return [...labels.keys()]
    .filter((c) => names[c].includes(wanted) || String(c) === wanted)
    .sort((a, b) => place(a) - place(b) || a - b)
    .slice(0, LISTED);
}
