"""Explorers that are open when their kernel is restarted under them."""

from .driver import READY, expect

RESTART = """() => {
  const {kernel} = window.jupyterapp.shell.currentWidget.sessionContext.session;
  kernel.restart().then(() => { window.restarted = true; });
}"""


def test_a_restart_is_said_and_the_last_pictures_stay(notebook):
    notebook.run("scope = di.explore.microscope()\nscope", "studio = di.explore.class_model()\nstudio")
    scope, studio = notebook.page.locator(".microscope"), notebook.page.locator(".class-model")
    scope.locator("tr.shown").wait_for()
    studio.get_by_role("button", name="Step", exact=True).click()
    expect(studio.get_by_role("status")).to_have_text("Paused at step 1.")
    pictures = [scope.locator(".plates canvas").nth(1), studio.locator("canvas.picture")]
    before = [canvas.evaluate("(c) => c.toDataURL()") for canvas in pictures]
    notebook.page.evaluate(RESTART)
    notebook.until("() => window.restarted")
    notebook.until(READY)
    scope.get_by_role("button", name="whole map (sum)").click()
    studio.get_by_role("button", name="Step", exact=True).click()
    for widget in (scope, studio):
        expect(widget.get_by_role("status")).to_contain_text("restarted or has died", timeout=2000)
        expect(widget.get_by_role("status")).to_contain_text("un this cell again")
    # JupyterLab's own words, here only: that the connection is lost.
    known = "console warning: Connection lost"
    notebook.complaints[:] = [each for each in notebook.complaints if not each.startswith(known)]
    assert [canvas.evaluate("(c) => c.toDataURL()") for canvas in pictures] == before
