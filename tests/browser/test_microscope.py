"""The ReLU microscope as a person uses it, in JupyterLab and Chromium."""

import numpy as np
import pytest

from .driver import TEXT, at, chosen_photo, cursor, expect, levels, picture, read_number, status

OPEN = "scope = di.explore.microscope()\nscope"
UNIT = "scope.neuron.layer, scope.neuron.channel, scope.neuron.position"
NUMBERS = "import torch, numpy as np; from deepinside_edu import figures"


@pytest.fixture
def scope(notebook):
    notebook.run(OPEN)
    notebook.python(NUMBERS, print_it=False)
    widget = notebook.page.locator(".microscope")
    settle(widget)
    return widget


def settle(widget):
    """Wait until the kernel has done and the page has drawn all that is wanted."""
    widget.locator("tr.shown").wait_for()
    expect(widget).to_have_attribute("aria-busy", "false")
    expect(widget.locator(".ladder")).not_to_contain_text("…")


def plates(widget):
    return widget.locator(".plates canvas")


def tick(widget, rule):
    return widget.get_by_role("checkbox", name=rule)


def strongest(notebook):
    """The channels in the order of the grid, by the kernel's own values."""
    planes = "scope.recording.x(scope.layer)[0].flatten(1).amax(1).tolist()"
    largest = notebook.python(planes)
    return sorted(range(len(largest)), key=lambda c: (-largest[c], c))


def test_the_first_pictures_are_what_python_computed(notebook, scope):
    small = notebook.python(
        "np.asarray(figures.signed_picture(torch.nn.functional.avg_pool2d(scope.result['image'].r['gradient'], 4)[0]"
        ".numpy(), peak=figures.PEAK)).tolist()"
    )
    np.testing.assert_array_equal(levels(scope.locator("tr.shown canvas").first), small)
    seen = levels(plates(scope).nth(1))
    assert seen.shape == (224, 224, 3)
    drawn = notebook.python(
        "np.asarray(figures.signed_picture(scope.result['image'].r['gradient'][0].numpy(), peak=figures.PEAK)).tolist()"
    )
    assert np.abs(seen - np.array(drawn)).mean() < 3  # the quantile is read from a histogram
    for canvas in scope.locator("canvas").all():
        assert canvas.get_attribute("role") == "img"
        assert len(canvas.get_attribute("aria-label")) > 20


def test_click_on_a_map_then_a_unit_then_the_whole_map(notebook, scope):
    chart, grid, neuron = scope.locator(".chart canvas"), scope.locator(".grid canvas"), scope.locator(".neuron")
    chosen = strongest(notebook)[13]
    rows = -(-len(strongest(notebook)) // 10)
    with notebook.drawn_anew(chart, plates(scope).nth(1), plates(scope).nth(2)):
        grid.click(position=at(grid, 1, 3, rows, 10))
    expect(neuron).to_contain_text(f"channel {chosen} of ")
    notebook.becomes(f"({UNIT})[1:]", [chosen, "max"])
    with notebook.drawn_anew(plates(scope).nth(1), plates(scope).nth(2)):
        chart.click(position=at(chart, 4, 9, 13, 13))
    expect(neuron).to_contain_text("(4, 9)")
    notebook.becomes(f"({UNIT})[1:]", [chosen, [4, 9]])
    x = notebook.python(f"scope.recording.x(scope.layer)[0, {chosen}, 4, 9].item(), scope.result.value")
    assert x[0] == pytest.approx(x[1])
    assert read_number(neuron.inner_text().split(":")[0][4:]) == pytest.approx(x[0], rel=6e-3)
    with notebook.drawn_anew(plates(scope).nth(1)):
        scope.get_by_role("button", name="whole map (sum)").click()
    expect(neuron).to_contain_text("the sum over channel")
    notebook.becomes(f"({UNIT})[2]", "sum")
    with notebook.drawn_anew(plates(scope).nth(1)):
        scope.get_by_role("button", name="strongest unit").click()
    notebook.becomes(f"({UNIT})[2]", "max")


def test_another_layer_and_part_of_a_class_name(notebook, scope):
    with notebook.drawn_anew(scope.locator(".grid canvas"), scope.locator(".chart canvas")):
        scope.get_by_label("layer of the neuron").select_option("features.7")
    expect(scope.locator(".neuron")).to_contain_text(f"channel {strongest(notebook)[0]} of features.7")
    settle(scope)
    notebook.becomes("[rung.name for rung in scope.result][::len(scope.result) - 1]", ["features.7", "image"])
    search = scope.get_by_label("or a class")
    with notebook.drawn_anew(plates(scope).nth(1)):
        search.press_sequentially("tabb")
        search.press("Enter")
    expect(scope.locator(".neuron")).to_contain_text("the score of tabby")
    assert notebook.python("scope.classifier.labels[scope.neuron]").startswith("tabby")
    assert notebook.python("scope.result.value") == pytest.approx(
        notebook.python("scope.recording.x('scores')[0, scope.neuron].item()")
    )
    settle(scope)
    before = levels(plates(scope).nth(1))
    search.press_sequentially("no such animal")
    search.press("Enter")
    expect(status(scope)).to_contain_text("The last setting stays.")
    expect(status(scope)).to_contain_text("no such animal")
    assert (levels(plates(scope).nth(1)) == before).all()


def test_rules_rungs_and_marks(notebook, scope):
    assert plates(scope).count() == 3
    tick(scope, "guided").check()
    expect(plates(scope)).to_have_count(4)
    settle(scope)
    notebook.becomes("scope.result.rules", ["gradient", "deconvnet", "guided"])
    expect(scope.locator(".ladder thead th")).to_have_text(["layer", "gradient", "DeconvNet", "guided"])
    with notebook.drawn_anew(plates(scope).nth(1)):
        scope.get_by_role("button", name="features.9.squeeze_activation").click()
    # X_n, three times R_n+1, the mask, three times R_n
    expect(plates(scope)).to_have_count(8)
    settle(scope)
    notebook.becomes("scope.rung", "features.9.squeeze_activation")
    gate = "scope.result[scope.rung].gate"
    channel = notebook.python(f"{gate}.above['gradient'][0].abs().amax((1, 2)).argmax().item()")
    expect(scope.locator(".title")).to_contain_text(f"channel {channel} of 48")
    mask = np.array(notebook.python(f"{gate}.forward_mask[0, {channel}].tolist()"))
    seen = levels(plates(scope).nth(4))
    assert seen.shape[:2] == mask.shape
    assert len(np.unique(seen[mask], axis=0)) == 1
    assert len(np.unique(seen[~mask], axis=0)) == 1
    assert (seen[mask][0] != seen[~mask][0]).any()
    causes = np.array(notebook.python(f"{gate}.cause('deconvnet')[0, {channel}].tolist()"))
    marks = scope.get_by_label("mark what differs")
    marked = levels(plates(scope).nth(6))
    with notebook.drawn_anew(plates(scope).nth(6)):
        marks.select_option("none")
    # Grey where the rules agree, in colours where they do not.
    coloured = np.ptp(marked, axis=2) > 8
    assert (coloured == (causes > 0)).all()
    with notebook.drawn_anew(plates(scope).nth(6)):
        marks.select_option("all")
    assert (levels(plates(scope).nth(6)) == marked).all()
    tick(scope, "guided").uncheck()
    expect(plates(scope)).to_have_count(6)
    notebook.becomes("scope.result.rules", ["gradient", "deconvnet"])
    tick(scope, "DeconvNet").uncheck()
    expect(plates(scope)).to_have_count(4)
    tick(scope, "gradient").click()
    expect(status(scope)).to_contain_text("At least one rule is needed")
    expect(tick(scope, "gradient")).to_be_checked()
    notebook.becomes("scope.rules", ["gradient"])


def test_hover_reads_what_python_computed(notebook, scope):
    tick(scope, "guided").check()
    scope.get_by_role("button", name="features.9.squeeze_activation").click()
    expect(plates(scope)).to_have_count(8)
    settle(scope)
    rules = ("gradient", "deconvnet", "guided")
    notebook.python(
        "gate = scope.result[scope.rung].gate\n"
        "c = gate.above['gradient'][0].abs().amax((1, 2)).argmax().item()\n"
        "def plane(t): return t[0, c].tolist()",
        print_it=False,
    )
    wanted = notebook.python(
        "dict(x=plane(gate.x), open=plane(gate.forward_mask), r={rule: dict(above=plane(gate.above[rule]), "
        "back=plane(gate.backward_mask(rule)), below=plane(gate.below(rule)), cause=plane(gate.cause(rule))) "
        "for rule in gate.above})"
    )
    causes = ["it is the same", "forward mask", "backward mask", "from above"]
    met = set()
    # Each cause once, if it is there, and three places in general position; over a different plate each time.
    places = [tuple(i) for c in range(4) for i in np.argwhere(np.array(wanted["r"]["deconvnet"]["cause"]) == c)[:1]]
    for k, (row, column) in enumerate([*places, (0, 12), (5, 2), (12, 7)]):
        canvas = plates(scope).nth(k)
        canvas.hover(position=at(canvas, row, column, 13, 13))
        readout = scope.locator(".readout")
        expect(readout).to_contain_text(f"row {row}, column {column}: ")
        lines = scope.locator("table.numbers").first.locator("tbody tr")
        for rule, line in zip(rules, lines.all(), strict=True):
            x, forward, above, backward, below, cause = line.locator("td").all_inner_texts()
            of = {name: values[row][column] for name, values in wanted["r"][rule].items()}
            assert read_number(x) == pytest.approx(wanted["x"][row][column], rel=6e-3, abs=1e-30)
            assert (forward, backward) == (str(int(wanted["open"][row][column])), str(int(of["back"])))
            assert read_number(above) == pytest.approx(of["above"], rel=6e-3, abs=1e-30)
            assert read_number(below) == pytest.approx(of["below"], rel=6e-3, abs=1e-30)
            assert cause == ("–" if rule == "gradient" else causes[of["cause"]])
            said = "nothing arrives" if of["above"] == 0 else "passes" if of["below"] else "stopped"
            words = readout.inner_text().lower().split("; ")
            assert next(each for each in words if f"{rule}: " in each).split(f"{rule}: ")[1].startswith(said)
            met.add(said)
    assert met == {"nothing arrives", "passes", "stopped"}


def test_the_keyboard_alone(notebook, scope):
    keyboard = notebook.page.keyboard
    layer = scope.get_by_label("layer of the neuron")
    chosen_photo(scope).focus()
    notebook.tab_to(layer)
    notebook.tab_to(scope.locator(".maps"))
    order = strongest(notebook)
    with notebook.drawn_anew(scope.locator(".chart canvas")):
        keyboard.press("ArrowRight")
    expect(scope.locator(".neuron")).to_contain_text(f"channel {order[1]} of")
    keyboard.press("ArrowDown")
    expect(scope.locator(".neuron")).to_contain_text(f"channel {order[11]} of")
    notebook.becomes(f"({UNIT})[1]", order[11])
    settle(scope)
    notebook.tab_to(scope.get_by_role("application", name="The chosen map"))
    row, column = notebook.python("scope.result.neuron.position")
    keyboard.press("ArrowDown" if row < 12 else "ArrowUp")
    keyboard.press("ArrowRight" if column < 12 else "ArrowLeft")
    unit = [row + 1 if row < 12 else 11, column + 1 if column < 12 else 11]
    keyboard.press("Enter")
    expect(scope.locator(".neuron")).to_contain_text(f"({unit[0]}, {unit[1]})")
    notebook.becomes(f"({UNIT})[2]", unit)
    notebook.tab_to(scope.locator(".ladder button[aria-pressed=true]"))
    with notebook.drawn_anew(plates(scope).nth(1)):
        keyboard.press("ArrowUp")
    expect(scope.locator(".ladder button[aria-pressed=true]")).to_have_text("features.0")
    notebook.becomes("scope.rung", "features.0")
    notebook.tab_to(scope.locator(".plates"))
    row, column = cursor(scope)
    keyboard.press("Shift+ArrowDown" if row < 100 else "Shift+ArrowUp")
    keyboard.press("ArrowLeft" if column else "ArrowRight")
    assert cursor(scope) == (row + 10 if row < 100 else row - 10, column - 1 if column else 1)


def test_a_photo_of_ones_own_and_a_file_that_is_none(notebook, scope):
    upload = scope.get_by_label("or your own photo")
    with notebook.drawn_anew(*[plates(scope).nth(k) for k in range(3)], scope.locator(".grid canvas")):
        upload.set_input_files(picture())
    expect(chosen_photo(scope)).to_have_value("your photo")
    settle(scope)
    notebook.python("mine = scope.recording.x('image').clone()", print_it=False)
    notebook.becomes("mine[0, :, 112, 112].argmax().item()", 2)  # the blue square in its middle
    before = levels(plates(scope).nth(1))
    upload.set_input_files(TEXT)
    expect(status(scope)).to_contain_text("The last photo stays.")
    notebook.becomes("scope.photo, torch.equal(mine, scope.recording.x('image'))", ["your photo", True])
    assert (levels(plates(scope).nth(1)) == before).all()
    with notebook.drawn_anew(plates(scope).first):
        chosen_photo(scope).select_option("koala")
    expect(status(scope)).not_to_contain_text("stays")
    notebook.becomes("scope.photo", "koala")


def test_two_side_by_side(notebook):
    notebook.run("one = di.explore.microscope()\none", "two = di.explore.microscope()\ntwo")
    one, two = (notebook.page.locator(".microscope").nth(k) for k in range(2))
    settle(one)
    settle(two)
    before = [levels(canvas) for canvas in plates(two).all()]
    said = two.locator(".neuron").inner_text()
    with notebook.drawn_anew(plates(one).nth(1)):
        one.get_by_role("button", name="whole map (sum)").click()
    one.get_by_role("button", name="features.8").click()
    expect(one.locator(".title")).to_contain_text("features.8")
    notebook.becomes("[one.position, one.rung, two.position, two.rung]", ["sum", "features.8", "max", "image"])
    assert two.locator(".neuron").inner_text() == said
    for canvas, old in zip(plates(two).all(), before, strict=True):
        assert (levels(canvas) == old).all()


@pytest.mark.parametrize("theme", ["JupyterLab Light", "JupyterLab Dark"])
def test_accessible_and_no_wider_than_its_place(notebook, scope, theme):
    if "Dark" in theme:
        notebook.theme(theme)
    tick(scope, "guided").check()
    expect(plates(scope)).to_have_count(4)
    scope.get_by_label("mark what differs").select_option("all")
    settle(scope)
    notebook.check_accessibility(scope)
    notebook.check_width(scope, 1024)
    scope.get_by_role("button", name="features.9.squeeze_activation").click()
    expect(plates(scope)).to_have_count(8)
    scope.get_by_label("or your own photo").set_input_files(TEXT)
    expect(status(scope)).to_contain_text("stays")
    settle(scope)
    notebook.check_accessibility(scope)
    notebook.check_width(scope, 1024)
