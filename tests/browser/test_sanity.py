"""The sanity explorer as a person uses it, in JupyterLab and Chromium."""

import re

import pytest

from .driver import TEXT, check_levels, expect, levels, picture, settle, status

OPEN = "explorer = di.explore.sanity(di.photo('hens'))\nexplorer"
DRAWN = """
import base64
def drawn():
    shown, pictures = explorer.result, [explorer._picture]
    for method in shown.trained:
        pictures += [di.figures.heat_map(maps[method]) for maps in (shown.trained, shown.maps)]
    return [base64.b64encode(each.convert("RGB").tobytes()).decode() for each in pictures]
"""
METHODS = {"gradient": "gradient", "deconvnet": "DeconvNet", "guided": "guided"}
LAYERS = 26


@pytest.fixture
def widget(notebook):
    notebook.run(OPEN)
    notebook.python(DRAWN, print_it=False)
    widget = notebook.page.locator(".sanity")
    settle(widget)
    return widget


def slider(widget):
    return widget.get_by_role("slider", name="random layers")


def canvases(widget):
    """Photo; then for each method the trained network's map and this network's."""
    return widget.locator(".columns canvas").all()


def go(notebook, widget, k):
    """Set the slider from a cell, and wait for the page."""
    notebook.python(f"explorer.down_to = {k}", print_it=False)
    reached(widget, k)


def reached(widget, k):
    words = f"last {k} layer{'s' * (k > 1)} random" if k else "no layer random"
    expect(widget.locator("figcaption").last).to_have_text(words)
    expect(slider(widget)).to_have_value(str(k))
    settle(widget)


def check(notebook, widget):
    """Not one level differs from what Python draws, and the numbers are the kernel's."""
    check_levels(canvases(widget), notebook.python("drawn()"))
    for method, says in zip(METHODS, widget.locator(".says").all(), strict=True):
        rank, ssim = notebook.python(f"explorer.result.similarities[{method!r}]")
        wanted = f"rank correlation {rank:.2f}, SSIM {ssim:.2f}".replace("-", "−").replace("nan", "–")
        assert says.inner_text() == wanted
    top, chance = notebook.python("explorer.result.top.label, explorer.result.top.probability")
    verdict = widget.locator(".verdict").inner_text()
    assert f"This network says {top}, P_c = " in verdict
    assert float(re.search(r"P_c = ([\d.e-]+)", verdict)[1]) == pytest.approx(chance, rel=6e-3)
    bar = widget.locator(".bar i").get_attribute("style")
    assert float(re.search(r"width: ([\d.e-]+)%", bar)[1]) == pytest.approx(100 * chance, rel=1e-3, abs=1e-3)


def dots(widget, kind):
    """Where DeconvNet's chart has dots: the places that were visited."""
    path = widget.locator(f".chart .{kind}.dots").nth(1).get_attribute("d")
    return [float(x) for x in re.findall(r"M([\d.]+) ", path)]


@pytest.fixture(autouse=True)
def tools(notebook):
    notebook.python("import base64", print_it=False)


def test_the_pictures_and_numbers_are_what_python_computed(notebook, widget):
    check(notebook, widget)
    expect(widget.locator(".subject")).to_have_text("Maps of hen (8): P_c = 0.994 in the trained network.")
    expect(widget.locator(".says").first).to_have_text("rank correlation 1.00, SSIM 1.00")
    go(notebook, widget, 5)
    check(notebook, widget)
    expect(widget.locator(".verdict")).to_contain_text("hen: P_c = ")
    for canvas in canvases(widget):
        assert canvas.get_attribute("role") == "img"
        assert len(canvas.get_attribute("aria-label")) > 20
    assert canvases(widget)[2].get_attribute("aria-label") == "gradient map, last 5 layers random"
    go(notebook, widget, LAYERS)
    check(notebook, widget)


def test_the_slider_by_dragging_and_by_keyboard_and_the_curve(notebook, widget):
    box, mouse = slider(widget).bounding_box(), notebook.page.mouse
    y = box["y"] + box["height"] / 2
    mouse.move(box["x"] + 9, y)
    mouse.down()
    for share in (0.2, 0.4, 0.5):
        mouse.move(box["x"] + share * box["width"], y)
    mouse.up()
    reached(widget, 13)
    expect(widget.locator(".slider output")).to_have_text("13 of 26, down to features.9.squeeze")
    assert notebook.python("explorer.result.down_to") == 13
    check(notebook, widget)
    slider(widget).press("ArrowLeft")
    reached(widget, 12)
    slider(widget).press("End")
    reached(widget, LAYERS)
    check(notebook, widget)
    places = dots(widget, "rank")
    assert places == dots(widget, "ssim")
    assert len(places) >= 4  # those between may have been dropped
    scale = [20 + k / LAYERS * 198 for k in (0, 12, 13, LAYERS)]
    assert {round(x, 1) for x in scale} <= set(places)
    chart = widget.locator(".chart").nth(1)
    assert "12: 0." in chart.get_attribute("aria-label")
    line = widget.locator(".chart path.rank:not(.dots)").nth(1).get_attribute("d")
    assert f"L{scale[2]:.1f} " in line  # 12 and 13 are neighbours
    assert f"M{scale[3]:.1f} " in line  # and nobody has been to 25
    shown = chart.bounding_box()
    with notebook.drawn_anew(canvases(widget)[2]):
        chart.click(position={"x": scale[1] / 224 * shown["width"], "y": shown["height"] / 2})
    reached(widget, 12)
    assert notebook.python("explorer.result.down_to") == 12


def test_a_rank_correlation_below_0_is_drawn_below_the_line_of_0(notebook, widget):
    notebook.run("explorer = di.explore.sanity(di.photo('koala'))\nexplorer")
    settle(widget)
    go(notebook, widget, 15)
    chart = widget.locator(".chart").first
    heights = re.findall(r"M[\d.]+ ([\d.]+)h0", chart.locator(".rank.dots").get_attribute("d"))
    least = notebook.python("explorer.result.similarities['gradient'].rank_correlation")
    assert least < -0.05
    assert [float(y) for y in heights] == pytest.approx([8, 76 - (least + 0.25) / 1.25 * 68], abs=0.06)
    assert float(re.search(r"ZM20 ([\d.]+)H", chart.locator(".frame").get_attribute("d"))[1]) == pytest.approx(62.4)


def test_it_forgets_layer_by_layer_by_itself_until_it_is_stopped(notebook, widget):
    go(notebook, widget, LAYERS - 3)
    widget.get_by_role("button", name="forget layer by layer").click()
    reached(widget, LAYERS)
    expect(widget.get_by_role("button", name="forget layer by layer")).to_be_visible()
    assert len(dots(widget, "rank")) == 5
    widget.get_by_role("button", name="forget layer by layer").click()  # from the trained network again
    expect(widget.locator(".slider output")).to_contain_text("of 26, down to features.12")
    widget.get_by_role("button", name="stop").click()
    settle(widget)
    stopped = notebook.python("explorer.down_to")
    notebook.page.wait_for_timeout(400)
    assert notebook.python("explorer.down_to") == stopped < LAYERS
    check(notebook, widget)


def test_a_class_another_draw_and_another_photo(notebook, widget):
    go(notebook, widget, 2)
    photo, trained, now, *_ = canvases(widget)
    with notebook.drawn_anew(trained, now):
        widget.get_by_role("button", name="Norwich terrier").click()
    expect(widget.locator(".subject")).to_contain_text("Maps of Norwich terrier (186)")
    settle(widget)
    check(notebook, widget)
    assert len(dots(widget, "rank")) == 1
    search = widget.get_by_label("or another class")
    with notebook.drawn_anew(trained):
        search.press_sequentially("golf b")
        search.press("Enter")
    expect(widget.locator(".subject")).to_contain_text("golf ball (574)")
    settle(widget)
    before = levels(trained)
    with notebook.drawn_anew(canvases(widget)[4]):  # DeconvNet's, which no ReLU holds at 0
        widget.get_by_label("draw of the random weights").fill("3")
        widget.get_by_label("draw of the random weights").press("Enter")
    settle(widget)
    assert notebook.python("explorer.random_state") == 3
    assert (levels(trained) == before).all()
    with notebook.drawn_anew(photo, trained):
        widget.get_by_role("combobox", name="photo", exact=True).select_option("duck")
    settle(widget)
    check(notebook, widget)
    assert notebook.python("explorer.down_to") == 2
    assert notebook.python("explorer.result.prediction == explorer.classifier.top(di.photo('duck'), 1)[0]")
    draw = widget.get_by_label("draw of the random weights")
    draw.fill("-4")
    draw.press("Enter")
    expect(status(widget)).to_contain_text("The last setting stays.")
    expect(draw).to_have_value("3")


def test_the_keyboard_alone(notebook, widget):
    keyboard = notebook.page.keyboard
    widget.get_by_role("combobox", name="photo", exact=True).focus()
    for place in (widget.get_by_label("draw of the random weights"), widget.locator(".classes button").nth(1)):
        notebook.tab_to(place)
    with notebook.drawn_anew(canvases(widget)[1]):
        keyboard.press("Enter")
    notebook.tab_to(slider(widget))
    keyboard.press("ArrowRight")
    reached(widget, 1)
    notebook.tab_to(widget.get_by_role("button", name="forget layer by layer"))
    keyboard.press("Space")
    expect(widget.get_by_role("button", name="stop")).to_be_focused()
    keyboard.press("Space")
    settle(widget)
    assert 1 < notebook.python("explorer.down_to") < LAYERS
    check(notebook, widget)


def test_a_photo_of_ones_own_and_files_that_are_none(notebook, widget):
    upload = widget.get_by_label("or your own photo")
    with notebook.drawn_anew(*canvases(widget)):
        upload.set_input_files(picture())
    expect(widget.get_by_role("combobox", name="photo", exact=True)).to_have_value("your photo")
    settle(widget)
    assert levels(canvases(widget)[0])[112, 112].argmax() == 2  # the blue square in its middle
    for file, words in ((TEXT, "not a picture"), (TEXT | {"buffer": b""}, "is empty: 0 bytes.")):
        upload.set_input_files(file)
        expect(status(widget)).to_contain_text(words)
        expect(status(widget)).to_contain_text("The last photo stays.")
    # Held at 0 by a ReLU: no order, no rank correlation.
    notebook.python("explorer.show(__import__('numpy').full((30, 30, 3), 255, 'uint8'))", print_it=False)
    notebook.python("explorer.class_index = explorer.classifier.find('lesser panda')", print_it=False)
    expect(status(widget)).to_contain_text("The gradient and guided maps are all zeros")
    expect(widget.locator(".says").first).to_contain_text("rank correlation –, SSIM 1.00")


def test_two_side_by_side(notebook):
    notebook.run(*(f"{name} = di.explore.sanity()\n{name}" for name in ("one", "two")))
    one, two = (notebook.page.locator(".sanity").nth(k) for k in range(2))
    settle(one)
    settle(two)
    before = [levels(canvas) for canvas in canvases(two)]
    slider(one).press("End")
    reached(one, LAYERS)
    with notebook.drawn_anew(canvases(one)[1]):
        one.locator(".classes button").nth(3).click()
    settle(one)
    assert notebook.python("[one.down_to, two.down_to, one.class_index == two.class_index]") == [LAYERS, 0, False]
    for canvas, old in zip(canvases(two), before, strict=True):
        assert (levels(canvas) == old).all()
    assert len(dots(two, "rank")) == 1


@pytest.mark.parametrize("theme", ["JupyterLab Light", "JupyterLab Dark"])
def test_accessible_and_no_wider_than_its_place(notebook, widget, theme):
    if "Dark" in theme:
        notebook.theme(theme)
    go(notebook, widget, 4)
    widget.get_by_label("or your own photo").set_input_files(TEXT)
    expect(status(widget)).to_contain_text("stays")
    settle(widget)
    notebook.check_accessibility(widget)
    for width in (1024, 640):
        notebook.check_width(widget, width)
