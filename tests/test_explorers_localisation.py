"""The localisation explorer holds state and shows what the steps give; no browser is needed to try it."""

import datetime
import importlib
import io
import itertools

import ipywidgets
import numpy as np
import pytest
import traitlets
from PIL import Image

import deepinside_edu as di
from deepinside_edu.explorers import localisation as make

explorer_module = importlib.import_module("deepinside_edu.explorers.localisation")
localise_module = importlib.import_module("deepinside_edu.localise")
MAPS = {}


@pytest.fixture(scope="module")
def classifier():
    return di.load_classifier()


@pytest.fixture(autouse=True)
def shared_maps(monkeypatch):
    """Maps are the slow step: those that an earlier test asked for are not computed again."""

    def remembered(classifier, image, class_index, crops):
        key = (image.size, image.tobytes(), class_index, crops)
        if key not in MAPS:
            MAPS[key] = di.saliency_map(classifier, image, class_index, crops)
        return MAPS[key]

    monkeypatch.setattr(explorer_module, "saliency_map", remembered)
    monkeypatch.setattr(
        localise_module,
        "saliency_maps",
        lambda classifier, image, classes, crops: tuple(remembered(classifier, image, c, crops) for c in classes),
    )


@pytest.fixture
def explorer(classifier):
    return make(di.photo("macaw"), classifier)


def pixels(panel):
    return np.asarray(Image.open(io.BytesIO(panel.value)).convert("RGB"))


def upload(widget, content, name="photo.jpg"):
    when = datetime.datetime.now(datetime.timezone.utc)
    widget.chooser.upload.value = [
        {"name": name, "type": "", "size": len(content), "content": memoryview(content), "last_modified": when}
    ]


def test_it_shows_what_localise_gives(explorer, classifier, monkeypatch):
    monkeypatch.undo()  # no remembered map on this side
    expected = di.localise(classifier, di.photo("macaw").image)
    assert isinstance(explorer.result, di.Localisation)
    assert explorer.result.box == expected.box
    assert explorer.result.prediction == expected.prediction
    np.testing.assert_array_equal(explorer.result.saliency, expected.saliency)
    np.testing.assert_array_equal(explorer.result.mask, expected.mask)
    assert explorer.result.cut.energy == expected.cut.energy
    assert explorer.true_boxes == di.photo("macaw").boxes
    assert explorer.iou == di.box_iou(expected.box, di.photo("macaw").boxes[0])
    assert "IoU" in explorer.summary.value


@pytest.mark.parametrize(
    ("control", "value", "argument"),
    [
        ("foreground_slider", 0.9, "foreground"),
        ("background_slider", 0.5, "background"),
        ("blur_slider", 0.0, "blur"),
        ("components_slider", 2, "components"),
        ("smoothness_slider", 5.0, "smoothness"),
        ("seeds_buttons", 1, "hard_seeds"),
        ("crops_buttons", 0, "crops"),
    ],
)
def test_every_control_reaches_the_steps(explorer, classifier, control, value, argument):
    before = [pixels(panel) for panel in explorer.panels]
    state = {"index": value} if control.endswith("buttons") else {"value": value}
    getattr(explorer, control).set_state(state)  # as the browser does
    chosen = {"hard_seeds": True, "crops": 1}.get(argument, value)
    expected = di.localise(classifier, di.photo("macaw").image, **{argument: chosen})
    assert getattr(explorer, argument) == chosen
    assert explorer.result.box == expected.box
    np.testing.assert_array_equal(explorer.result.cut.mask, expected.cut.mask)
    assert any(not np.array_equal(a, pixels(b)) for a, b in zip(before, explorer.panels, strict=True))
    assert explorer.message.value == ""


def test_no_slider_computes_a_map_again(explorer, monkeypatch):
    calls = []
    real = explorer_module.saliency_map
    monkeypatch.setattr(explorer_module, "saliency_map", lambda *a: calls.append(a[2:]) or real(*a))
    explorer.foreground, explorer.background, explorer.components, explorer.blur = 0.9, 0.2, 3, 0.5
    explorer.smoothness, explorer.hard_seeds = 20.0, True
    assert calls == []
    explorer.crops = 1
    assert calls == [(explorer.class_index, 1)]
    explorer.crops = 10
    other = explorer.class_choice.options[1][1]
    explorer.class_choice.value = other
    assert calls == [(88, 1), (other, 10)]
    explorer.class_index = 88
    explorer.chooser.shipped.value = "panda"
    explorer.chooser.shipped.value = "macaw"
    assert [c for c, _ in calls] == [88, other, 388], "maps that were seen before are kept"


def test_no_more_maps_are_kept_than_said(explorer, monkeypatch):
    monkeypatch.setattr(explorer_module, "MAPS_KEPT", 2)
    explorer.crops = 1
    for c in (1, 2, 3):
        explorer.class_index = c
    assert len(explorer._maps) == 2


def test_a_new_photo_starts_at_its_own_first_class(explorer):
    explorer.chooser.shipped.value = "jaguars"
    assert explorer.result.prediction.label == "leopard"
    assert explorer.class_choice.value == explorer.class_index == explorer.result.prediction.class_index
    assert explorer.true_boxes == di.photo("jaguars").boxes
    labels = [label for label, _ in explorer.class_choice.options]
    assert any(label.startswith("jaguar") for label in labels), "the true class is on offer"


def test_the_true_class_is_offered_though_it_is_not_among_the_first_five(explorer, monkeypatch):
    panda = di.photo("panda")
    monkeypatch.setattr(type(panda), "image", di.photo("pig").image)  # a panda that looks like a pig
    explorer.chooser.shipped.value = "panda"
    assert 388 not in [each.class_index for each in explorer.classifier.top(explorer.image)]
    assert [c for _, c in explorer.class_choice.options][5:] == [388]


def test_any_class_can_be_searched_for(explorer):
    explorer.class_search.set_state({"value": "giant panda"})
    assert (explorer.class_index, explorer.class_choice.value, explorer.class_search.value) == (388, 388, "")
    assert explorer.result.prediction.label == "giant panda"
    result = explorer.result
    explorer.class_search.set_state({"value": "unicorn <b>"})
    assert "unicorn &lt;b&gt;" in explorer.message.value
    assert "The last class stays" in explorer.message.value
    assert explorer.result is result
    explorer.class_search.set_state({"value": "388"})
    assert explorer.message.value == "", "the error is gone with the next right answer, though nothing changed"


def test_a_choice_without_an_answer_keeps_the_last_result(explorer):
    result, shown = explorer.result, [panel.value for panel in explorer.panels]
    explorer.foreground = 0.5
    good = explorer.result
    assert good is not result
    explorer.background = 0.9
    assert "background 0.9" in explorer.message.value
    assert "The last result stays" in explorer.message.value
    assert explorer.result is good
    explorer.chooser.shipped.value = "hens"
    assert explorer.result is good
    assert explorer.true_boxes == di.photo("macaw").boxes, "boxes and IoU stay with the photo that is on show"
    assert "macaw" in repr(explorer)
    explorer.background, explorer.foreground = 0.3, 0.95
    assert explorer.message.value == ""
    assert explorer.result.prediction.label == "hen"
    assert [panel.value for panel in explorer.panels] != shown


def test_an_upload_that_is_no_picture_keeps_the_photo(explorer):
    result = explorer.result
    upload(explorer, b"no picture", "letter.txt")
    assert "is not a picture" in explorer.chooser.message.value
    assert explorer.result is result


def test_an_upload_is_localised_and_has_no_iou(explorer):
    buffer = io.BytesIO()
    di.photo("polar_bear").image.resize((300, 200)).save(buffer, "jpeg")
    upload(explorer, buffer.getvalue())
    assert explorer.result.image.size == (300, 200)
    assert explorer.result.prediction.label == "ice bear"
    assert explorer.true_boxes == ()
    assert explorer.iou is None
    assert "IoU" not in explorer.summary.value
    assert explorer.chooser.upload.value == ()


def test_an_error_of_the_network_is_said_and_leaves_the_photo(explorer, monkeypatch):
    def unreachable(*_):
        raise ConnectionError("no network. Use the offline one.")

    monkeypatch.setattr(type(explorer.classifier), "top", unreachable)
    result = explorer.result
    explorer.chooser.shipped.value = "pig"
    assert "no network" in explorer.message.value
    assert explorer.result is result


def test_a_map_without_an_answer_says_so_from_the_start(classifier, monkeypatch):
    def constant(*_):
        return np.zeros((224, 224), np.float32)

    monkeypatch.setattr(explorer_module, "saliency_map", constant)
    widget = make(Image.new("RGB", (64, 48), "white"), classifier)
    assert widget.result is None
    assert "the map is constant" in widget.message.value
    assert repr(widget) == "LocalisationExplorer('your photo', nothing yet)"
    assert widget.still().size == (1, 1)


def test_an_image_set_from_python(explorer):
    explorer.image = di.photo("polar_bear").image
    assert explorer.result.prediction.label == "ice bear"
    assert explorer.true_boxes == ()


def test_wrong_traits_are_refused(explorer):
    wrong = {"foreground": 1.0, "background": 0.0, "blur": -1.0, "components": 0, "smoothness": -1.0, "crops": 5}
    for trait, value in [*wrong.items(), ("class_index", 1000), ("image", "macaw.jpg")]:
        before = getattr(explorer, trait)
        with pytest.raises(traitlets.TraitError):
            setattr(explorer, trait, value)
        assert getattr(explorer, trait) is before or getattr(explorer, trait) == before


def test_two_explorers_do_not_disturb_each_other(classifier):
    one, other = make(di.photo("macaw"), classifier), make(di.photo("panda"), classifier)
    kept = (other.result, other.summary.value, [panel.value for panel in other.panels])
    one.smoothness, one.class_index = 0.0, 4
    one.chooser.shipped.value = "hens"
    assert (other.result, other.summary.value, [panel.value for panel in other.panels]) == kept
    assert (other.smoothness, other.class_index) == (60.0, 388)


def test_the_pictures_are_the_figures(explorer):
    result, panels = explorer.result, [pixels(panel) for panel in explorer.panels]
    assert len({panel.shape for panel in panels}) == 1
    height, width = panels[0].shape[:2]
    assert abs(width / height - result.image.width / result.image.height) < 0.02
    blue = np.asarray(di.figures.BLUE)
    tinted = np.abs(panels[1].astype(int) - blue).sum(2) < 200
    assert 0.02 < tinted.mean() < 0.08, "five per cent are blue"


def test_it_stands_without_a_kernel_and_says_the_same_each_time(explorer):
    bundle = explorer._repr_mimebundle_()
    assert bundle["text/plain"] == repr(explorer)
    assert len(repr(explorer)) < 100
    assert repr(explorer) == "LocalisationExplorer('macaw', 'macaw', foreground=0.95, background=0.3)"
    assert len(bundle["image/png"]) < 200_000
    assert bundle["image/png"] == explorer._repr_mimebundle_()["image/png"]


def test_every_control_has_a_label_and_waits_for_the_hand_to_rest(explorer):
    found = list(controls(explorer))
    assert len(found) >= 8
    for control in found:
        assert control.description, type(control).__name__
        if hasattr(control, "continuous_update"):
            assert control.continuous_update is False, control.description


def controls(widget):
    if isinstance(widget, ipywidgets.Box):
        yield from itertools.chain.from_iterable(controls(child) for child in widget.children)
    elif hasattr(widget, "description") and not isinstance(widget, ipywidgets.HTML | ipywidgets.Image):
        yield widget


def test_without_arguments_it_opens_the_first_photo():
    assert make().true_boxes == di.photo("red_panda").boxes
