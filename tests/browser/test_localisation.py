"""The localisation lab as a person uses it, in JupyterLab and Chromium."""

import base64
import io

import numpy as np
import pytest
from PIL import Image

from .driver import TEXT, at, expect, levels, picture, read_number, settle, status

OPEN = "lab = di.explore.localisation(di.photo('panda'))\nlab"
SIDE = 224
PICTURES = ("map", "seeds", "costs", "cut", "box")
STRIPES = {1: [(255, 215, 0), (0, 0, 0)], -1: [(255, 255, 255), (150, 0, 110)]}
HELPERS = '''
import base64, io, pathlib, time
import numpy as np
from PIL import Image
from deepinside_edu import figures
from deepinside_edu.localise import segment
def drawn():
    """All five pictures, one below the other, as a PNG: numbers would be more than Jupyter prints."""
    r, buffer = lab.result, io.BytesIO()
    difference = r.costs.background - r.costs.foreground
    pictures = [figures.heat_map(r.saliency), figures.seed_picture(r.picture, *r.seeds),
        figures.signed_picture(difference, peak=figures.PEAK), figures.cut_out(r.picture, r.cut.mask),
        figures.cut_out(r.picture, r.mask)]
    Image.fromarray(np.vstack(pictures)).save(buffer, "png")
    return base64.b64encode(buffer.getvalue()).decode()
def same_as(**options):
    r = lab.result
    cold = segment(r.image, r.prediction, r.saliency, **options)
    return bool((cold.cut.mask == r.cut.mask).all() and cold.cut.energy == r.cut.energy and cold.box == r.box)
'''
BUSY = """
folder = pathlib.Path({0!r})
def wait_for(name):
    end = time.monotonic() + 30
    while not (folder / name).exists() and time.monotonic() < end:
        time.sleep(0.01)
with lab._changed:
    (folder / 'busy').touch()
    wait_for('answer')
    older = np.zeros((224, 224), np.int8)
    older[200:210, 20:30] = 1
    lab._tell("strokes", older, after="", counts=(100, 0))
    wait_for('go on')
"""
EXECUTE = """(code) => {
  window.jupyterapp.shell.currentWidget.sessionContext.session.kernel.requestExecute({code, store_history: false});
}"""
NEXT_FRAME = "() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(() => done(true))))"


@pytest.fixture
def lab(notebook):
    notebook.run(OPEN)
    notebook.python(HELPERS, print_it=False)
    widget = notebook.page.locator(".localisation")
    settle(widget)
    return widget


def canvas(widget, name):
    return widget.locator(f"figure.{name} canvas")


def brush(widget, side):
    widget.get_by_role("group", name="brush").get_by_role("radio", name=side).check()


def slider(widget, name):
    return widget.get_by_role("slider", name=name)


def drag(notebook, where, *places):
    """With the left button held, over places (row, column) of a picture, which may lie outside it."""
    points = [at(where, row, column, SIDE, SIDE) for row, column in places]
    box, mouse = where.bounding_box(), notebook.page.mouse
    for i, point in enumerate(points):
        mouse.move(box["x"] + point["x"], box["y"] + point["y"], steps=5 if i else 1)
        if not i:
            mouse.down()
    mouse.up()


def striped(pixels):
    """Which pixels of a picture have a stroke's colours: 1, −1 and 0 elsewhere."""
    found = np.zeros(pixels.shape[:2], int)
    for side, colours in STRIPES.items():
        for colour in colours:
            found[(pixels == colour).all(2)] = side
    return found


def drawn(notebook):
    """The five pictures as Python draws them, by their names."""
    content = base64.b64decode(notebook.python("drawn()"))
    pictures = np.asarray(Image.open(io.BytesIO(content)).convert("RGB")).astype(int)
    return dict(zip(PICTURES, pictures.reshape(-1, SIDE, SIDE, 3), strict=True))


def strokes(notebook, widget):
    """What is painted, as soon as the page and the kernel have the same."""
    for _ in range(100):
        notebook.until(NEXT_FRAME)
        kernel = np.array(notebook.python("lab.wait() and lab.strokes.tolist()"))
        page = striped(levels(canvas(widget, "seeds")))
        if (kernel == page).all():
            break
        notebook.page.wait_for_timeout(50)
    np.testing.assert_array_equal(page, kernel)
    return kernel


def test_all_pictures_are_those_of_python(notebook, lab):
    for name, expected in drawn(notebook).items():
        seen = levels(canvas(lab, name))
        assert (seen == expected).all(2).mean() >= (0.999 if name in ("map", "costs") else 1), name
        assert np.abs(seen - expected).max() < 12, name
        assert canvas(lab, name).get_attribute("role") == "img"
        assert len(canvas(lab, name).get_attribute("aria-label")) > 40
    assert notebook.python("lab.iou") > 0.5
    expect(lab.locator(".summary")).to_contain_text(f"IoU {notebook.python('lab.iou'):.2f} with the true box")
    expect(lab.locator("figure.box figcaption")).to_contain_text("≥ 0.5: found")
    frame, found = (lab.locator(f"figure.box .{name}").bounding_box() for name in ("plate", "found > :last-child"))
    box = notebook.python("[v / s for v, s in zip(lab.result.box, 2 * lab.result.image.size)]")
    seen = [(found["x"] - frame["x"]) / frame["width"], (found["y"] - frame["y"]) / frame["height"]]
    seen += [seen[0] + found["width"] / frame["width"], seen[1] + found["height"] / frame["height"]]
    np.testing.assert_allclose(seen, box, atol=0.005)
    weights = notebook.python("sorted(lab.result.models.foreground.weights.tolist(), reverse=True)")
    bars = lab.locator(".bar").first.locator("div").evaluate_all("(bars) => bars.map((each) => each.clientWidth)")
    np.testing.assert_allclose(np.array(bars) / sum(bars), weights, atol=0.01)
    colour = notebook.python(
        "lab.result.models.foreground.means[lab.result.models.foreground.weights.argmax()].tolist()"
    )
    assert lab.locator(".bar div").first.evaluate("(bar) => getComputedStyle(bar).backgroundColor") == (
        f"rgb({', '.join(str(round(level)) for level in colour)})"
    )
    lab.locator("summary").click()
    assert lab.locator("table.numbers tr").nth(1).locator("td").all_inner_texts() == [
        f"{round(100 * weights[0])} %", *[str(round(level)) for level in colour],
    ]  # fmt: skip


def test_every_slider_and_choice(notebook, lab):
    keyboard = notebook.page.keyboard
    foreground = slider(lab, "foreground quantile")
    foreground.focus()
    with notebook.drawn_anew(canvas(lab, "seeds"), canvas(lab, "costs"), canvas(lab, "cut")):
        for _ in range(4):
            keyboard.press("ArrowLeft")
        expect(foreground).to_have_value("0.93")
    notebook.becomes("lab.foreground, same_as(foreground=lab.foreground)", [0.93, True])
    for name, key, trait, value in (
        ("background quantile", "ArrowRight", "background", 0.305),
        ("blur", "ArrowRight", "blur", 1.75),
        ("components", "ArrowLeft", "components", 4),
    ):
        slider(lab, name).focus()
        with notebook.drawn_anew(canvas(lab, "costs")):
            keyboard.press(key)
        notebook.becomes(f"lab.{trait}", value)
    smoothness = slider(lab, "smoothness")
    box = smoothness.bounding_box()
    with notebook.drawn_anew(canvas(lab, "cut")):
        notebook.page.mouse.move(box["x"] + 0.3 * box["width"], box["y"] + box["height"] / 2)
        notebook.page.mouse.down()
        notebook.page.mouse.move(box["x"] + 1, box["y"] + box["height"] / 2, steps=20)
        notebook.page.mouse.up()
    expect(smoothness).to_have_value("0")
    options = "foreground=0.93, background=0.305, blur=1.75, components=4, smoothness=0"
    notebook.becomes(f"same_as({options})", True)
    with notebook.drawn_anew(canvas(lab, "cut")):
        lab.get_by_role("radio", name="hard").check()
    notebook.becomes(f"lab.hard_seeds, same_as({options}, hard_seeds=True)", [True, True])
    with notebook.drawn_anew(canvas(lab, "map")):
        lab.get_by_role("radio", name="one", exact=True).check()
    notebook.becomes("lab.crops, lab.result is not None and lab.message", [1, ""])
    settle(lab)
    for name, expected in drawn(notebook).items():
        assert (levels(canvas(lab, name)) == expected).all(2).mean() > 0.999, name
    notebook.python("lab.smoothness = 33.0", print_it=False)  # and back: controls follow Python
    expect(smoothness).to_have_value("33")


def test_the_brush(notebook, lab, tmp_path):
    seeds, cut = canvas(lab, "seeds"), canvas(lab, "cut")
    bare = levels(cut)
    drag(notebook, seeds, (30, 10), (40, 20))
    assert not strokes(notebook, lab).any(), "without a brush nothing is painted"
    brush(lab, "foreground")
    with notebook.drawn_anew(seeds, cut):
        drag(notebook, seeds, (30, 10), (60, 10), (60, 30))
    painted = strokes(notebook, lab)
    assert (painted[30:61, 10] == 1).all(), "no gap"
    assert (painted[60, 10:31] == 1).all()
    assert set(np.unique(painted)) == {0, 1}
    slider(lab, "brush size").focus()
    notebook.page.keyboard.press("End")
    brush(lab, "background")
    # While the kernel is busy the page paints at once, an answer from before takes nothing back, and in the end the
    # kernel has made the same of it.
    notebook.page.evaluate(EXECUTE, BUSY.format(str(tmp_path)))
    while not (tmp_path / "busy").exists():
        notebook.page.wait_for_timeout(20)
    drag(notebook, cut, (110, 150), (110, 250), (180, 250), (180, 200))
    notebook.until(NEXT_FRAME)
    here = striped(levels(seeds))
    assert (here[110, 150], here[180, 205], here[145, 210]) == (-1, -1, 0), "out of the picture and in again"
    with notebook.drawn_anew(seeds):
        (tmp_path / "answer").touch()
    between = np.where(here == -1, -1, 0)
    between[200:210, 20:30] = 1
    np.testing.assert_array_equal(striped(levels(seeds)), between)
    (tmp_path / "go on").touch()
    painted = strokes(notebook, lab)
    np.testing.assert_array_equal(painted, here)
    seeds.hover()
    np.testing.assert_array_equal(strokes(notebook, lab), painted, "the pen is up")
    settle(lab)
    np.testing.assert_array_equal(striped(levels(seeds)), painted)
    seen, expected = levels(cut), drawn(notebook)["cut"]
    np.testing.assert_array_equal(striped(seen)[painted != 0], painted[painted != 0])
    assert (seen == expected).all(2)[painted == 0].all()
    assert notebook.python(
        "[lab.result.cut.mask[lab.strokes > 0].all().item(), lab.result.cut.mask[lab.strokes < 0].any().item(), "
        "lab.message]"
    ) == [True, False, ""]
    expect(lab.locator(".bound")).to_have_text(
        f"{(painted > 0).sum()} pixels bound to the foreground, {(painted < 0).sum()} to the background"
    )
    brush(lab, "erase")
    with notebook.drawn_anew(seeds):
        drag(notebook, seeds, (30, 10), (45, 10))
    assert (strokes(notebook, lab)[30:46, 10] == 0).all()
    with notebook.drawn_anew(cut):
        lab.get_by_role("button", name="clear strokes").click()
    assert not strokes(notebook, lab).any()
    settle(lab)
    np.testing.assert_array_equal(levels(cut), bare)
    notebook.becomes("same_as()", True)


def test_hover_reads_what_python_computed(notebook, lab):
    notebook.python("s = lab.strokes.copy(); s[:9, :9] = 1; lab.strokes = s; r = lab.result", print_it=False)
    expect(lab.locator(".bound")).to_contain_text("81 pixels")
    settle(lab)
    inside, outside = notebook.python("[np.argwhere(r.mask)[4321].tolist(), np.argwhere(~r.cut.mask)[4321].tolist()]")
    piece = notebook.python("np.argwhere(r.cut.mask & ~r.mask)[0].tolist()")
    seed = [notebook.python(f"np.argwhere(r.seeds.{side})[99].tolist()") for side in ("foreground", "background")]
    met = []
    for k, (row, column) in enumerate([(4, 5), inside, outside, piece, *seed]):
        where = canvas(lab, PICTURES[k % 5])
        where.hover(position=at(where, row, column, SIDE, SIDE))
        readout = lab.locator(".readout")
        expect(readout).to_contain_text(f"row {row}, column {column}: M = ")
        words = readout.inner_text().removesuffix(".").split(": ", 1)[1].split("; ")
        said = dict(each.replace(" = ", ": ").split(": ") for each in words if not each.startswith("cost"))
        costs = words[-2].removeprefix("cost as foreground ").split(", as background ")
        i = f"[{row}, {column}]"
        m, foreground, background, is_seed, not_seed, part = notebook.python(
            f"[float(r.saliency{i}), *[float(c{i}) for c in r.costs], *[bool(s{i}) for s in r.seeds], "
            f"int(r.cut.mask{i}) + int(r.mask{i})]"
        )
        assert read_number(said["M"]) == pytest.approx(m, rel=6e-3)
        assert [read_number(each) for each in costs] == pytest.approx([foreground, background], rel=6e-3)
        assert said["seed"] == ("foreground" if is_seed else "background" if not_seed else "unused")
        assert said["cut"] == [
            "background", "foreground, but not in the largest component", "foreground, in the largest component"
        ][part]  # fmt: skip
        assert said.get("stroke") == ("foreground" if max(row, column) < 9 else None)
        met.append((said["seed"], part))
    assert {part for _, part in met} == {0, 1, 2}
    assert {"foreground", "background"} <= {seed for seed, _ in met}


def test_the_keyboard_alone(notebook, lab):
    keyboard = notebook.page.keyboard
    lab.get_by_role("combobox", name="photo", exact=True).focus()
    notebook.tab_to(lab.get_by_role("group", name="crops").get_by_role("radio", name="ten"))
    with notebook.drawn_anew(canvas(lab, "map")):
        keyboard.press("ArrowLeft")
    notebook.becomes("lab.crops", 1)
    seeds, cut = lab.get_by_role("application").all()
    notebook.tab_to(seeds)
    keyboard.press("Space")
    expect(status(lab)).to_contain_text("Choose a brush first")
    lab.get_by_role("combobox", name="photo", exact=True).focus()
    notebook.tab_to(lab.get_by_role("group", name="brush").get_by_role("radio", name="none"))
    keyboard.press("ArrowRight")
    keyboard.press("ArrowRight")
    notebook.tab_to(seeds)
    keyboard.press("Shift+ArrowUp")
    keyboard.press("ArrowLeft")
    expect(lab.locator(".readout")).to_contain_text("row 102, column 111")
    notebook.tab_to(cut)
    keyboard.press("ArrowDown")
    with notebook.drawn_anew(canvas(lab, "cut"), canvas(lab, "seeds")):
        keyboard.press("Space")
    rows, columns = np.mgrid[:SIDE, :SIDE]
    np.testing.assert_array_equal(strokes(notebook, lab), -(np.hypot(rows - 103, columns - 111) <= 4.5).astype(int))
    expect(lab.locator(".readout")).to_contain_text("stroke: background")
    notebook.becomes("bool(lab.result.cut.mask[103, 111])", False)
    expect(status(lab)).to_be_empty()
    slider(lab, "brush size").focus()
    notebook.tab_to(lab.get_by_role("button", name="clear strokes"))
    with notebook.drawn_anew(canvas(lab, "cut")):
        keyboard.press("Enter")
    assert not strokes(notebook, lab).any()


def test_photos_classes_and_errors(notebook, lab):
    lab.get_by_role("radio", name="one", exact=True).check()
    with notebook.drawn_anew(canvas(lab, "map"), canvas(lab, "cut")):
        lab.locator(".classes button").nth(1).click()
    notebook.becomes("lab.class_index == lab._ranking[1].class_index == lab.result.prediction.class_index", True)
    expect(lab.locator(".classes button").nth(1)).to_have_attribute("aria-pressed", "true")
    search = lab.get_by_label("or another class")
    with notebook.drawn_anew(canvas(lab, "map")):
        search.press_sequentially("giant pan")
        search.press("Enter")
    notebook.becomes("lab.result.prediction.label", "giant panda")
    brush(lab, "foreground")
    with notebook.drawn_anew(canvas(lab, "seeds")):
        drag(notebook, canvas(lab, "seeds"), (20, 20), (20, 60))
    upload = lab.get_by_label("or your own photo")
    with notebook.drawn_anew(*[canvas(lab, name) for name in PICTURES]):
        upload.set_input_files(picture())
    settle(lab)
    notebook.becomes("[lab.photo, lab.true_boxes, lab.strokes.any().item()]", ["your photo", [], False])
    assert not striped(levels(canvas(lab, "seeds"))).any(), "a new photo has no strokes"
    expect(lab.locator(".true")).to_have_count(0)
    for file, words in (
        (TEXT, "not a picture"),
        (TEXT | {"buffer": b""}, "is empty"),
        (TEXT | {"buffer": bytes(9_500_000)}, "Save a smaller copy"),
    ):
        upload.set_input_files(file)
        expect(status(lab)).to_contain_text(words)
        expect(status(lab)).to_contain_text("The last photo stays.")
    with notebook.drawn_anew(*[canvas(lab, name) for name in PICTURES]):
        lab.get_by_role("combobox", name="photo", exact=True).select_option("hens")
    expect(lab.locator(".true")).to_have_count(4)
    expect(status(lab)).to_be_empty()
    before = [levels(canvas(lab, name)) for name in PICTURES]
    for name in ("foreground quantile", "background quantile"):
        slider(lab, name).focus()
        notebook.page.keyboard.press("Home" if name.startswith("fore") else "End")
    expect(status(lab)).to_contain_text("expected background ≤ foreground")
    expect(status(lab)).to_contain_text("The last result stays.")
    settle(lab)
    notebook.becomes("[lab.foreground, lab.background]", [0.5, 0.9])
    after = [levels(canvas(lab, name)) for name in PICTURES]
    assert (after[0] == before[0]).all()
    with notebook.drawn_anew(canvas(lab, "seeds")):
        slider(lab, "background quantile").focus()
        notebook.page.keyboard.press("Home")
    expect(status(lab)).to_be_empty()


def test_two_side_by_side(notebook):
    notebook.run("one = di.explore.localisation()\none", "two = di.explore.localisation()\ntwo")
    one, two = (notebook.page.locator(".localisation").nth(k) for k in range(2))
    settle(one)
    settle(two)
    before = [levels(canvas(two, name)) for name in PICTURES]
    said = two.locator(".summary").inner_text()
    brush(one, "foreground")
    expect(two.get_by_role("group", name="brush").get_by_role("radio", name="none")).to_be_checked()
    with notebook.drawn_anew(canvas(one, "seeds"), canvas(one, "cut")):
        drag(notebook, canvas(one, "seeds"), (20, 20), (20, 60))
    with notebook.drawn_anew(canvas(one, "costs")):
        slider(one, "components").focus()
        notebook.page.keyboard.press("Home")
    state = "[[e.components, e.strokes.any().item()] for e in (one, two)]"
    notebook.becomes(state, [[1, True], [5, False]])
    assert two.locator(".summary").inner_text() == said
    for name, old in zip(PICTURES, before, strict=True):
        assert (levels(canvas(two, name)) == old).all()


@pytest.mark.parametrize("theme", ["JupyterLab Light", "JupyterLab Dark"])
def test_accessible_and_no_wider_than_its_place(notebook, lab, theme):
    if "Dark" in theme:
        notebook.theme(theme)
    notebook.check_accessibility(lab)
    brush(lab, "foreground")
    drag(notebook, canvas(lab, "cut"), (20, 20), (20, 250))
    lab.locator("summary").click()
    lab.get_by_label("or your own photo").set_input_files(TEXT)
    expect(status(lab)).to_contain_text("stays")
    notebook.check_accessibility(lab)
    for width in (1024, 640):
        notebook.check_width(lab, width)
