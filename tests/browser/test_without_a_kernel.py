"""Saved notebooks as they are read: opened again in JupyterLab and Notebook 7, exported to HTML and slides; Voilà."""

import copy
import re
from contextlib import contextmanager

import nbformat
import pytest
from nbclient import NotebookClient
from nbconvert import HTMLExporter, SlidesExporter
from nbformat.sign import NotebookNotary

from .driver import Notebook, expect, kernel_environment

EXPLORERS = {
    "scores": "di.explore.scores()", "saliency": "di.explore.saliency()", "taylor": "di.explore.taylor()",
    "localisation": "di.explore.localisation()", "class-model": "di.explore.class_model()",
    "microscope": "di.explore.microscope()", "sanity": "di.explore.sanity()",
}  # fmt: skip
SENTENCE = "This is a still picture. Run this cell to start the explorer."
STATE, VIEW = "application/vnd.jupyter.widget-state+json", "application/vnd.jupyter.widget-view+json"

# Does what html-manager does with a view whose state is stored: it has a model, and nobody answers.
RENDER = """async () => {
  const state = JSON.parse(document.querySelector(`script[type="${'%s'}"]`).textContent).state;
  for (const script of document.querySelectorAll(`script[type="${'%s'}"]`)) {
    const {state: values, buffers = []} = state[JSON.parse(script.textContent).model_id];
    for (const {path, data} of buffers)
      values[path[0]] = new DataView(Uint8Array.from(atob(data), (c) => c.charCodeAt(0)).buffer);
    const url = URL.createObjectURL(new Blob([values._esm], {type: 'text/javascript'}));
    const model = {get: (name) => values[name], set() {}, save_changes() {}, send() {}, on() {}, off() {}};
    const widget = (await import(url)).default(), el = document.createElement('div');
    script.before(el);
    widget.initialize({model});
    widget.render({model, el});
  }
}""" % (STATE, VIEW)  # noqa: UP031 - it is full of braces


def notebook_of(sources):
    cells = [nbformat.v4.new_code_cell(source) for source in ("import deepinside_edu as di", *sources)]
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    return nbformat.v4.new_notebook(cells=cells, metadata=kernel)


@pytest.fixture(scope="module")
def executed(address, tmp_path_factory):
    """One notebook with all explorers, run as `jupyter execute` does, which stores their state."""
    notebook = notebook_of(EXPLORERS.values())
    NotebookClient(notebook, timeout=600, store_widget_state=True).execute(env=kernel_environment())
    assert len(notebook.metadata.widgets[STATE]["state"]) >= len(EXPLORERS)
    return notebook


def without_state(notebook):
    bare = copy.deepcopy(notebook)
    del bare.metadata["widgets"]
    return bare


def without_views(notebook):
    """As `scripts/write_lessons.py` leaves the lessons."""
    bare = without_state(notebook)
    for cell in bare.cells:
        for output in cell.outputs:
            output.data.pop(VIEW, None)
    return bare


STORED = {"with state": lambda notebook: notebook, "without state": without_state, "without views": without_views}


IDLE = '.jp-Notebook-ExecutionIndicator[data-status="idle"]'
LIVE = ["di.explore.sanity()", "di.explore.class_model()"]


@contextmanager
def opened(browser, address):
    page = Notebook(browser, address, wait=False)
    try:
        yield page
    finally:
        page.page.close()


def check_life(page):
    """Each explorer is there and answers, and no still picture is."""
    sanity, studio = page.page.locator(".sanity"), page.page.locator(".class-model")
    for each in (sanity, studio):
        expect(each).to_be_visible()
    expect(page.page.locator(".deepinside-still:visible")).to_have_count(0)
    expect(page.page.locator(".jp-OutputArea-output img:visible")).to_have_count(0)
    field = sanity.get_by_label("draw of the random weights")
    field.fill("1.5")
    field.press("Enter")
    expect(sanity.get_by_role("status")).to_have_text(
        "expected a whole number from 0 to 4294967295 for the random state, got 1.5. The last setting stays."
    )
    expect(field).to_have_value("0")
    studio.get_by_role("button", name="Step", exact=True).click()
    expect(studio.get_by_role("status")).to_have_text("Paused at step 1.")


def check_stills(page):
    """A reader sees each explorer's sentence and picture, and nothing else in its place."""
    sentences, pictures = page.get_by_text(SENTENCE), page.locator(".jp-OutputArea-output img")
    expect(sentences).to_have_count(len(EXPLORERS))
    expect(pictures).to_have_count(len(EXPLORERS))
    for each in [*sentences.all(), *pictures.all()]:
        expect(each).to_be_visible()
    for width, height in pictures.evaluate_all("(all) => all.map((each) => [each.naturalWidth, each.naturalHeight])"):
        assert min(width, height) > 100
    for text in ("Error displaying widget", "Loading widget", "No answer"):
        for each in page.get_by_text(text).all():
            expect(each).not_to_be_visible()
    expect(page.locator(".deepinside:visible")).to_have_count(0)


@pytest.mark.parametrize("stored", STORED)
@pytest.mark.parametrize("exporter", [HTMLExporter, SlidesExporter])
def test_an_exported_page_shows_the_still_pictures(browser, executed, tmp_path, exporter, stored):
    """Whatever is stored, with the network cut, and with somebody who draws the stored views."""
    html, _ = exporter().from_notebook_node(STORED[stored](executed))
    file = tmp_path / "page.html"
    file.write_text(html, encoding="utf-8")
    page = browser.new_page(viewport={"width": 1000, "height": 900})
    try:
        page.route(re.compile("^http"), lambda route: route.abort())
        page.goto(file.as_uri())
        if exporter is SlidesExporter:  # without its script nothing turns the pages
            page.add_style_tag(content=".reveal .slides > section { display: block !important }")
        check_stills(page)
        if stored == "with state":
            page.evaluate(RENDER)
            assert page.locator(".deepinside").count() == len(EXPLORERS)
            check_stills(page)
    finally:
        page.close()


@pytest.mark.parametrize("stored", STORED)
@pytest.mark.parametrize("front_end", ["lab/workspaces/{name}/tree", "notebooks"], ids=["lab", "notebook"])
def test_a_reopened_notebook_shows_the_still_pictures(browser, address, folder, executed, front_end, stored):
    """JupyterLab and Notebook 7 after a night, whatever was saved; trusted, as one's own notebooks are."""
    name = f"{stored.replace(' ', '_')}.ipynb"
    notebook = STORED[stored](executed)
    nbformat.write(notebook, folder / "work" / name)
    NotebookNotary(data_dir=str(folder / "jupyter_data_dir")).sign(nbformat.read(folder / "work" / name, as_version=4))
    place = front_end.format(name=name.split(".")[0])  # a workspace of its own: JupyterLab opens again what was open
    with opened(browser, address.replace("lab/tree", place).replace("explorers.ipynb", name)) as page:
        page.page.locator(".jp-RenderedHTML.jp-mod-trusted").first.wait_for()
        page.page.locator(IDLE).first.wait_for(state="attached")
        if stored == "without state":
            page.page.get_by_text("model not found").first.wait_for(state="attached")
        check_stills(page.page)


def test_a_notebook_that_is_run_in_notebook_7(browser, address, folder):
    """There every explorer comes alive, its still picture goes, Enter works, and closing it brings the picture back."""
    nbformat.write(notebook_of(LIVE), folder / "work" / "live.ipynb")
    with opened(browser, address.replace("lab/tree", "notebooks").replace("explorers.ipynb", "live.ipynb")) as page:
        page.page.locator(IDLE).first.wait_for(state="attached")  # it says so before there is a kernel, too
        page.wait_for_kernel("live.ipynb")
        page.page.get_by_text("Run", exact=True).click()
        page.page.get_by_text("Run All Cells", exact=True).click()
        check_life(page)


def test_a_notebook_that_voila_runs(browser, address, folder):
    nbformat.write(notebook_of(LIVE), folder / "work" / "app.ipynb")
    with opened(browser, address.replace("lab/tree", "voila/render").replace("explorers.ipynb", "app.ipynb")) as page:
        check_life(page)
