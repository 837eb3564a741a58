// Every text of the browser half, on the page and for a screen reader, by explorer. Numbers arrive formatted.

const inLevels = (text) => `${text} level${["1", "−1"].includes(text) ? "" : "s"}`;
const rows = ([width, height]) => `${height} rows by ${width} columns`;
const plural = (n, one, many) => (n === 1 ? one : many);

const kernel = {
  working: "Working …",
  parted: "The kernel does not know this widget any more: it was restarted or has died. Run this cell again.",
  silent: (seconds) =>
    `No answer for ${seconds} seconds. The kernel may be busy with a cell; if it was restarted or has died, ` +
    "run this cell again.",
};

const photo = {
  photo: "photo",
  yours: "or your own photo",
  empty: (name, what) => `${name} is empty: 0 bytes. The last ${what} stays.`,
  large: (name, bytes, most, what) =>
    `${name} has ${(bytes / 1e6).toFixed(1)} MB, and the browser can send ${most / 1e6} MB. ` +
    `Save a smaller copy, or pass its path to the explorer in a cell. The last ${what} stays.`,
};

const classes = {
  placeholder: "part of its name, then Enter",
  matching: "matching classes",
  best: "Classes of this photo, the network's first one first",
  another: "or another class",
};

const scores = {
  k: "k, how many classes",
  bars: "the bars show",
  shown: { score: "score S_c", probability: "probability P_c" },
  find: "find a class",
  clear: "clear the search",
  names: ["rank", "class (index)"],
  numbers: ["score S_c", "probability P_c"],
  caption: (name, [width, height]) => `${name}, as the network sees it: ${height} × ${width} pixels`,
  photo: (caption, label, score) => `${caption}; its best class is ${label}, score ${score}`,
  line: (label, c, searched) => `${label} (${c})${searched ? " ← searched" : ""}`,
  together: (k, all, p) =>
    `The best ${k > 1 ? k : "one"} of ${all} classes ${plural(k, "has", "have")} probability ` +
    `${p}${plural(k, "", " together")}.`,
  rank: (label, rank) => `${label} has rank ${rank}.`,
};

const saliency = {
  channels: { 1: ["grey"], 3: ["red", "green", "blue"] },
  crops: "crops",
  cropChoices: [
    [1, "one: the whole photo"],
    [10, "ten, averaged"],
  ],
  strength: "overlay strength",
  title: (label, c, score, p) => `${label} (${c}): score S_c = ${score}, probability P_c ${p}`,
  seen: "photo, as the network saw it",
  map: "map M: 0 ",
  over: "overlay, map over grey photo",
  pictures: "Photo, map and overlay: arrow keys move one cursor in all three, with Shift by ten",
  scale: (brightest) => `black for 0, through red to yellow for ${brightest} and more`,
  mapOf: (label, ten, brightest, most, spot) =>
    `Saliency map of ${label}, ${ten ? "averaged over ten crops" : "of one crop"}, black for 0, ` +
    `yellow for ${brightest} and more; the largest M, ${most}, is in ${spot}`,
  overlay: (strength) => `The map over the grey photo, at strength ${strength}`,
  toStrongest: "to the strongest pixel",
  rows: ["photo, 0 to 255", "w = ∂S_c/∂I", "|w|"],
  largest: (ten) => (ten ? ", largest" : " = M"),
  read: (spot, m, ten, channel) => {
    const where = channel ? `|w| is largest in ${channel}` : "w is 0 in every channel";
    const averaged = ", the average over the crops that saw this pixel. For the whole photo alone, as in the table, ";
    return `${spot}: M = ${m}${ten ? averaged : "; "}${where}.`;
  },
};

const directions = {
  gradient: "along the gradient w",
  noise: "along noise",
  grey: "towards the mean colour",
  "another photo": "towards the next shipped photo",
};

const taylor = {
  directions,
  levels: inLevels,
  across: "s, in root-mean-square grey levels (of 255) along d",
  up: "score S_c",
  auto: "around where the line holds",
  way: "s, how far to walk",
  home: "back to the photo, s = 0",
  walk: "walk",
  shows: "the chart shows",
  keys: { score: "score S_c(I₀ + s·d)", line: "line S_c(I₀) + s·wᵀd", holds: "they are at most 1 apart" },
  note:
    "One level of s is a root mean square over all values of the photo: along w a few pixels move by far more than " +
    "one level and most by less. Along the sign of w (“one level up or down in every value”) the slope is another " +
    "number.",
  caption: (s, beyond, cut) =>
    `I₀ + s·d, s = ${inLevels(s)}${beyond}` +
    (cut ? `; ${cut} % of its values lie outside 0 to 255 and are clipped in the picture` : ""),
  beyond: (direction, far) =>
    `; beyond ${directions[direction].replace("towards ", "")} (at ${inLevels(far)}): ` +
    (direction === "grey" ? "its colours are those of a negative" : "more than the whole difference is added"),
  picture: (name, s, direction) => `${name}, ${inLevels(s)} ${directions[direction]}`,
  holds: (from, to) => `the line is within 1 of the score from ${from} to ${to} levels`,
  chart: (label, direction, [from, to], score, slope, [low, high], holds) =>
    `Score of ${label} and its straight line ${directions[direction]}, s from ${from} to ${inLevels(to)}: ` +
    `score ${score} and slope ${slope} per level at s = 0; the score runs from ${low} to ${high}; ${holds}`,
  sum: (there, score, way, line, difference) =>
    `score ${there}, line ${score} ${way} = ${line}, difference ${difference}`,
  computed: "this score is being computed",
  read: (label, s, sum, direction, holds, done, slope) =>
    `${label}, s = ${inLevels(s)}: ${sum}. ` +
    `Walking ${directions[direction]}, ${holds}${done ? "" : " so far"} (shaded); ` +
    `its slope is ${slope} per level.`,
};

const sanity = {
  none: "none: the trained network",
  reached: (k, most, layer) => `${k} of ${most}, down to ${layer}`,
  depth: "random layers, from the last one down",
  play: "forget layer by layer",
  stop: "stop",
  draw: "draw of the random weights",
  photo: "photo",
  seen: "as the network saw it",
  trainedNetwork: "trained network",
  trained: "trained",
  allRandom: "all random",
  subject: (label, c, p) => `Maps of ${label} (${c}): P_c ${p} in the trained network.`,
  before: (method, label) => `${method} map of ${label} in the trained network`,
  random: (k) => (k ? `last ${k} ${plural(k, "layer", "layers")} random` : "no layer random"),
  now: (method, random) => `${method} map, ${random}`,
  alike: (rank, ssim) => `rank correlation ${rank}, SSIM ${ssim}`,
  curve: (method, known) =>
    `${method}: similarity to the trained network's map at each number of random layers, rank correlation and SSIM: ` +
    known.map(([depth, rank, ssim]) => `${depth}: ${rank} and ${ssim}`).join("; "),
  like: "How similar to the map above?",
  keys: { rank: "rank correlation", ssim: "SSIM" },
  says: "This network says ",
  chance: (p) => `P_c ${p}`,
  note:
    "Each map is drawn from black for 0 to yellow for its own 99.5 % quantile: " +
    "only its pattern counts, not the size of its values.",
};

const localisation = {
  settings: {
    foreground: "foreground quantile",
    background: "background quantile",
    blur: "blur, pixels",
    components: "components",
    smoothness: "smoothness λ, nats",
  },
  crops: "crops",
  one: "one",
  ten: "ten",
  seedsBind: "seeds",
  soft: "soft",
  hard: "hard: they bind the cut",
  pictures: ["map", "seeds", "swatches", "costs", "cut", "box"],
  board: (name) => `The ${name}: arrow keys move the cursor, with Shift by ten; Space paints with the brush`,
  point: "Point at a picture, or press the arrow keys on the seeds or the cut, to read its numbers.",
  captions: (peak, found) => ({
    map: `1 map M: black 0, yellow ${peak} and more`,
    seeds: "2 seeds: blue foreground, cyan background, red unused",
    swatches: "3 colours of the two mixtures, as wide as their weights",
    costs: "4 costs: blue where foreground is cheaper, red where background is",
    cut: "5 cut: the foreground in colour",
    box: `6 largest component, its box yellow${found}`,
  }),
  found: (boxes, judged) => (boxes ? `; true ${plural(boxes, "box", "boxes")} blue, dashed${judged}` : ""),
  judged: (iou) => (iou === null ? "" : `, IoU ${iou.toFixed(2)} ${iou >= 0.5 ? "≥ 0.5: found" : "< 0.5: missed"}`),
  labels: {
    map: (label, size, peak) => `Map of ${label}, ${rows(size)}, black for 0, yellow for ${peak} and more`,
    seeds: (count) =>
      `Seeds: ${count[1]} foreground pixels are blue, ${count[-1]} background pixels cyan, ${count[0]} unused ones red`,
    costs: (cheaper, peak) =>
      `Cost as background minus cost as foreground, white for 0, blue above it, in ${cheaper} of the pixels, ` +
      `red below, full at ±${peak} nats`,
    cut: (part) => `The cut: ${part} of the pixels are foreground, in colour, the rest is pale`,
    box: (part, pixels, boxes, judged) =>
      `The largest component, ${part} of the pixels, in a yellow box, left, top, right, bottom ${pixels.join(", ")}; ` +
      `${boxes} true boxes in blue, dashed${judged}`,
  },
  mixtures: ["foreground", "background"],
  mixtureHeads: ["mixture", "weight", "red", "green", "blue"],
  bar: (side, parts) => `Mean colours of the ${side} mixture with their weights: ${parts}`,
  inNumbers: "the mixtures in numbers",
  seeds: { 1: "foreground", "-1": "background", 0: "unused" },
  cutParts: ["background", "foreground, but not in the largest component", "foreground, in the largest component"],
  read: (spot, { m, seed, stroke, costs, part }) =>
    `${spot}: M = ${m}; seed: ${seed}; ${stroke ? `stroke: ${stroke}; ` : ""}` +
    `cost as foreground ${costs[0]}, as background ${costs[1]}; cut: ${part}.`,
  brush: "brush",
  brushes: [
    ["none", "none"],
    [1, "foreground"],
    [-1, "background"],
    [0, "erase"],
  ],
  size: "brush size, pixels",
  clear: "clear strokes",
  chooseBrush: "Choose a brush first: foreground, background or erase.",
  howToPaint:
    "Paint on the seeds or on the cut: strokes bind the cut (yellow-black to the foreground, white-purple to the " +
    "background); the mixtures do not learn from them. ",
  bound: (foreground, background) => `${foreground} pixels bound to the foreground, ${background} to the background`,
};

const microscope = {
  layer: (name, kind, shape) => (name === "scores" ? `the class scores · ${shape}` : `${name} · ${kind} · ${shape}`),
  layerOfNeuron: "layer of the neuron",
  orClass: "or a class",
  rules: "rules for the way down through a ReLU",
  later: (rule) => `${rule} (later work)`,
  oneRule: "At least one rule is needed: tick another one first.",
  featureMaps: "feature maps",
  sorts: [
    ["strong", "strongest first"],
    ["order", "in their order"],
  ],
  maps: "Feature maps of the layer: arrow keys choose one",
  channel: (c) => `channel ${c}`,
  mapsAre: (count, layer, sorted, each, strongest, most) =>
    `${count} feature maps of ${layer}, ${sorted}, from black for 0 or less to yellow for ` +
    `${each ? "its own" : "the layer's"} largest value; the strongest, ${strongest}, reaches ${most}`,
  largest: (name, value) => `${name}: largest ${value}`,
  units: "The chosen map: arrow keys move over its units, Enter chooses one",
  wholes: { max: "strongest unit", sum: "whole map (sum)" },
  single: (name, value) => `${name}: ${value}, a single value. The squares are as bright as their values.`,
  map: (name, layer, size, most) =>
    `Map of ${name} of ${layer}, ${rows(size)}, white for 0, blue above it and red below, full at ±${most}`,
  summed: "the whole map, summed",
  layerHead: "layer",
  distances: (first) =>
    `Each R is compared with the ${first}'s R. cos is the cosine of the angle between them: ` +
    "1 for the same direction, 0 for nothing in common, −1 for opposite, – if one is all 0. " +
    "L2 is the length of their difference, divided by " +
    `the length of the ${first}'s R: 0 for equal, ∞ if the ${first}'s R is all 0. ` +
    "The last is the share of entries that differ.",
  distance: (cosine, relative, differing) => `cos ${cosine}\nL2 ${relative}\n${differing} differ`,
  rung: (rule, name, colours) =>
    `${rule} at ${name}: ${colours ? "its picture in colours" : "the largest |R| over the channels"}`,
  zero: "all 0",
  mark: "mark what differs",
  marks: [
    ["relu", "at ReLUs, by cause"],
    ["all", "everywhere"],
    ["none", "nowhere"],
  ],
  causes: ["the same", "forward mask", "backward mask", "from above"],
  same: "it is the same",
  because: "differs because of",
  notAs: (first) => `unlike the ${first}:`,
  channelLabel: "channel",
  channelNumber: "its number",
  planes: [
    ["auto", "the largest |R|; the image in colours"],
    ["all", "maximum of |R| over channels"],
    ["one", "number …"],
  ],
  plates: "Pictures under the microscope: arrow keys move the cursor, with Shift by ten",
  which: (channels, of) => {
    if (channels === null) return "maximum over all channels";
    return channels.length > 1 ? "in colours" : `channel ${channels[0]} of ${of}`;
  },
  arrives: "R_n+1, what arrives",
  passed: "R_n, what it lets through",
  oneIsBlue: ", 1 blue",
  plane: (text, rung, which, size) => `${text}; ${rung}, ${which}, ${rows(size)}`,
  marked: (shares) => `; marked by cause: ${microscope.causes.map((cause, c) => `${cause} ${shares[c]}`).join(", ")}`,
  nothing: "nothing arrives, R_n+1 = 0",
  stopped: (because) => `stopped, ${because}`,
  passes: (because) => `passes, ${because.join(" and ")}`,
};

const classModel = {
  search: "class: type part of its name",
  preset: "preset",
  presets: [
    ["paper", "paper: the paper's objective"],
    ["readable", "readable: with later regularisers"],
  ],
  objective: "objective",
  objectives: [
    ["score", "score S_c"],
    ["probability", "probability P_c"],
  ],
  penalty: "λ",
  steps: "steps",
  start: "start",
  starts: { zero: "zero (the mean colour)", noise: "noise" },
  startPhoto: (name) => `photo: ${name}`,
  buttons: { run: "Run", pause: "Pause", step: "Step", reset: "Reset" },
  stepsDone: "steps done",
  states: {
    ready: () => "Ready: press Run.",
    running: () => "Running.",
    paused: (done) => `Paused at step ${done}.`,
    finished: () => "Finished.",
    failed: () => "Stopped.",
  },
  stepOf: (n, total) => `step ${n} of ${total}`,
  rate: (rate) => ` · ${rate} steps per second`,
  left: (seconds) => ` · ${seconds} s left`,
  films: { gif: "Film as GIF", webp: "Film as WebP" },
  making: (type) => `Making the ${type} …`,
  back: "go back",
  backToSome: (count) => ` to one of ${count} steps that have a picture`,
  noStep: "no step yet",
  noPicture: "no picture yet",
  noCurves: "no curves yet",
  caption: ({ label, way, total }, n, score, p, stretched) =>
    `${label}, ${way}, step ${n} of ${total}: S_c ${score}, P_c ${p}${stretched ? " (contrast stretched)" : ""}`,
  picture: (caption) => `The picture that climbs towards ${caption}`,
  scoreCurves: "score S_c, before the softmax",
  chanceCurve: "probability P_c of the target",
  stepNumber: (n) => `step ${n}`,
  leap: (contrast, score) => `not drawn: the last step, contrast × ${contrast}, S_c ${score}`,
  curves: (done, label, [s0, s1, p0, p1], leap, n, rivals) =>
    `Curves of ${done} steps: S_c of ${label} from ${s0} to ${s1}, P_c from ${p0} to ${p1}. ` +
    `${leap && `${leap}. `}At step ${n} the strongest rivals are ${rivals}.`,
  contrast: "contrast",
  contrasts: [
    ["plain", "as it is: 0 to 255, clipped"],
    ["stretched", "stretched: 128 + 127 (p − mean) / 99.5 % quantile of |p − mean|"],
  ],
};

/** All texts of this language. Another language is a file beside this one, with the same names. */
export const texts = {
  kernel,
  photo,
  classes,
  scores,
  saliency,
  taylor,
  sanity,
  localisation,
  microscope,
  classModel,
  rules: { gradient: "gradient", deconvnet: "DeconvNet", guided: "guided" },
  place: (row, column) => `row ${row}, column ${column}`,
  seenBy: (size) => `The photo as the network saw it, ${rows(size)}`,
};
