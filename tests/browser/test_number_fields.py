"""Every number field in JupyterLab, whose notebook keeps the browser from turning Enter into a change."""

import pytest

from deepinside_edu.explorers.joined import FRONT

from .driver import expect

# explorer, its name in the kernel, the field's label, a value that is taken, one that is not, what is said of it
FIELDS = [
    ("sanity", "random_state", "draw of the random weights", "2", "1.5", "expected a whole number from 0"),
    ("class_model", "regularisation", "λ", "0.2", "-1", "expected λ from 0 to 1000000, got -1"),
    ("class_model", "length", "steps", "20", "2.5", "expected a whole number of at least 1"),
    ("microscope", "plane", "its number", "1", "9999", "channel 9999 is out of range; 'image' has channels 0 to 2"),
]


def test_every_number_field_is_listed():
    views = [each.read_text("utf-8") for each in (FRONT / "views").glob("*.js")]
    uses = sum(view.count("numberField(") + view.count("traitNumber(") for view in views)
    assert uses == len(FIELDS)
    everything = [each.read_text("utf-8") for each in FRONT.rglob("*.js")]
    assert sum(script.count('type: "number"') for script in everything) == 1, "a field that does not know of Enter"


@pytest.mark.parametrize(("explorer", "trait", "label", "good", "bad", "words"), FIELDS)
def test_enter_applies_it_and_what_is_refused_is_forgotten(notebook, explorer, trait, label, good, bad, words):
    notebook.run(f"explorer = di.explore.{explorer}()\nexplorer")
    widget = notebook.page.locator(".deepinside")
    expect(widget).to_be_visible()
    field, status = widget.get_by_label(label, exact=True), widget.get_by_role("status")
    keyboard = notebook.page.keyboard

    def enter(text):
        field.click()
        keyboard.press("Control+a")
        keyboard.type(text) if text else keyboard.press("Delete")
        keyboard.press("Enter")

    enter(good)
    notebook.becomes(f"explorer.{trait}", float(good))
    enter(bad)
    expect(status).to_contain_text(words)
    expect(status).to_contain_text("The last setting stays.")
    expect(field).to_have_value(good)
    enter(good)
    expect(status).not_to_contain_text("stays")
    if trait != "plane":  # there an empty field is the largest |R| again
        enter("")
        expect(status).to_contain_text("got nothing. The last setting stays.")
    notebook.becomes(f"explorer.{trait}", float(good))
