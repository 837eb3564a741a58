"""The Taylor explorer as a person uses it, in JupyterLab and Chromium."""

import re

import numpy as np
import pytest

from .driver import TEXT, chosen_photo, expect, levels, picture, read_number, settle, status

OPEN = "taylor = di.explore.taylor()\ntaylor"
PICTURE = (
    "__import__('numpy').asarray(taylor.classifier.picture(taylor.result.x + taylor.s * taylor.result.direction))"
    ".tolist()"
)
HERE = "dict(s=taylor.s, score=taylor.result.scores[taylor.places.index(taylor.s)], first=taylor.result.score, "
HERE += "slope=taylor.result.slope, holds=taylor.result.holds, label=taylor.classifier.labels[taylor.class_index])"


@pytest.fixture
def taylor(notebook):
    notebook.run(OPEN)
    widget = notebook.page.locator(".taylor")
    finished(widget)
    return widget


def finished(widget):
    """Wait until all scores of the walk are drawn."""
    expect(widget.locator(".readout")).to_contain_text("(shaded)")
    expect(widget.locator(".readout")).not_to_contain_text("so far")
    settle(widget)


def way(widget):
    return widget.get_by_role("slider", name="s, how far to walk")


def direction(widget):
    return widget.get_by_role("combobox", name="walk", exact=True)


def photograph(widget):
    return widget.locator("canvas")


def centre(widget, name):
    """Of a mark in the chart."""
    mark = widget.locator(name)
    return tuple(float(mark.get_attribute(axis)) for axis in ("cx", "cy"))


def scale(widget, anchor, axis):
    """From places in the chart to what its axis says, read from the numbers at two ticks."""
    texts = widget.locator(f".texts text[text-anchor={anchor}]")
    ends = [(float(t.get_attribute(axis)), read_number(t.text_content())) for t in (texts.first, texts.last)]
    (a, va), (b, vb) = ends
    return lambda at: va + (at - a) / (b - a) * (vb - va)


def check_readout(notebook, widget):
    """What is read in words and what is drawn are the kernel's numbers."""
    wanted = notebook.python(HERE)
    line = wanted["first"] + wanted["slope"] * wanted["s"]
    expect(widget.locator(".readout")).to_contain_text(f", s = {wanted['s']:.3g} level".replace("-", "−"))
    said = widget.locator(".readout").inner_text()
    found = re.search(r"s = (\S+) levels?: score (\S+), line (\S+) ([+−]) (\S+) = (\S+), difference (\S+)\. ", said)
    s, score, first, sign, way, sum_, difference = found.groups()
    assert read_number(s) == pytest.approx(wanted["s"], rel=6e-3)
    assert read_number(score) == pytest.approx(wanted["score"], rel=6e-4)
    assert read_number(first) == pytest.approx(wanted["first"], rel=6e-4)
    along = read_number(way) if sign == "+" else -read_number(way)
    assert along == pytest.approx(wanted["slope"] * wanted["s"], rel=6e-3)
    assert read_number(sum_) == pytest.approx(line, rel=6e-4)
    assert read_number(difference) == pytest.approx(wanted["score"] - line, rel=6e-3, abs=1e-3)
    start, end = re.search(r"of the score from (\S+) to (\S+) levels \(shaded\)", said).groups()
    assert [read_number(start), read_number(end)] == pytest.approx(wanted["holds"], rel=0.06)
    assert read_number(re.search(r"its slope is (\S+) per level", said)[1]) == pytest.approx(wanted["slope"], rel=6e-3)
    assert said.startswith(wanted["label"])
    across, down = scale(widget, "middle", "x"), scale(widget, "end", "y")
    reach = across(448)
    for name, height in ((".on-score", wanted["score"]), (".on-line", line)):
        x, y = centre(widget, name)
        assert across(x) == pytest.approx(wanted["s"], abs=0.01 * reach)
        assert down(y) == pytest.approx(height, abs=0.01 * abs(down(10) - down(226)), rel=1e-3)


def same_picture(notebook, widget):
    """To one level, where rounding falls differently in float32."""
    difference = np.abs(levels(photograph(widget)) - notebook.python(PICTURE))
    assert difference.max() <= 1
    assert difference.mean() < 0.01


def press(notebook, key, times):
    for _ in range(times):
        notebook.page.keyboard.press(key)


def test_the_first_picture_and_chart_are_what_python_computed(notebook, taylor):
    same_picture(notebook, taylor)
    check_readout(notebook, taylor)
    expect(photograph(taylor)).to_have_attribute("aria-label", "red panda, 0 levels along the gradient w")
    label = taylor.locator("svg").get_attribute("aria-label")
    score, slope = notebook.python("taylor.result.score, taylor.result.slope")
    assert f"score {score:.4g} and slope {slope:.3g} per level at s = 0" in label
    assert "Score of lesser panda and its straight line along the gradient w" in label
    # All points of the curve are the kernel's scores, and the line touches it at 0.
    across, down = scale(taylor, "middle", "x"), scale(taylor, "end", "y")
    points = re.findall(r"([-\d.]+) ([-\d.]+)", taylor.locator(".chart .score").get_attribute("d"))
    s, scores = notebook.python("taylor.places, taylor.result.scores.tolist()")
    inside = np.abs(s) <= 0.25
    drawn = np.array(points, float)[inside]
    np.testing.assert_allclose(across(drawn[:, 0]), np.array(s)[inside], atol=2e-3)
    np.testing.assert_allclose(down(drawn[:, 1]), np.array(scores)[inside], atol=0.1)
    line = re.findall(r"([-\d.]+) ([-\d.]+)", taylor.locator(".chart .line").get_attribute("d"))
    (x0, y0), (x1, y1) = np.array(line, float)
    assert (down(y1) - down(y0)) / (across(x1) - across(x0)) == pytest.approx(slope, rel=5e-3)
    # What runs out of the frame is cut off by a frame of this chart's own.
    clip = taylor.locator(".inside").get_attribute("clip-path").removeprefix("url(").removesuffix(")")
    assert taylor.locator(f"{clip} rect").count() == notebook.page.locator(clip).count() == 1
    shade = taylor.locator(".chart .holds")
    left, width = float(shade.get_attribute("x")), float(shade.get_attribute("width"))
    assert [across(left), across(left + width)] == pytest.approx(notebook.python("taylor.result.holds"), abs=2e-3)


def test_walking_by_the_keyboard_by_the_mouse_and_back(notebook, taylor):
    chosen_photo(taylor).focus()
    notebook.tab_to(way(taylor))
    with notebook.drawn_anew(photograph(taylor)):
        press(notebook, "ArrowRight", 40)  # 16 levels, which is seen
    notebook.becomes("taylor.places.index(taylor.s)", 46 + 40)
    same_picture(notebook, taylor)
    check_readout(notebook, taylor)
    expect(way(taylor)).to_have_attribute("aria-valuetext", "16 levels")
    press(notebook, "ArrowLeft", 15)
    notebook.becomes("taylor.places.index(taylor.s)", 46 + 25)
    check_readout(notebook, taylor)
    with notebook.drawn_anew(photograph(taylor)):
        box = way(taylor).bounding_box()
        notebook.page.mouse.move(box["x"] + 0.6 * box["width"], box["y"] + box["height"] / 2)
        notebook.page.mouse.down()
        notebook.page.mouse.move(box["x"] + 1, box["y"] + box["height"] / 2, steps=8)
        notebook.page.mouse.up()
    notebook.becomes("taylor.s", -64)
    same_picture(notebook, taylor)
    check_readout(notebook, taylor)
    expect(taylor.locator("figcaption").first).to_contain_text("lie outside 0 to 255 and are clipped in the picture")
    taylor.get_by_role("button", name="back to the photo").click()
    notebook.becomes("taylor.s", 0)
    same_picture(notebook, taylor)
    notebook.python("taylor.s = 5", print_it=False)
    expect(way(taylor)).to_have_attribute("aria-valuetext", "5.04 levels")
    check_readout(notebook, taylor)


def test_dragging_in_the_chart_and_zooming_to_where_the_line_is_true(notebook, taylor):
    chart = taylor.locator("svg")
    texts = taylor.locator(".texts text[text-anchor=middle]")
    expect(texts).to_have_text(["−0.25", "−0.125", "0", "0.125", "0.25"])
    box = chart.bounding_box()
    at = [box["x"] + x / 460 * box["width"] for x in (300, 400)], box["y"] + box["height"] / 3
    notebook.page.mouse.move(at[0][0], at[1])
    notebook.page.mouse.down()
    notebook.page.mouse.move(at[0][1], at[1], steps=5)
    notebook.page.mouse.up()
    place = (400 - 252) / 196 * 0.25
    nearest = notebook.python(f"min(taylor.places, key=lambda s: abs(s - {place}))")
    notebook.becomes("taylor.s", nearest)
    check_readout(notebook, taylor)
    notebook.page.mouse.move(at[0][0], at[1])  # no button is down
    notebook.page.wait_for_timeout(300)
    notebook.becomes("taylor.s", nearest)
    taylor.get_by_role("button", name="back to the photo").click()
    notebook.becomes("taylor.s", 0)
    shows = taylor.get_by_label("the chart shows")
    for reach in (0.01, 1, 64):
        shows.select_option(str(reach))
        expect(texts.last).to_have_text(str(reach))
        check_readout(notebook, taylor)
    shows.select_option("0.01")
    way(taylor).press("ArrowRight")
    expect(taylor.locator(".readout")).to_contain_text(", s = 0.00195 levels")
    x, y = centre(taylor, ".on-score")
    assert scale(taylor, "middle", "x")(x) == pytest.approx(2**-9, abs=1e-4)
    # So near the photo the line is true: score and line are less than a pixel of the chart apart.
    assert abs(y - centre(taylor, ".on-line")[1]) < 1.5
    way(taylor).press("End")  # whoever walks out of the chart takes it along
    expect(texts.last).to_have_text("64")


def test_other_directions_classes_and_photos(notebook, taylor):
    direction(taylor).select_option("grey")
    expect(taylor.locator(".readout")).to_contain_text("towards the mean colour")
    finished(taylor)
    notebook.becomes("taylor.direction, taylor.result.holds", ["grey", [-64, 64]])
    check_readout(notebook, taylor)
    with notebook.drawn_anew(photograph(taylor)):
        way(taylor).press("End")
    notebook.becomes("taylor.s", 64)
    same_picture(notebook, taylor)
    taylor.get_by_role("button", name="red fox").click()
    expect(taylor.locator(".readout")).to_contain_text("red fox, s = 64 levels")
    finished(taylor)
    check_readout(notebook, taylor)
    search = taylor.get_by_label("or another class")
    search.press_sequentially("tabb")
    search.press("Enter")
    expect(taylor.locator(".readout")).to_contain_text("tabby")
    finished(taylor)
    check_readout(notebook, taylor)
    upload = taylor.get_by_label("or your own photo")
    with notebook.drawn_anew(photograph(taylor)):
        upload.set_input_files(picture())
    expect(chosen_photo(taylor)).to_have_value("your photo")
    finished(taylor)
    notebook.becomes("taylor.wait(30)", True)
    same_picture(notebook, taylor)
    before = levels(photograph(taylor))
    for content, words in ((TEXT["buffer"], "not a picture"), (b"", "is empty"), (bytes(9_000_001), "9.0 MB")):
        upload.set_input_files(TEXT | {"buffer": content})
        expect(status(taylor)).to_contain_text(words)
    assert (levels(photograph(taylor)) == before).all()
    chosen_photo(taylor).select_option("koala")
    expect(taylor.locator(".readout")).to_contain_text("koala, s = 64")
    finished(taylor)
    notebook.becomes("taylor.photo, taylor.result.class_index == taylor.class_index", ["koala", True])
    check_readout(notebook, taylor)


def test_the_walk_follows_without_the_kernel_and_at_once(notebook, taylor):
    way(taylor).focus()
    notebook.page.evaluate("""() => {
      const kernel = window.jupyterapp.shell.currentWidget.sessionContext.session.kernel;
      kernel.requestExecute({code: 'import time; time.sleep(3)'});
    }""")
    with notebook.drawn_anew(photograph(taylor)):
        press(notebook, "ArrowRight", 42)
    expect(taylor.locator(".readout")).to_contain_text("s = 25.4 levels: score", timeout=1500)
    # The time from an event to the end of the frame that shows it.
    times = taylor.evaluate("""async (box) => {
      const slider = box.querySelector('[type=range]'), times = [], frame = () => new Promise(requestAnimationFrame);
      for (let k = 0; k < 40; k++) {
        await frame();
        const start = performance.now();
        slider.value = 46 + k;
        slider.dispatchEvent(new Event('input'));
        await frame();
        times.push(performance.now() - start);
      }
      return times.sort((a, b) => a - b);
    }""")
    assert times[20] < 40, times  # a frame takes 17
    notebook.becomes("taylor.places.index(taylor.s)", 46 + 39)


def test_a_new_photo_is_never_drawn_with_the_direction_of_the_last(notebook, taylor):
    notebook.python(
        "import time; fast = taylor._line\ntaylor._line = lambda *wanted: (time.sleep(2), fast(*wanted))[1]",
        print_it=False,
    )
    before = levels(photograph(taylor))
    chosen_photo(taylor).select_option("koala")
    expect(taylor.locator(".classes button").first).to_contain_text("koala")
    notebook.becomes("taylor._done['look'] == (taylor._source,)", True)
    notebook.page.wait_for_timeout(300)
    way(taylor).press("End")
    notebook.page.wait_for_timeout(300)
    assert (levels(photograph(taylor)) == before).all()
    notebook.python("taylor._line = fast", print_it=False)
    expect(taylor.locator(".readout")).to_contain_text("koala, s = 64")
    finished(taylor)
    same_picture(notebook, taylor)


def test_two_side_by_side(notebook):
    notebook.run("one = di.explore.taylor()\none", "taylor = di.explore.taylor()\ntaylor")
    one, two = (notebook.page.locator(".taylor").nth(k) for k in range(2))
    finished(one)
    finished(two)
    chart = "(box) => box.querySelector('svg').innerHTML"
    before = levels(photograph(two)), two.evaluate(chart), two.locator(".readout").inner_text()
    with notebook.drawn_anew(photograph(one)):
        way(one).press("End")
    direction(one).select_option("noise")
    expect(one.locator(".readout")).to_contain_text("along noise")
    finished(one)
    notebook.becomes("[one.s, one.direction, taylor.s, taylor.direction]", [64, "noise", 0, "gradient"])
    assert (levels(photograph(two)) == before[0]).all()
    assert two.evaluate(chart) == before[1]
    assert two.locator(".readout").inner_text() == before[2]
    same_picture(notebook, two)


@pytest.mark.parametrize("theme", ["JupyterLab Light", "JupyterLab Dark"])
def test_accessible_and_no_wider_than_its_place(notebook, taylor, theme):
    if "Dark" in theme:
        notebook.theme(theme)
    way(taylor).press("End")
    taylor.get_by_label("or your own photo").set_input_files(TEXT)
    expect(status(taylor)).to_contain_text("stays")
    notebook.check_accessibility(taylor)
    # axe does not look into the chart: its words have the theme's ink, its curves stand out from the ground by 3 to 1.
    ink, ground = colours(taylor, "color")[0], colours(taylor, "backgroundColor")[0]
    assert {*colours(taylor.locator(".chart text"), "fill")} == {ink}
    assert contrast(ink, ground) > 7
    for curve in (".score", ".line"):
        assert contrast(colours(taylor.locator(f".chart {curve}"), "stroke")[0], ground) > 3
    notebook.check_width(taylor, 1024)
    notebook.check_width(taylor, 640)


def colours(places, what):
    found = places.evaluate_all(f"(all) => all.map((each) => getComputedStyle(each).{what})")
    return [tuple(map(float, re.findall(r"[\d.]+", each)[:3])) for each in found]


def contrast(one, two):
    def light(colour):
        parts = [c / 255 / 12.92 if c / 255 <= 0.03928 else ((c / 255 + 0.055) / 1.055) ** 2.4 for c in colour]
        return 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2]

    low, high = sorted((light(one), light(two)))
    return (high + 0.05) / (low + 0.05)
