"""One JupyterLab and one Chromium for all browser tests; without Chromium one loud skip in their place."""

from pathlib import Path

import pytest

from .driver import CHROMIUM, FLAGS, MISSING, Notebook, lab, sync_playwright

HERE = Path(__file__).parent
REASON = f"the browser tests are left out; to run them: {MISSING}"


def pytest_collection_modifyitems(items):
    if not MISSING:
        return
    here = [item for item in items if item.path.is_relative_to(HERE)]
    items[:] = [item for item in items if item not in here[1:]]
    for item in here[:1]:
        item.add_marker(pytest.mark.skip(REASON))


def pytest_terminal_summary(terminalreporter):
    if MISSING:
        terminalreporter.section("BROWSER TESTS SKIPPED", sep="!", yellow=True)
        terminalreporter.line(REASON, yellow=True)


@pytest.fixture(scope="package")
def browser():
    # For this package alone: as long as Playwright is open, an event loop runs in the main thread.
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield chromium
        chromium.close()


@pytest.fixture(scope="package")
def folder(tmp_path_factory):
    """What the server has: settings, signatures, and the notebooks in `work`."""
    return tmp_path_factory.mktemp("lab")


@pytest.fixture(scope="package")
def address(folder):
    with lab(folder) as here:
        yield here


@pytest.fixture(scope="package")
def page_for_all(browser, address):
    page = Notebook(browser, address)
    page.check_quiet()
    return page


@pytest.fixture
def notebook(page_for_all):
    """The notebook, empty and quiet before; quiet after, or the test fails."""
    yield page_for_all
    if page_for_all.page.evaluate("document.body.dataset.jpThemeLight") == "false":
        page_for_all.theme("JupyterLab Light")
    page_for_all.page.set_viewport_size({"width": 1280, "height": 1000})
    page_for_all.check_quiet()
