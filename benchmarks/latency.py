"""How quickly the explorers answer in a real JupyterLab and Chromium: from a control's event to the new pixels.

Each move is an event as the browser gives it to the page; its time ends with the first frame whose pixels (or text, for
a readout) differ. Moves begin at random moments of a frame. This needs Chromium and the package's `test` extra.
"""

import os
import tempfile
from pathlib import Path
from typing import NamedTuple

import numpy as np

from tests.browser.driver import CHROMIUM, FLAGS, MISSING, Notebook, lab, sync_playwright

from .table import show

MOVES = int(os.environ.get("MOVES", "100"))
ALONE, KERNEL, NETWORK = "browser", "kernel", "network"
"""What a control asks: only the page; the kernel, for mixtures and cuts; or the network too."""

TARGETS = {ALONE: (None, 16), KERNEL: (None, 100), NETWORK: (100, 150)}
"""In milliseconds: median and 95 % quantile."""


class Control(NamedTuple):
    """One control of one explorer: `move` is JavaScript for the i-th move, `seen` selects what then looks different."""

    explorer: str
    name: str
    asks: str
    move: str
    seen: str
    before: str = ""
    """The code that a cell runs before the first move."""


def drag(label: str) -> str:
    """Move a slider from one place of its range to another, by `input` events as while it is held."""
    return f"""const input = labelled({label!r}), [low, high] = [input.min, input.max].map(Number);
      const step = Number(input.step), n = Math.floor((high - low) / step + 1e-9) + 1;
      let k = (i * 7 + 3) % n;
      if (Math.abs(low + k * step - input.valueAsNumber) < step / 2) k = (k + 1) % n;
      input.value = low + k * step;
      input.dispatchEvent(new Event('input', {{bubbles: true}}));"""


def choose(label: str, values: str = "[...input.options].map((o) => o.value)") -> str:
    """Choose the next option of a drop-down."""
    return f"""const input = labelled({label!r}), values = {values};
      input.value = values[(values.indexOf(input.value) + 1) % values.length];
      input.dispatchEvent(new Event('change', {{bubbles: true}}));"""


def point(canvas: str, *events: str) -> str:
    """Move from one place of a picture to another, and send the other events there."""
    return f"""const canvas = widget.querySelector({canvas!r}), at = canvas.getBoundingClientRect();
      const where = {{bubbles: true, clientX: at.left + at.width * (0.5 + (i * 37 % 100)) / 100,
        clientY: at.top + at.height * (0.5 + (i * 61 % 100)) / 100}};
      for (const name of {["pointermove", *events]}) canvas.dispatchEvent(new PointerEvent(name, where));"""


def press(selector: str) -> str:
    """Click on several elements in turn."""
    return f"const all = [...widget.querySelectorAll({selector!r})]; all[(i + 1) % all.length].click();"


RESULT = "figure.box canvas, .summary"
NOW = ".columns figure:not(:first-child) canvas:nth-of-type(2)"
NO_MEMORY = "look = it._look; it._look = lambda wish: (setattr(it, '_drawn', None), look(wish))[1]"
"""Makes the sanity explorer forget every place of its slider, so that each visit is new."""


def stroke() -> str:
    """Dab with a broad brush in one place after another, for the foreground and the background in turn."""
    return (
        point(".cut .board canvas")
        + """
      const input = labelled('brush size'), space = new KeyboardEvent('keydown', {key: ' ', bubbles: true});
      if (i === 0) { input.value = 40; input.dispatchEvent(new Event('input', {bubbles: true})); }
      widget.querySelectorAll('.brush input[type=radio]')[1 + i % 2].click();
      widget.querySelector('.cut .board').dispatchEvent(space);"""
    )


CONTROLS = [
    Control("scores", "k", ALONE, drag("k, how many"), "tbody"),
    Control("scores", "score or probability", ALONE, press("fieldset input"), "tbody"),
    Control("scores", "click on a class", ALONE, press("tbody tr:not([hidden]) button"), "tbody"),
    Control("scores", "photo", NETWORK, choose("photo"), "figure canvas"),
    Control("saliency", "hover", ALONE, point(".pictures canvas"), ".readout"),
    Control("saliency", "overlay strength", ALONE, drag("overlay"), ".pictures figure:nth-child(3) canvas"),
    Control("saliency", "class", NETWORK, press(".classes button"), ".pictures figure:nth-child(2) canvas"),
    Control("saliency", "photo", NETWORK, choose("photo"), ".pictures canvas"),
    Control("saliency", "one or ten crops", NETWORK, choose("crops"), ".pictures figure:nth-child(2) canvas"),
    Control("sanity", "random layers, a new place", NETWORK, drag("random layers"), NOW, NO_MEMORY),
    Control("sanity", "random layers, a place visited before", KERNEL, drag("random layers"), NOW, "it._look = look"),
    Control("sanity", "class", NETWORK, press(".classes button"), ".columns canvas"),
    Control("sanity", "photo", NETWORK, choose("photo"), ".columns canvas"),
    Control("taylor", "s", ALONE, drag("s, how far"), "canvas, .chart"),
    Control("taylor", "the chart shows", ALONE, choose("the chart"), ".chart"),
    Control("taylor", "class", NETWORK, press(".classes button"), ".chart"),
    Control("taylor", "direction", NETWORK, choose("walk"), ".chart"),
    Control("taylor", "photo", NETWORK, choose("photo"), ".chart"),
    Control("localisation", "hover", ALONE, point("canvas"), ".readout"),
    Control("localisation", "foreground quantile", KERNEL, drag("foreground quantile"), "canvas"),
    Control("localisation", "background quantile", KERNEL, drag("background quantile"), "canvas"),
    Control("localisation", "blur", KERNEL, drag("blur"), "canvas"),
    Control("localisation", "components", KERNEL, drag("components"), "canvas"),
    Control("localisation", "smoothness", KERNEL, drag("smoothness"), RESULT),
    Control("localisation", "soft or hard seeds", KERNEL, press("fieldset:nth-of-type(2) input"), RESULT),
    Control("localisation", "stroke, painted", ALONE, stroke(), "canvas"),
    Control("localisation", "stroke, cut again", KERNEL, stroke(), RESULT),
    Control("localisation", "class", NETWORK, press(".classes button"), "canvas"),
    Control("localisation", "photo", NETWORK, choose("photo"), "canvas"),
    Control("localisation", "one or ten crops", NETWORK, press("fieldset input"), "canvas"),
    Control("class_model", "step", NETWORK, press(".buttons button:nth-of-type(3)"), "canvas.picture"),
    Control("class_model", "go back", ALONE, drag("go back"), "canvas.picture"),
    Control("class_model", "contrast", ALONE, choose("contrast"), "canvas.picture"),
    Control("microscope", "hover", ALONE, point(".plates canvas"), ".readout"),
    Control("microscope", "mark what differs", ALONE, choose("mark what differs", "['all', 'none']"), ".plates canvas"),
    Control("microscope", "rung", KERNEL, press(".ladder button"), ".plates canvas"),
    Control("microscope", "feature map by click", NETWORK, point(".grid canvas", "click"), ".plates canvas"),
    Control("microscope", "unit by click", NETWORK, point(".chart canvas", "click"), ".plates canvas"),
    Control("microscope", "layer", NETWORK, choose("layer of the neuron"), ".chart canvas"),
    Control("microscope", "photo", NETWORK, choose("photo"), ".chart canvas"),
]  # fmt: skip
SET_UP = {"class_model": "it.length = 300"}

# What is put on a canvas is noted as it is drawn, because reading it back would cost more than many moves.
NOTE = """() => {
  const pen = CanvasRenderingContext2D.prototype, put = pen.putImageData, stroke = pen.stroke;
  pen.putImageData = function (image, ...where) {
    const pixels = new Uint32Array(image.data.buffer);
    let sum = 0;
    for (let k = 0; k < pixels.length; k += 3) sum = (Math.imul(sum, 31) + pixels[k]) | 0;
    this.canvas.drawn = sum;
    return put.call(this, image, ...where);
  };
  pen.stroke = function (...path) {
    this.canvas.drawn = (this.canvas.drawn | 0) + 1;
    return stroke.apply(this, path);
  };
}"""
DONE = "([box]) => document.querySelector(box) && document.querySelector(box).getAttribute('aria-busy') !== 'true'"
HARNESS = """async ([box, seen, code, moves, patience]) => {
  const widget = document.querySelector(box);
  const labelled = (text) => [...widget.querySelectorAll('label')].find((l) => l.innerText.trim().startsWith(text))
    .querySelector('input, select');
  const move = new Function('widget', 'labelled', 'i', code);
  const look = () => [...widget.querySelectorAll(seen)].map((each) => each.drawn ?? each.outerHTML).join();
  // This runs after everything else that the frame has to do.
  const frame = () => new Promise((go) => requestAnimationFrame(() => setTimeout(go)));
  const idle = async () => { do await frame(); while (widget.getAttribute('aria-busy') === 'true'); };
  const times = [];
  for (let i = 0; i < 3 * moves && times.length < moves; i++) { // not every move changes what is seen
    await idle();
    await new Promise((go) => setTimeout(go, 40 * Math.random()));
    const before = look(), begin = performance.now();
    move(widget, labelled, i);
    const waits = () => performance.now() - begin < (widget.getAttribute('aria-busy') === 'true' ? patience : 300);
    while (look() === before && waits()) await frame();
    if (look() !== before) times.push(performance.now() - begin);
  }
  await idle();
  return times;
}"""

BURST = """async ([box, label, seen, n, every]) => {
  const widget = document.querySelector(box);
  const look = () => [...widget.querySelectorAll(seen)].map((c) => c.drawn).join();
  const frame = () => new Promise((go) => requestAnimationFrame(() => setTimeout(go)));
  const named = [...widget.querySelectorAll('label')].find((l) => l.innerText.trim().startsWith(label));
  const input = named.querySelector('input'), begin = performance.now();
  const low = Number(input.min), step = Number(input.step);
  for (let i = 0; i < n; i++) {
    while (performance.now() < begin + i * every) await new Promise((go) => setTimeout(go, 1));
    input.value = low + step * (20 + i);
    input.dispatchEvent(new Event('input', {bubbles: true}));
  }
  const end = performance.now();
  let last = look(), changed = end;
  while (performance.now() - changed < 1000 || widget.getAttribute('aria-busy') === 'true') {
    await frame();
    const now = look();
    if (now !== last) [last, changed] = [now, performance.now()];
  }
  return [changed - end, input.valueAsNumber];
}"""
COUNTED = """
import time
cuts, heard = [], []
def counted(wish, cut=it._cut):
    cuts.append((time.time(), wish.foreground))
    return cut(wish)
it._cut = counted
it.observe(lambda change: heard.append(time.time()), "foreground")
"""


def burst(page: Notebook) -> list[list[str]]:
    """Move a slider 50 times in one second; measure when the last picture is there and what was computed in vain."""
    page.run("it = di.explore.localisation()\nit")
    page.until(DONE, ".localisation")
    rows = []
    for _ in range(5):
        page.python(COUNTED if not rows else "cuts.clear(); heard.clear()", print_it=False)
        late, value = page.page.evaluate(BURST, [".localisation", "foreground quantile", "figure canvas", 50, 20])
        found = page.python("it.foreground, cuts[-1][1], len(cuts), sum(t > heard[-1] for t, _ in cuts)")
        right = abs(found[0] - value) < 1e-9 and found[0] == found[1]
        passed = right and late <= 200 and found[3] <= 2
        rows.append(
            [f"{late:.0f}", "yes" if right else "no", str(found[2]), str(found[3] - 1), "PASS" if passed else "over"]
        )
    return rows


def row(page: Notebook, control: Control) -> list[str]:
    box = f".{control.explorer.replace('_', '-')}"
    times = page.page.evaluate(HARNESS, [box, control.seen, control.move, MOVES, 3000])
    if len(times) < 0.9 * MOVES:
        return [control.explorer, control.name, control.asks, str(len(times)), "", "", "", "too little to see"]
    median, late, slowest = np.quantile(times, [0.5, 0.95, 1])
    most = TARGETS[control.asks]
    passed = late <= most[1] and (most[0] is None or median <= most[0])
    figures = [f"{median:.0f}", f"{late:.0f}", f"{slowest:.0f}"]
    return [control.explorer, control.name, control.asks, str(len(times)), *figures, "PASS" if passed else "over"]


def main() -> None:
    if MISSING:
        print(f"\nSKIPPED: latency needs {MISSING}")
        return
    rows, wanted = [], os.environ.get("ONLY", "").split()
    place = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
    with place as folder, lab(Path(folder)) as address, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        page = Notebook(browser, address)
        page.page.evaluate(NOTE)
        for explorer in dict.fromkeys(control.explorer for control in CONTROLS):
            if wanted and explorer not in wanted:
                continue
            page.run(f"it = di.explore.{explorer}(); {SET_UP.get(explorer, '')}\nit")
            page.until(DONE, f".{explorer.replace('_', '-')}")
            for control in (each for each in CONTROLS if each.explorer == explorer):
                page.python(control.before, print_it=False)
                rows.append(row(page, control))
        bursts = burst(page) if not wanted or "localisation" in wanted else []
        page.check_quiet()
        browser.close()
    header = ["explorer", "control", "asks", "moves", "median (ms)", "95 %", "slowest", ""]
    show(f"From the event to new pixels, {MOVES} moves each, JupyterLab and Chromium", header, rows)
    header = ["last picture after (ms)", "is the right one", "cuts", "of these in vain after the last move", ""]
    show("The lab's foreground slider, 50 moves in one second; targets 200 ms and 1", header, bursts)


if __name__ == "__main__":
    main()
