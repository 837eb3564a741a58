"""The saliency explorer as a person uses it, in JupyterLab and Chromium."""

import re

import numpy as np
import pytest

from .driver import TEXT, at, check_levels, cursor, expect, levels, picture, read_number, settle, status

OPEN = "explorer = di.explore.saliency(di.photo('hens'))\nexplorer"
NUMBERS = """
import base64, numpy as np
def there(row, column):
    shown, photo = explorer.result, np.asarray(explorer._picture)
    return [photo[row, column].tolist(), shown.saliency[row, column].item(), *shown.w[0, :, row, column].tolist()]
def drawn():
    photo, m = explorer._picture, explorer.result.saliency
    pictures = photo, di.figures.heat_map(m), di.figures.overlay(photo, m, explorer.strength)
    return [base64.b64encode(each.convert("RGB").tobytes()).decode() for each in pictures]
"""
SIDE, COLOURS = 224, ("red", "green", "blue")
STRONGEST = "[int(i) for i in np.argwhere(explorer.result.saliency == explorer.result.saliency.max())[0]]"


@pytest.fixture
def widget(notebook):
    notebook.run(OPEN)
    notebook.python(NUMBERS, print_it=False)
    widget = notebook.page.locator(".saliency")
    settle(widget)
    return widget


def canvases(widget):
    return widget.locator(".pictures .plate canvas")


def check_pictures(notebook, widget):
    """Not one level differs from what Python draws: photo, map and overlay."""
    check_levels(canvases(widget).all(), notebook.python("drawn()"))


def strength(widget):
    return widget.get_by_role("slider", name="overlay strength")


def number(text):
    return read_number(re.match(r"−?[\d.e-]+", text)[0])


def check_readout(notebook, widget, row, column, size=(SIDE, SIDE)):
    """The cursor in all three pictures, and beside it the kernel's own numbers to three figures."""
    says, cells = widget.locator(".readout p"), widget.locator(".readout td").all_inner_texts()
    expect(says).to_contain_text(f"row {row}, column {column}: M = ")
    photo, m, *w = notebook.python(f"there({row}, {column})")
    assert [int(cell) for cell in cells[:3]] == photo
    assert [number(cell) for cell in cells[3:6]] == pytest.approx(w, rel=6e-3)
    assert [number(cell) for cell in cells[6:]] == pytest.approx(np.abs(w), rel=6e-3)
    assert number(says.inner_text().split("M = ")[1]) == pytest.approx(m, rel=6e-3)
    crops, largest = notebook.python("explorer.crops"), int(np.argmax(np.abs(w)))
    expect(says).to_contain_text(f"|w| is largest in {COLOURS[largest]}" if any(w) else "w is 0 in every channel")
    assert [cell.endswith(" = M" if crops == 1 else ", largest") for cell in cells[6:]] == [
        any(w) and c == largest for c in range(3)
    ]
    assert ("average over the crops" in says.inner_text()) == (crops == 10)
    for mark in widget.locator(".cursor").all():
        style = mark.get_attribute("style")
        left, top = (float(re.search(rf"{side}: ([\d.]+)%", style)[1]) for side in ("left", "top"))
        assert [left, top] == pytest.approx([100 * column / size[1], 100 * row / size[0]], rel=1e-4)


def test_the_pictures_are_what_python_computed(notebook, widget):
    check_pictures(notebook, widget)
    strongest = notebook.python(STRONGEST)
    check_readout(notebook, widget, *strongest)
    expect(widget.locator(".title")).to_have_text("hen (8): score S_c = 34.3, probability P_c = 0.994")
    with notebook.drawn_anew(canvases(widget).nth(1), canvases(widget).nth(2)):
        widget.get_by_label("crops").select_option("ten, averaged")
    settle(widget)
    notebook.becomes("explorer.result.crops", 10)
    check_pictures(notebook, widget)
    check_readout(notebook, widget, *strongest)
    for canvas in widget.locator("canvas").all():
        assert canvas.get_attribute("role") == "img"
        assert len(canvas.get_attribute("aria-label")) > 20
    m = notebook.python("explorer.result.saliency.max().item()")
    said = canvases(widget).nth(1).get_attribute("aria-label")
    assert "Saliency map of hen, averaged over ten crops" in said
    assert number(said.split("largest M, ")[1]) == pytest.approx(m, rel=6e-3)


def test_a_class_by_click_by_search_and_another_photo(notebook, widget):
    photo, map_, overlay = canvases(widget).all()
    before = levels(photo)
    with notebook.drawn_anew(map_, overlay):
        widget.get_by_role("button", name="Norwich terrier").click()
    expect(widget.get_by_role("button", name="Norwich terrier")).to_have_attribute("aria-pressed", "true")
    expect(widget.get_by_role("button", name="hen 34.3")).to_have_attribute("aria-pressed", "false")
    expect(widget.locator(".title")).to_contain_text("Norwich terrier (186)")
    notebook.becomes("explorer.result.prediction.label", "Norwich terrier")
    search = widget.get_by_label("or another class")
    with notebook.drawn_anew(map_, overlay):
        search.press_sequentially("golf b")
        search.press("Enter")
    expect(widget.locator(".title")).to_contain_text("golf ball (574)")
    settle(widget)
    check_pictures(notebook, widget)
    search.press_sequentially("terrier")
    search.press("Enter")
    expect(status(widget)).to_contain_text("The last setting stays.")
    notebook.becomes("explorer.class_index", 574)
    assert (levels(photo) == before).all()
    with notebook.drawn_anew(photo, map_, overlay):
        widget.get_by_role("combobox", name="photo", exact=True).select_option("duck")
    settle(widget)
    expect(status(widget)).to_have_text("")
    check_pictures(notebook, widget)
    notebook.becomes("explorer.result.prediction == explorer.classifier.top(di.photo('duck'), 1)[0]", True)
    # A score that the network holds at 0, on a photo of nothing.
    notebook.python("explorer.show(np.full((30, 30, 3), 255, np.uint8))", print_it=False)
    notebook.python("explorer.class_index = explorer.classifier.find('lesser panda')", print_it=False)
    expect(status(widget)).to_contain_text("The map is all zeros")
    expect(widget.locator(".readout p")).to_contain_text("M = 0; w is 0 in every channel")
    assert not levels(map_)[..., 1].any()


def test_the_strength_by_dragging_and_by_keyboard_asks_for_nothing_on_the_way(notebook, widget):
    overlay, slider = canvases(widget).nth(2), strength(widget)
    notebook.python("result, sent = explorer.result, []", print_it=False)
    notebook.python("explorer.observe(lambda change: sent.append(change.new), 'strength')", print_it=False)
    box, mouse = slider.bounding_box(), notebook.page.mouse
    y = box["y"] + box["height"] / 2
    mouse.move(box["x"] + 0.6 * box["width"], y)
    mouse.down()
    for share in (0.5, 0.4, 0.3):
        with notebook.drawn_anew(overlay):
            mouse.move(box["x"] + share * box["width"], y)
    notebook.becomes("explorer.strength", 0.6)
    mouse.up()
    notebook.until("([o]) => o.textContent === '0.3'", widget.locator(".slider output").element_handle())
    notebook.becomes("sent", [0.3])
    check_pictures(notebook, widget)
    slider.press("ArrowLeft")
    expect(overlay).to_have_attribute("aria-label", "The map over the grey photo, at strength 0.25")
    notebook.becomes("sent", [0.3, 0.25])
    for key, end in (("Home", 0), ("End", 1)):
        slider.press(key)
        notebook.becomes("explorer.strength", end)
        check_pictures(notebook, widget)
    with notebook.drawn_anew(overlay):  # and a cell moves the slider
        notebook.python("explorer.strength = 0.5", print_it=False)
    expect(slider).to_have_value("0.5")
    assert notebook.python("explorer.result is result")


def test_hover_reads_what_python_computed(notebook, widget):
    pictures = canvases(widget).all()
    for k, (row, column) in enumerate(((100, 60), (0, 223), (223, 0), (61, 150))):
        pictures[k % 3].hover(position=at(pictures[k % 3], row, column, SIDE, SIDE))
        check_readout(notebook, widget, row, column)
    with notebook.drawn_anew(pictures[1]):
        widget.get_by_label("crops").select_option("ten, averaged")
    settle(widget)
    check_readout(notebook, widget, 61, 150)  # the cursor stays where it is
    widget.get_by_role("button", name="strongest pixel").click()
    check_readout(notebook, widget, *notebook.python(STRONGEST))


def test_an_image_of_another_size(notebook, widget):
    canvases(widget).first.hover(position=at(canvases(widget).first, 200, 200, SIDE, SIDE))
    with notebook.drawn_anew(*canvases(widget).all()):
        notebook.python("explorer.show(explorer.classifier.prepare(di.photo('duck'), size=(90, 120)))", print_it=False)
    settle(widget)
    check_pictures(notebook, widget)
    check_readout(notebook, widget, *notebook.python(STRONGEST), size=(90, 120))
    canvases(widget).nth(2).hover(position=at(canvases(widget).nth(2), 40, 110, 90, 120))
    check_readout(notebook, widget, 40, 110, size=(90, 120))


def test_the_keyboard_alone(notebook, widget):
    keyboard = notebook.page.keyboard
    widget.get_by_role("combobox", name="photo", exact=True).focus()
    notebook.tab_to(widget.get_by_label("crops"))
    with notebook.drawn_anew(canvases(widget).nth(1)):
        keyboard.press("ArrowDown")
    notebook.tab_to(strength(widget))
    with notebook.drawn_anew(canvases(widget).nth(2)):
        keyboard.press("ArrowRight")
    notebook.tab_to(widget.get_by_role("button", name="Norwich terrier"))
    with notebook.drawn_anew(canvases(widget).nth(1)):
        keyboard.press("Enter")
    settle(widget)
    result = "explorer.result.prediction.label, explorer.result.crops, explorer.strength"
    notebook.becomes(result, ["Norwich terrier", 10, 0.65])
    notebook.tab_to(widget.get_by_role("application"))
    row, column = cursor(widget)
    keyboard.press("ArrowDown" if row < 112 else "ArrowUp")
    keyboard.press("Shift+ArrowRight" if column < 112 else "Shift+ArrowLeft")
    check_readout(notebook, widget, row + (1 if row < 112 else -1), column + (10 if column < 112 else -10))
    for _ in range(23):
        keyboard.press("Shift+ArrowUp")
        keyboard.press("Shift+ArrowLeft")
    check_readout(notebook, widget, 0, 0)
    notebook.tab_to(widget.get_by_role("button", name="strongest pixel"))
    keyboard.press("Space")
    assert cursor(widget) != (0, 0)


def test_a_photo_of_ones_own_and_files_that_are_none(notebook, widget):
    upload = widget.get_by_label("or your own photo")
    with notebook.drawn_anew(*canvases(widget).all()):
        upload.set_input_files(picture())
    expect(widget.get_by_role("combobox", name="photo", exact=True)).to_have_value("your photo")
    settle(widget)
    notebook.becomes("int(np.asarray(explorer.still())[112, 112].argmax())", 2)  # the blue square in its middle
    assert levels(canvases(widget).first)[112, 112].argmax() == 2
    before = levels(canvases(widget).nth(1))
    for file, words in ((TEXT, "not a picture"), (TEXT | {"buffer": b""}, "is empty: 0 bytes.")):
        upload.set_input_files(file)
        expect(status(widget)).to_contain_text(words)
        expect(status(widget)).to_contain_text("The last photo stays.")
    assert (levels(canvases(widget).nth(1)) == before).all()
    notebook.becomes("explorer.photo", "your photo")


def test_two_side_by_side(notebook):
    notebook.run(*(f"{name} = di.explore.saliency()\n{name}" for name in ("one", "two")))
    one, two = (notebook.page.locator(".saliency").nth(k) for k in range(2))
    settle(one)
    settle(two)
    before = [levels(canvas) for canvas in canvases(two).all()]
    said = two.locator(".readout").inner_text()
    with notebook.drawn_anew(canvases(one).nth(1)):
        one.locator(".classes button").nth(3).click()
    strength(one).press("Home")
    canvases(one).first.hover(position=at(canvases(one).first, 3, 4, SIDE, SIDE))
    assert cursor(one) == (3, 4)
    settle(one)
    notebook.becomes("[one.strength, two.strength, one.class_index == two.class_index]", [0, 0.6, False])
    assert two.locator(".readout").inner_text() == said
    for canvas, old in zip(canvases(two).all(), before, strict=True):
        assert (levels(canvas) == old).all()


@pytest.mark.parametrize("theme", ["JupyterLab Light", "JupyterLab Dark"])
def test_accessible_and_no_wider_than_its_place(notebook, widget, theme):
    if "Dark" in theme:
        notebook.theme(theme)
    widget.get_by_label("crops").select_option("ten, averaged")
    widget.get_by_label("or your own photo").set_input_files(TEXT)
    expect(status(widget)).to_contain_text("stays")
    expect(widget.locator(".readout p")).to_contain_text("average")
    settle(widget)
    notebook.check_accessibility(widget)
    for width in (1024, 640):
        notebook.check_width(widget, width)
