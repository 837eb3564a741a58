"""A JupyterLab of its own and a notebook in Chromium, worked as a person does; every wait has a time limit."""

import base64
import io
import json
import os
import re
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import nbformat
import numpy as np
from PIL import Image

import deepinside_edu

try:
    import axe_playwright_python
    from playwright.sync_api import Error, expect, sync_playwright
except ImportError:
    axe_playwright_python = Error = expect = sync_playwright = None

if expect:
    expect.set_options(timeout=30_000)

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
MISSING = " and ".join(
    command
    for command, present in (
        ("apt-get install -y --no-install-recommends chromium", CHROMIUM),
        ("pip install -c constraints.txt -e '.[test]'", axe_playwright_python),
    )
    if not present
)
FLAGS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage",
]  # fmt: skip
PATIENCE = 30
"""The time limit of each wait, in seconds; a busy machine needs a tenth of it."""
NAME = "explorers.ipynb"
SHOWN = ".jp-OutputArea-output .deepinside"
TOLD = {"saliency": ".title", "sanity": ".says", "localisation": ".summary", "scores": ".told", "taylor": ".readout"}
"""Where the last words of what an explorer is told stand."""
SETTINGS = {
    "apputils-extension/notification": {"fetchNews": "false", "checkForUpdates": False, "doNotDisturbMode": True},
    "notebook-extension/tracker": {"windowingMode": "none"},
}

READY = """() => {
  const context = window.jupyterapp?.shell.currentWidget?.sessionContext, kernel = context?.session?.kernel;
  return context?.isReady && kernel?.status === 'idle' && kernel?.connectionStatus === 'connected';
}"""
EXECUTE = """async ([code, patience]) => {
  const kernel = window.jupyterapp.shell.currentWidget.sessionContext.session.kernel;
  const future = kernel.requestExecute({code, store_history: false});
  let text = '', error = '';
  future.onIOPub = ({header, content}) => {
    if (header.msg_type === 'stream' && content.name === 'stdout') text += content.text;
    if (header.msg_type === 'error') error = content.traceback.join('\\n');
  };
  const late = new Promise((_, no) => setTimeout(() => no(Error(`no answer from the kernel to ${code}`)), patience));
  await Promise.race([future.done, late]);
  if (error) throw Error(error);
  return text;
}"""
REPLACE = """(cells) => {
  const notebook = window.jupyterapp.shell.currentWidget.content.model.sharedModel;
  notebook.deleteCellRange(0, notebook.cells.length);
  notebook.insertCells(0, cells.map((source) => ({cell_type: 'code', source, metadata: {}})));
  window.jupyterapp.commands.execute('notebook:run-all-cells');
}"""
FOCUSED = "(element) => element === document.activeElement"
TOO_WIDE = """(box) => {
  const within = box.getBoundingClientRect(), wide = [];
  const cut = (e) => /auto|scroll|hidden/.test(getComputedStyle(e).overflowX);
  const scrolls = (e) => e !== box && (cut(e) || scrolls(e.parentElement));
  for (const each of box.querySelectorAll('*')) {
    const {left, right, width} = each.getBoundingClientRect();
    if (width && !scrolls(each.parentElement) && (left < within.left - 1 || right > within.right + 1))
      wide.push(`${each.outerHTML.slice(0, 80)}: ${left} to ${right} in ${within.left} to ${within.right}`);
  }
  for (let each = box; each && !each.matches('.jp-Notebook'); each = each.parentElement)
    if (each.scrollWidth > each.clientWidth + 1 && getComputedStyle(each).display !== 'inline')
      wide.push(`${each.className}: ${each.scrollWidth} in ${each.clientWidth}`);
  return wide;
}"""
# JupyterLab's body is 0 pixels high, which axe takes for hidden, and a header that sticks to a scrolled box makes axe
# give up: either way it would look at no colour at all. So contrast is measured with everything unfolded.
AXE = """async (box) => {
  const unfolded = document.createElement('style'), rules = ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa'];
  const found = await axe.run(box, {runOnly: rules, rules: {'color-contrast': {enabled: false}}});
  unfolded.textContent = 'body { min-height: 100vh } .scroll { height: auto !important; max-height: none !important; ' +
    'overflow: visible !important } th { position: static !important }';
  document.head.append(unfolded);
  const colours = await axe.run(box, {runOnly: {type: 'rule', values: ['color-contrast']}});
  unfolded.remove();
  const ratio = (node) => node.any.some((check) => check.data?.contrastRatio);
  const measured = colours.passes.flatMap((rule) => rule.nodes).filter(ratio);
  const errors = [...found.incomplete, ...colours.incomplete].filter((rule) => rule.error).map((r) => r.error.message);
  return [measured.length, errors.concat([...found.violations, ...colours.violations].flatMap((rule) =>
    rule.nodes.map((node) => `${rule.id}: ${node.html.slice(0, 120)}\\n${node.failureSummary}`)))];
}"""


def kernel_environment() -> dict[str, str]:
    """Where a kernel that runs in another folder finds this package."""
    paths = [str(Path(deepinside_edu.__file__).parent.parent), *filter(None, [os.environ.get("PYTHONPATH")])]
    return os.environ | {"PYTHONPATH": os.pathsep.join(paths)}


@contextmanager
def lab(folder: Path) -> Iterator[str]:
    """A JupyterLab apart from the settings of whoever runs this, in a process group that ends with it."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    token, home = secrets.token_hex(16), f"http://127.0.0.1:{port}"
    for name, values in SETTINGS.items():
        file = folder / "settings/@jupyterlab" / f"{name}.jupyterlab-settings"
        file.parent.mkdir(parents=True)
        file.write_text(json.dumps(values))
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    (folder / "work").mkdir()
    nbformat.write(nbformat.v4.new_notebook(metadata=kernel), folder / "work" / NAME)
    command = [
        sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", f"--port={port}", "--port-retries=0",
        f"--IdentityProvider.token={token}", "--LabApp.expose_app_in_browser=True", f"--notebook-dir={folder / 'work'}",
        f"--LabApp.user_settings_dir={folder / 'settings'}", f"--LabApp.workspaces_dir={folder / 'workspaces'}",
    ]  # fmt: skip
    places = ("JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR", "IPYTHONDIR")
    environment = kernel_environment() | {name: str(folder / name.lower()) for name in places}
    with (folder / "lab.log").open("w") as log:
        server = subprocess.Popen(command, env=environment, stdout=log, stderr=log, start_new_session=True)
        try:
            _wait_for(server, f"{home}/api?token={token}", folder / "lab.log")
            yield f"{home}/lab/tree/{NAME}?token={token}"
        finally:
            os.killpg(server.pid, signal.SIGTERM)
            try:
                server.wait(10)
            except subprocess.TimeoutExpired:
                os.killpg(server.pid, signal.SIGKILL)
                server.wait(10)


def _wait_for(server: subprocess.Popen[bytes], address: str, log: Path) -> None:
    end = time.monotonic() + 2 * PATIENCE
    while time.monotonic() < end and server.poll() is None:
        try:
            urllib.request.urlopen(address, timeout=5).close()
            return
        except OSError:
            time.sleep(0.1)
    raise RuntimeError(f"JupyterLab did not start:\n{log.read_text()}")


class Notebook:
    """One page with one notebook, whose cells are replaced; what the page complains of is kept."""

    def __init__(self, browser, address, wait=True):
        self.home = "/".join(address.split("/")[:3])
        self.complaints = []
        self.page = browser.new_page(viewport={"width": 1280, "height": 1000})
        self.page.set_default_timeout(1000 * PATIENCE)
        self.page.on("console", self._on_console)
        self.page.on("pageerror", lambda error: self.complaints.append(f"page error: {error}"))
        self.page.on("request", self._on_request)
        self.page.goto(address, wait_until="domcontentloaded" if wait else "commit")
        if wait:
            self.until(READY)

    def _on_console(self, message):
        slow = "to activate" in message.text  # JupyterLab's own complaint of a busy machine
        if message.type in ("error", "warning") and not slow:
            self.complaints.append(f"console {message.type}: {message.text} ({message.location})")

    def _on_request(self, request):
        if not request.url.startswith((self.home, "data:", "blob:")):
            self.complaints.append(f"request to {request.url}")

    def until(self, condition, *arguments):
        self.page.wait_for_function(condition, arg=list(arguments), timeout=1000 * PATIENCE)

    def wait_for_kernel(self, name):
        """Wait until the page is connected to the notebook's kernel: without one Jupyter asks which to start."""
        end = time.monotonic() + PATIENCE
        while True:
            sessions = self.page.request.get(f"{self.home}/api/sessions").json()
            kernels = [each["kernel"] for each in sessions if each["path"] == name]
            if any(kernel["connections"] and kernel["execution_state"] == "idle" for kernel in kernels):
                return
            assert time.monotonic() < end, f"no kernel for {name}: {sessions}"
            self.page.wait_for_timeout(50)

    def run(self, *cells):
        """Close the widgets of the cells before, put these in their place, run all; the last line of one is shown."""
        self.until(READY)
        self.python("import ipywidgets, json; ipywidgets.Widget.close_all()", print_it=False)
        self.page.evaluate(REPLACE, ["import deepinside_edu as di", *cells])
        self.until("([shown, n]) => document.querySelectorAll(shown).length === n", SHOWN, len(cells))
        self.until(READY)

    def python(self, code, print_it=True):
        """The value of an expression in the kernel, by way of JSON."""
        told = self.page.evaluate(EXECUTE, [f"print(json.dumps(({code})))" if print_it else code, 1000 * PATIENCE])
        return json.loads(told) if print_it else None

    def becomes(self, code, value):
        """Wait until an expression in the kernel has this value: what a page sends may still be on its way."""
        end = time.monotonic() + PATIENCE
        while (found := self.python(code)) != value:
            assert time.monotonic() < end, f"{code} is {found}, not {value}"
            self.page.wait_for_timeout(50)

    def theme(self, name):
        """Change the theme; the splash screen that covers the page meanwhile is gone afterwards."""
        self.page.evaluate("(theme) => { window.jupyterapp.commands.execute('apputils:change-theme', {theme}); }", name)
        light = str("Light" in name).lower()
        done = "document.body.dataset.jpThemeLight === light && !document.getElementById('jupyterlab-splash')"
        self.until(f"([light]) => {done}", light)

    @contextmanager
    def drawn_anew(self, *canvases):
        """What is done within has other pixels for its consequence."""
        before = [(canvas.element_handle(), canvas.evaluate("(c) => c.toDataURL()")) for canvas in canvases]
        yield
        for canvas, old in before:
            self.until("([canvas, old]) => canvas.toDataURL() !== old", canvas, old)

    def tab_to(self, place):
        """Reach a place by the Tab key alone."""
        for _ in range(80):
            self.page.keyboard.press("Tab")
            if place.evaluate(FOCUSED):
                return
        raise AssertionError(f"Tab does not reach {place}")

    def check_accessibility(self, widget):
        if not self.page.evaluate("typeof axe !== 'undefined'"):
            source = Path(axe_playwright_python.__file__).with_name("axe.min.js").read_text(encoding="utf-8")
            self.page.evaluate(f"() => {{ {source} }}")
        seen, found = widget.evaluate(AXE)
        assert not found, "\n".join(found)
        assert seen > 5, "axe measured hardly any contrast"

    def check_width(self, widget, width):
        self.page.set_viewport_size({"width": width, "height": 1000})
        self.until("([width]) => innerWidth === width", width)
        wide = widget.evaluate(TOO_WIDE)
        assert not wide, "\n".join(wide)

    def check_quiet(self):
        """No error, warning or foreign request since the last time, and no widget that could not be drawn."""
        complaints, self.complaints[:] = list(self.complaints), []
        broken = self.page.get_by_text("javascript error").all_inner_texts()
        assert not complaints + broken, "\n".join(complaints + broken)


def levels(canvas):
    """A canvas's pixels, (rows, columns, 3)."""
    url = canvas.evaluate("(c) => c.toDataURL()")
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(url.split(",")[1]))).convert("RGB")).astype(int)


def check_levels(canvases, pictures):
    """Not one level differs from pictures that Python drew: RGB in base64, each as large as its canvas."""
    for canvas, wanted in zip(canvases, pictures, strict=True):
        shown = levels(canvas)
        np.testing.assert_array_equal(shown, np.frombuffer(base64.b64decode(wanted), np.uint8).reshape(shown.shape))


def settle(widget):
    """Wait until the kernel has done and the page has drawn what it told."""
    told = TOLD[widget.get_attribute("class").split()[-1]]
    expect(widget.locator(told).last).not_to_be_empty()
    expect(widget).to_have_attribute("aria-busy", "false")


def status(widget):
    """What an explorer says of the last action."""
    return widget.get_by_role("status")


def chosen_photo(widget):
    return widget.get_by_role("combobox", name="photo", exact=True)


def read_number(text):
    return float(text.replace("−", "-"))


def cursor(widget):
    """Row and column of the cursor, as they are read."""
    words = re.match(r"row (\d+), column (\d+)", widget.locator(".readout").inner_text())
    return tuple(int(word) for word in words.groups())


def at(canvas, row, column, rows, columns):
    """Where to click or hover to meet the middle of one entry of a canvas."""
    canvas.scroll_into_view_if_needed()
    box = canvas.bounding_box()
    return {"x": (column + 0.5) / columns * box["width"], "y": (row + 0.5) / rows * box["height"]}


def picture(colour=(200, 60, 20)):
    """A PNG as a person might upload it."""
    buffer = io.BytesIO()
    image = Image.new("RGB", (320, 200), colour)
    image.paste((20, 90, 220), (100, 40, 220, 160))
    image.save(buffer, "png")
    return {"name": "mine.png", "mimeType": "image/png", "buffer": buffer.getvalue()}


TEXT = {"name": "notes.png", "mimeType": "image/png", "buffer": b"not a picture"}
