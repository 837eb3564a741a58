"""The class-model studio as a person uses it, in JupyterLab and Chromium."""

import re

import numpy as np
import pytest
from PIL import Image

from deepinside_edu.class_model import PRESETS

from .driver import TEXT, expect, levels, picture, status

OPEN = "studio = di.explore.class_model()\nstudio"
DONE = "len(studio.steps)"


@pytest.fixture
def studio(notebook):
    notebook.run(OPEN)
    widget = notebook.page.locator(".class-model")
    expect(widget.get_by_role("status")).to_contain_text("Ready: press Run.")
    return widget


def press(widget, name):
    widget.get_by_role("button", name=name, exact=True).click()


def shown(widget):
    return widget.locator("canvas.picture")


def set_number(widget, label, value):
    """As a person does: type, then leave the field."""
    field = widget.get_by_label(label, exact=True)
    field.fill(str(value))
    field.press("Tab")


def climb(notebook, widget, steps=6):
    """Run to the end, a near one."""
    set_number(widget, "steps", steps)
    notebook.until("([t]) => document.querySelector('.class-model').innerText.includes(t)", f"of {steps}")
    with notebook.drawn_anew(shown(widget), widget.locator("canvas.curves")):
        press(widget, "Run")
    expect(status(widget)).to_contain_text("Finished.")
    expect(widget.locator("figcaption")).to_contain_text(f"step {steps} of {steps}")


def same_picture(notebook, widget, number):
    wanted = np.array(notebook.python(f"__import__('numpy').asarray(studio.steps[{number - 1}].picture).tolist()"))
    assert (levels(shown(widget)) == wanted).all()


def test_a_class_by_part_of_its_name_then_run(notebook, studio):
    search = studio.get_by_role("combobox", name="class: type part of its name")
    search.click()
    search.press_sequentially("espres")
    found = studio.get_by_role("listbox").get_by_role("option")
    expect(found).to_have_text(["espresso maker (550)", "espresso (967)"])
    expect(found.and_(studio.get_by_role("option", selected=True))).to_have_count(0)
    search.press("ArrowDown")
    search.press("ArrowDown")
    expect(found.and_(studio.get_by_role("option", selected=True))).to_have_text("espresso (967)")
    search.press("Enter")
    expect(search).to_have_value("espresso (967)")
    notebook.becomes("studio.class_index", 967)
    climb(notebook, studio)
    notebook.becomes(f"{DONE}, studio.state", [6, "finished"])
    same_picture(notebook, studio, 6)
    expect(studio.locator("figcaption")).to_contain_text("espresso, the paper's objective")
    expect(studio.locator("table th").first).to_have_text("espresso")
    score = notebook.python("studio.result.scores[967].item()")
    assert float(studio.locator("table td").nth(1).inner_text()) == pytest.approx(score, rel=6e-3)


def test_enter_never_chooses_among_several_classes(notebook, studio):
    search = studio.get_by_role("combobox", name="class: type part of its name")
    search.click()
    search.press_sequentially("bear")
    found = studio.get_by_role("listbox").get_by_role("option")
    expect(found.first).to_be_visible()
    search.press("Enter")
    expect(status(studio)).to_contain_text("'bear' fits")
    expect(status(studio)).to_contain_text("The last class stays.")
    notebook.becomes("studio.class_index", 99)
    expect(found.first).to_be_visible()  # to choose from by an arrow key or the mouse
    search.press("ArrowUp")
    expect(found.last).to_have_attribute("aria-selected", "true")
    for text, name, index in (("mink", "mink (357)", 357), ("357", "mink (357)", 357), ("lorik", "lorikeet (90)", 90)):
        search.fill(text)
        search.press("Enter")
        expect(search).to_have_value(name)
        notebook.becomes("studio.class_index", index)
    expect(status(studio)).to_have_text("Ready: press Run.")


def test_a_start_without_a_gradient_gets_noise_and_says_so(notebook, studio):
    notebook.python("studio.set_trait('class_index', 90)")
    with notebook.drawn_anew(shown(studio)):
        press(studio, "Step")
    expect(studio).to_contain_text("The score has no gradient at the start, so noise of σ 0.08 was added to the start.")
    notebook.python("studio.set_trait('class_index', 99)")
    expect(studio).not_to_contain_text("no gradient")


def test_the_last_step_of_readable_is_written_and_leaves_the_curve_its_scale(notebook, studio):
    studio.get_by_role("combobox", name="preset").select_option("readable")
    notebook.becomes("studio.length", PRESETS["readable"].steps)
    climb(notebook, studio, 8)
    curves = studio.locator("canvas.curves")
    last = notebook.python("studio.steps[-1].score")
    expect(curves).to_have_attribute("aria-label", re.compile("not drawn: the last step, contrast × 2, S_c "))
    written = re.search(r"contrast × 2, S_c (\d+\.?\d*)", curves.get_attribute("aria-label"))[1]
    assert float(written) == pytest.approx(last, rel=6e-3)
    studio.get_by_role("combobox", name="preset").select_option("paper")
    expect(studio.get_by_label("steps", exact=True)).to_have_value(str(PRESETS["paper"].steps))
    climb(notebook, studio, 8)
    expect(curves).not_to_have_attribute("aria-label", re.compile("not drawn"))


def test_go_back_says_which_steps_it_can_reach(notebook, studio):
    pace = "__import__('sys').modules['deepinside_edu.explorers.class_model'].PICTURES_PER_SECOND"
    usual = notebook.python(pace)
    notebook.python(f"{pace} = 1e-3", print_it=False)  # so slow that most steps have none
    try:
        climb(notebook, studio, 6)
    finally:
        notebook.python(f"{pace} = {usual}", print_it=False)
    pictured = notebook.python("studio._run.pictured")
    assert pictured[-1] == 6
    assert len(pictured) < 6
    expect(studio.get_by_text(f"go back to one of {len(pictured)} steps that have a picture")).to_be_visible()
    studio.get_by_role("slider").press("ArrowLeft")
    expect(studio.locator("figcaption")).to_contain_text(f"step {pictured[-2]} of 6")
    press(studio, "Reset")
    press(studio, "Step")
    expect(status(studio)).to_have_text("Paused at step 1.")
    expect(studio.get_by_text("go back", exact=True)).to_be_visible()  # nothing is left out, nothing to be said


def test_pause_step_and_reset_while_the_kernel_answers(notebook, studio):
    set_number(studio, "steps", 300)
    with notebook.drawn_anew(shown(studio)):
        press(studio, "Run")
    expect(status(studio)).to_contain_text("Running.")
    first = notebook.python(DONE)
    with notebook.drawn_anew(shown(studio)):
        notebook.becomes("1 + 1, studio.state", [2, "running"])
    assert notebook.python(DONE) > first
    press(studio, "Pause")
    expect(status(studio)).to_contain_text("Paused at step")
    notebook.becomes("studio.wait(10), studio.state", [True, "paused"])
    done = notebook.python(DONE)
    assert first < done < 300
    expect(status(studio)).to_have_text(f"Paused at step {done}.")
    same_picture(notebook, studio, done)
    with notebook.drawn_anew(shown(studio)):
        press(studio, "Step")
    expect(status(studio)).to_have_text(f"Paused at step {done + 1}.")
    notebook.becomes(f"studio.wait(10) and {DONE}", done + 1)
    press(studio, "Reset")
    expect(status(studio)).to_contain_text("Ready: press Run.")
    expect(studio.locator("figcaption")).to_have_text("no picture yet")
    notebook.becomes(f"{DONE}, studio.state", [0, "ready"])


def test_go_back_and_stretch_by_the_keyboard(notebook, studio):
    for number in range(1, 4):
        press(studio, "Step")
        expect(status(studio)).to_have_text(f"Paused at step {number}.")
    notebook.tab_to(studio.get_by_label("go back"))
    with notebook.drawn_anew(shown(studio)):
        notebook.page.keyboard.press("ArrowLeft")
    expect(studio.locator("figcaption")).to_contain_text("step 2 of")
    same_picture(notebook, studio, 2)
    notebook.page.keyboard.press("Home")
    expect(studio.locator("figcaption")).to_contain_text("step 1 of")
    same_picture(notebook, studio, 1)
    notebook.becomes("studio.result.number, studio.shown", [1, 1])
    notebook.page.keyboard.press("End")
    expect(studio.locator("figcaption")).to_contain_text("step 3 of")
    notebook.becomes("studio.result.number, studio.shown", [3, 0])
    notebook.tab_to(studio.get_by_role("combobox", name="contrast"))
    with notebook.drawn_anew(shown(studio)):
        notebook.page.keyboard.press("ArrowDown")
    notebook.becomes("studio.contrast", "stretched")
    expect(studio.locator("figcaption")).to_contain_text("(contrast stretched)")
    wanted = notebook.python(
        "__import__('numpy').asarray(di.figures.stretch_contrast(studio.result.picture)).tolist()"
    )
    assert np.abs(levels(shown(studio)) - np.array(wanted)).max() <= 1  # halves are rounded up here, to even there


def test_preset_objective_and_start(notebook, studio):
    expect(studio).to_contain_text("and nothing else.")
    studio.get_by_role("combobox", name="preset").select_option("readable")
    expect(studio).to_contain_text("not in the paper: jitter")
    length = PRESETS["readable"].steps
    notebook.becomes("studio.preset, studio.length", ["readable", length])
    expect(studio.get_by_label("steps", exact=True)).to_have_value(str(length))
    studio.get_by_role("combobox", name="objective").select_option("probability")
    expect(studio).to_contain_text("J(I) = P_c(I)")
    assert float(studio.get_by_label("λ").input_value()) == notebook.python("studio.regularisation")
    with notebook.drawn_anew(shown(studio)):
        press(studio, "Step")
    zero = levels(shown(studio))
    expect(studio.locator("figcaption")).to_contain_text("with later regularisers, and P_c instead of S_c")
    studio.get_by_role("combobox", name="start").select_option("noise")
    expect(status(studio)).to_contain_text("Ready: press Run.")
    with notebook.drawn_anew(shown(studio)):
        press(studio, "Step")
    expect(status(studio)).to_have_text("Paused at step 1.")
    assert np.abs(levels(shown(studio)) - zero).mean() > 1
    notebook.becomes("studio.start", "noise")


def test_the_film_can_be_saved(notebook, studio, tmp_path):
    climb(notebook, studio)
    for kind in ("GIF", "WebP"):
        with notebook.page.expect_download() as coming:
            press(studio, f"Film as {kind}")
        name = coming.value.suggested_filename
        assert name == f"goose.{kind.lower()}"
        coming.value.save_as(tmp_path / name)
        with Image.open(tmp_path / name) as film:
            assert (film.format, film.n_frames, film.size) == (kind.upper(), 6, (224, 224))
        expect(status(studio)).to_have_text("Finished.")


def test_what_is_wrong_is_said_and_the_last_state_stays(notebook, studio):
    press(studio, "Step")
    expect(status(studio)).to_have_text("Paused at step 1.")
    before = levels(shown(studio))
    search = studio.get_by_role("combobox", name="class: type part of its name")
    search.click()
    search.press_sequentially("no such animal")
    search.press("Enter")
    expect(status(studio)).to_contain_text("The last class stays.")
    set_number(studio, "λ", -1)
    expect(status(studio)).to_contain_text("The last setting stays.")
    expect(status(studio)).to_contain_text("-1")
    expect(studio.get_by_label("λ")).to_have_value(str(notebook.python("studio.regularisation")))
    set_number(studio, "steps", 301)
    expect(status(studio)).to_contain_text("expected at most 300 steps")
    expect(studio.get_by_label("steps", exact=True)).to_have_value(str(notebook.python("studio.length")))
    upload = studio.get_by_label("or your own photo")
    upload.set_input_files(TEXT)
    expect(status(studio)).to_contain_text("The last start stays.")
    notebook.becomes(f"{DONE}, studio.start, studio.class_index", [1, "zero", 99])
    assert (levels(shown(studio)) == before).all()
    upload.set_input_files(picture())
    expect(studio.get_by_role("combobox", name="start")).to_have_value("your photo")
    with notebook.drawn_anew(shown(studio)):
        press(studio, "Step")
    seen = levels(shown(studio))
    assert seen[112, 112].argmax() == 2  # the blue square in its middle
    assert seen[10, 10].argmax() == 0


def test_closing_stops_the_work(notebook, studio):
    set_number(studio, "steps", 300)
    with notebook.drawn_anew(shown(studio)):
        press(studio, "Run")
    notebook.python("studio.close()")
    expect(studio).to_have_count(0)
    notebook.becomes(f"studio.wait(10), {DONE} < 300", [True, True])


@pytest.mark.parametrize("theme", ["JupyterLab Light", "JupyterLab Dark"])
def test_accessible_and_no_wider_than_its_place(notebook, studio, theme):
    if "Dark" in theme:
        notebook.theme(theme)
    notebook.check_accessibility(studio)
    press(studio, "Step")
    expect(status(studio)).to_have_text("Paused at step 1.")
    search = studio.get_by_role("combobox", name="class: type part of its name")
    search.click()
    search.press_sequentially("dog")
    expect(studio.get_by_role("listbox").get_by_role("option").first).to_be_visible()
    notebook.check_accessibility(studio)
    notebook.check_width(studio, 1024)
    search.press("Escape")
    studio.get_by_label("or your own photo").set_input_files(TEXT)
    expect(status(studio)).to_contain_text("stays")
    notebook.check_accessibility(studio)
    notebook.check_width(studio, 1024)
