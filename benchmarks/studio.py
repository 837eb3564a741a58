"""The class-model studio in a real JupyterLab and Chromium: first picture, pictures per second, and what that costs.

Each round climbs the same steps three times in one kernel: bare, with the studio, bare. Each ratio is within one
round, so that other work on the machine slows both. This needs Chromium and the package's `test` extra.
"""

import statistics
import tempfile
from pathlib import Path

from tests.browser.driver import CHROMIUM, FLAGS, MISSING, Notebook, lab, sync_playwright

from .table import show, verdict

STEPS, ROUNDS = 100, 3
OPEN = "studio = di.explore.class_model()\nstudio"
BARE = f"""
import time
start = time.perf_counter()
done = sum(1 for _ in di.class_model(studio.classifier, studio.class_index, studio.preset, steps={STEPS}))
print(done / (time.perf_counter() - start))
"""
SET_UP = f"studio.preset = {{preset!r}}; studio.length = {STEPS}; list(di.class_model(studio.classifier, 0, steps=5))"

EXECUTE = """async (code) => {
  const kernel = window.jupyterapp.shell.currentWidget.sessionContext.session.kernel;
  const future = kernel.requestExecute({code});
  let text = '';
  future.onIOPub = (m) => {
    if (m.header.msg_type === 'stream') text += m.content.text;
    if (m.header.msg_type === 'error') text += m.content.ename + ': ' + m.content.evalue;
  };
  const begin = performance.now();
  await future.done;
  return [text, performance.now() - begin];
}"""
CLIMB = """async () => {
  const box = document.querySelector('.class-model'), canvas = box.querySelector('canvas.picture');
  const press = (text) => [...box.querySelectorAll('button')].find((b) => b.textContent === text).click();
  const bar = box.querySelector('progress');
  const patch = () => canvas.getContext('2d').getImageData(104, 104, 16, 16).data.join();
  const kernel = window.jupyterapp.shell.currentWidget.sessionContext.session.kernel;
  const pictures = [], pace = [], answers = [];
  press('Reset');
  while (bar.value || /Finished/.test(box.innerText)) await new Promise(requestAnimationFrame);
  let last = patch(), done = 0, asking = false, asked = performance.now();
  const begin = asked;
  press('Run');
  while (true) {
    await new Promise(requestAnimationFrame);
    const now = performance.now(), seen = patch();
    if (seen !== last) pictures.push(now - begin);
    last = seen;
    if (bar.value !== done) pace.push([now - begin, done = bar.value]);
    if (!asking && now - asked > 1000) {
      asking = true;
      kernel.requestExecute({code: '1 + 1'}).done.then(() => {
        answers.push(performance.now() - now); asking = false; asked = performance.now();
      });
    }
    if ((done === bar.max && /Finished/.test(box.innerText)) || now - begin > 180000) return {pictures, pace, answers};
  }
}"""


def rate(pace: list[list[float]]) -> float:
    """Steps per second from the first message to the last."""
    (begin, first), (end, last) = pace[0], pace[-1]
    return 1000 * (last - first) / (end - begin)


def cpu(page) -> float:
    """The kernel's own seconds in all threads, which other programs hardly change."""
    return float(page.evaluate(EXECUTE, "import time; print(time.process_time())")[0])


def measure(page, preset: str) -> list[str]:
    page.evaluate(EXECUTE, SET_UP.format(preset=preset))
    first, shown, bares, kept, work, answers = [], [], [], [], [], []
    for _ in range(ROUNDS):
        clock = [cpu(page)]
        before = float(page.evaluate(EXECUTE, BARE)[0])
        clock.append(cpu(page))
        seen = page.evaluate(CLIMB)
        clock.append(cpu(page))
        after = float(page.evaluate(EXECUTE, BARE)[0])
        clock.append(cpu(page))
        work.append(2 * (clock[2] - clock[1]) / (clock[1] - clock[0] + clock[3] - clock[2]))
        pictures = seen["pictures"]
        first.append(pictures[0] / 1000)
        shown.append(1000 * (len(pictures) - 1) / (pictures[-1] - pictures[0]))
        bares.append((before + after) / 2)
        kept.append(rate(seen["pace"]) / bares[-1])
        answers += seen["answers"]
    slowest = max(answers, default=float("nan"))
    middle = [statistics.median(each) for each in (first, shown, bares, kept, work)]
    passed = {verdict(middle[0], 1), verdict(middle[1], 10, True), verdict(middle[3], 0.8, True)} == {"PASS"}
    texts = [f"{middle[0]:.2f}", f"{middle[1]:.1f}", f"{middle[2]:.1f}", f"{middle[3]:.2f}", f"{middle[4]:.2f}"]
    return [preset, *texts, f"{slowest:.0f}", "PASS" if passed else "over"]


def main() -> None:
    if MISSING:
        print(f"\nSKIPPED: studio needs {MISSING}")
        return
    place = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
    with place as folder, lab(Path(folder)) as address, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        notebook = Notebook(browser, address)
        notebook.run(OPEN)
        notebook.page.wait_for_selector(".class-model canvas.picture")
        rows = [measure(notebook.page, preset) for preset in ("paper", "readable")]
        browser.close()
    rows.append(["target", "< 1", "≥ 10", "", "≥ 0.80", "", "", ""])
    show(
        f"The class-model studio in JupyterLab and Chromium, {STEPS} steps, medians of {ROUNDS} rounds",
        [
            "",
            "first picture (s)",
            "pictures/s drawn",
            "bare steps/s",
            "rate kept",
            "CPU per step, with / bare",
            "other cell, slowest (ms)",
            "",
        ],
        rows,
    )


if __name__ == "__main__":
    main()
