"""The scores explorer as a person uses it, in JupyterLab and Chromium."""

import numpy as np
import pytest

from .driver import TEXT, chosen_photo, expect, levels, picture, settle, status

OPEN = "scores = di.explore.scores(di.photo('pig'))\nscores"
TOP = "[[1 + rank, p.label, p.class_index, p.score, p.probability] for rank, p in enumerate(scores.result.top)]"
SEEN = "__import__('numpy').asarray(scores.classifier.picture(scores.result.x)).tolist()"


@pytest.fixture
def scores(notebook):
    notebook.run(OPEN)
    widget = notebook.page.locator(".scores")
    expect(lines(widget)).to_have_count(5)
    settle(widget)
    return widget


def lines(widget):
    return widget.locator("tbody tr:visible")


def cells(line):
    """Rank, class and the two numbers, as they are read."""
    rank, _, score, probability = line.locator("td").all_inner_texts()
    return int(rank), line.get_by_role("button").inner_text().replace("\n", " "), score, probability


def check_lines(widget, wanted, searched=None):
    """The lines have the kernel's numbers, rounded, and bars as long as the values that they stand for."""
    expect(lines(widget)).to_have_count(len(wanted))
    by_score = widget.get_by_role("radio", name="score S_c").is_checked()
    longest = max(score if by_score else probability for *_, score, probability in wanted)
    for line, (rank, label, c, score, probability) in zip(lines(widget).all(), wanted, strict=True):
        mark = " ← searched" if c == searched else ""
        shown = "> 0.999" if probability > 0.9995 else "< 0.001" if probability < 0.0005 else f"{probability:.3f}"
        assert cells(line) == (rank, f"{label} ({c}){mark}", f"{score:.1f}", shown)
        bar, place = line.locator(".bar div").bounding_box(), line.locator(".bar").bounding_box()
        part = (score if by_score else probability) / longest
        assert bar["width"] == pytest.approx(part * (place["width"] - 16), abs=1)  # between its paddings


def find(widget, text):
    field = widget.get_by_label("find a class")
    field.press_sequentially(text)
    field.press("Enter")


def how_many(widget):
    return widget.get_by_role("slider", name="k, how many classes")


def test_the_first_picture_and_numbers_are_what_python_computed(notebook, scores):
    canvas = scores.locator("canvas")
    np.testing.assert_array_equal(levels(canvas), notebook.python(SEEN))
    check_lines(scores, notebook.python(TOP))
    expect(scores.locator("figcaption")).to_have_text("pig, as the network sees it: 224 × 224 pixels")
    best, label = notebook.python("scores.result.top[0].score, scores.result.top[0].label")
    words = f"pig, as the network sees it: 224 × 224 pixels; its best class is {label}, score {best:.3g}"
    expect(canvas).to_have_attribute("aria-label", words)
    together = notebook.python("sum(p.probability for p in scores.result.top)")
    expect(scores.locator(".told")).to_have_text(
        f"The best 5 of 1000 classes have probability {together:.3f} together."
    )


def test_how_many_and_what_the_bars_show_by_mouse_and_by_keyboard(notebook, scores):
    box = how_many(scores).bounding_box()
    notebook.page.mouse.move(box["x"] + 0.22 * box["width"], box["y"] + box["height"] / 2)
    notebook.page.mouse.down()
    notebook.page.mouse.move(box["x"] + box["width"] - 1, box["y"] + box["height"] / 2, steps=5)
    notebook.page.mouse.up()
    expect(lines(scores)).to_have_count(20)
    expect(scores.locator("output")).to_have_text("20")
    notebook.becomes("scores.k, len(scores.result.top)", [20, 20])
    check_lines(scores, notebook.python(TOP))
    together = notebook.python("sum(p.probability for p in scores.result.top)")
    assert 0.5 < together < 0.999
    expect(scores.locator(".told")).to_contain_text(f"20 of 1000 classes have probability {together:.3f} together.")
    scores.get_by_label("probability P_c").check()
    check_lines(scores, notebook.python(TOP))
    notebook.becomes("scores.shown", "probability")
    notebook.python("scores.k = 1", print_it=False)
    expect(lines(scores)).to_have_count(1)
    expect(how_many(scores)).to_have_value("1")
    best = notebook.python("scores.result.top[0].probability")
    expect(scores.locator(".told")).to_have_text(f"The best one of 1000 classes has probability {best:.3f}.")
    chosen_photo(scores).focus()
    notebook.tab_to(how_many(scores))
    for _ in range(3):
        notebook.page.keyboard.press("ArrowRight")
    expect(lines(scores)).to_have_count(4)
    notebook.tab_to(scores.get_by_label("probability P_c"))
    notebook.page.keyboard.press("ArrowLeft")
    expect(scores.get_by_label("score S_c")).to_be_checked()
    notebook.becomes("scores.k, scores.shown", [4, "score"])
    check_lines(scores, notebook.python(TOP))


@pytest.mark.parametrize("text", ["hog", "n02395406", "341"])
def test_a_class_is_found_below_the_best(notebook, scores, text):
    find(scores, text)
    expect(lines(scores)).to_have_count(6)
    notebook.becomes("scores.class_index, scores.search", [341, "hog"])
    searched = "[[scores.result.rank, *scores.result.searched[1::-1], *scores.result.searched[2:]]]"
    wanted = notebook.python(f"{TOP} + {searched}")
    check_lines(scores, wanted, searched=341)
    expect(scores.locator(".told")).to_contain_text(f" hog has rank {wanted[-1][0]}.")
    expect(lines(scores).last.locator(".bar div")).to_have_css("background-color", "rgb(200, 90, 0)")


def test_searching_by_a_line_and_for_none(notebook, scores):
    second = lines(scores).nth(1).get_by_role("button")
    second.focus()
    notebook.page.keyboard.press("Enter")
    expect(second).to_have_attribute("aria-pressed", "true")
    c = notebook.python("scores.result.top[1].class_index")
    notebook.becomes("scores.class_index", c)
    check_lines(scores, notebook.python(TOP), searched=c)
    assert second.evaluate("(e) => e === document.activeElement")
    find(scores, "no such animal")
    expect(status(scores)).to_contain_text("The last setting stays.")
    notebook.becomes("scores.class_index", c)
    find(scores, str(c))  # the same once more: nothing changes, and the old complaint goes
    expect(status(scores)).to_have_text("")
    find(scores, "zebra")
    line = lines(scores).nth(5).get_by_role("button")
    expect(line).to_contain_text("zebra (340)")
    line.focus()
    notebook.page.keyboard.press("Enter")
    expect(lines(scores)).to_have_count(5)
    expect(scores.get_by_label("find a class")).to_be_focused()
    find(scores, "zebra")
    expect(lines(scores)).to_have_count(6)
    scores.get_by_role("button", name="clear the search").click()
    expect(lines(scores)).to_have_count(5)
    expect(scores.get_by_role("button", name="clear the search")).to_be_disabled()
    notebook.becomes("scores.class_index, scores.result.rank", [None, None])


def test_another_photo_one_of_ones_own_and_files_that_are_none(notebook, scores):
    canvas, upload = scores.locator("canvas"), scores.get_by_label("or your own photo")
    with notebook.drawn_anew(canvas):
        chosen_photo(scores).select_option("duck")
    expect(scores.locator("figcaption")).to_contain_text("duck, ")
    check_lines(scores, notebook.python(TOP))
    with notebook.drawn_anew(canvas):
        upload.set_input_files(picture())
    expect(chosen_photo(scores)).to_have_value("your photo")
    settle(scores)
    check_lines(scores, notebook.python(TOP))
    np.testing.assert_array_equal(levels(canvas), notebook.python(SEEN))
    before = levels(canvas)
    for content, words in ((TEXT["buffer"], "not a picture"), (b"", "is empty"), (bytes(9_000_001), "9.0 MB")):
        upload.set_input_files(TEXT | {"buffer": content})
        expect(status(scores)).to_contain_text(words)
        expect(status(scores)).to_contain_text("The last photo stays.")
    assert (levels(canvas) == before).all()
    notebook.becomes("scores.result.image_name", "your photo")


def test_two_side_by_side(notebook):
    notebook.run("one = di.explore.scores()\none", "scores = di.explore.scores()\nscores")
    one, two = (notebook.page.locator(".scores").nth(k) for k in range(2))
    expect(lines(two)).to_have_count(5)
    before = levels(two.locator("canvas")), two.locator(".list").inner_html()
    with notebook.drawn_anew(one.locator("canvas")):
        chosen_photo(one).select_option("pig")
    find(one, "hog")
    one.get_by_label("probability P_c").check()
    how_many(one).press("Home")
    expect(lines(one)).to_have_count(2)
    notebook.becomes("one.k, one.shown, one.search", [1, "probability", "hog"])
    notebook.becomes("repr(scores)", "ScoresExplorer('red_panda', k=5)")
    assert (levels(two.locator("canvas")) == before[0]).all()
    assert two.locator(".list").inner_html() == before[1]
    expect(two.get_by_label("score S_c")).to_be_checked()


@pytest.mark.parametrize("theme", ["JupyterLab Light", "JupyterLab Dark"])
def test_accessible_and_no_wider_than_its_place(notebook, scores, theme):
    if "Dark" in theme:
        notebook.theme(theme)
    find(scores, "hog")
    expect(lines(scores)).to_have_count(6)
    scores.get_by_label("or your own photo").set_input_files(TEXT)
    expect(status(scores)).to_contain_text("stays")
    notebook.check_accessibility(scores)
    notebook.check_width(scores, 1024)
    notebook.check_width(scores, 640)
