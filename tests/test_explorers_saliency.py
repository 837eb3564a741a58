"""The saliency explorer by its traits and its controls, without a browser."""

import base64
import io

import numpy as np
import pytest
import torch
import traitlets
from PIL import Image

import deepinside_edu as di
from deepinside_edu.explorers.saliency import SaliencyExplorer

SIDE = 24


class TwoColours(torch.nn.Module):
    """Scores that are linear in each channel's mean, but for a last one that a ReLU holds at zero."""

    def forward(self, x):
        red, green, blue = x.mean((2, 3)).unbind(1)
        return torch.stack([10 + red - 2 * green, 9 + 3 * blue, 8 + green, torch.relu(red - 100)], 1)


@pytest.fixture
def classifier():
    labels = ("red thing", "blue thing", "green thing", "dead thing")
    return di.Classifier(TwoColours().eval(), labels, size=(SIDE, SIDE))


@pytest.fixture
def explorer(classifier):
    return di.explore.saliency(classifier=classifier)


def colours_of(view):
    return np.asarray(Image.open(io.BytesIO(view.value)))


def test_it_begins_with_the_first_class_of_the_first_photo(explorer):
    assert isinstance(explorer, SaliencyExplorer)
    assert explorer.image_name == "red_panda"
    assert explorer.class_index == explorer.listed.value == explorer.result.prediction.class_index
    assert explorer.result.prediction == explorer.classifier.top(di.photo("red_panda"), 1)[0]
    assert len(explorer.listed.options) == 4
    assert explorer.message.value == ""
    assert all(colours_of(view).shape[1] == 448 for view in explorer.views)


def test_result_holds_class_map_and_w(explorer):
    explorer.class_index = 0
    w = torch.tensor([1.0, -2.0, 0.0]).view(1, 3, 1, 1).expand(1, 3, SIDE, SIDE) / SIDE**2
    assert torch.allclose(explorer.result.w, w)
    assert np.allclose(explorer.result.saliency, 2 / SIDE**2)
    assert explorer.result.prediction.label == "red thing"
    assert explorer.result.crops == 1
    assert repr(explorer.result) == "SaliencyResult('red thing', crops=1, map (24, 24))"


def test_ten_crops_are_the_package_s_ten_crops():
    classifier = di.load_classifier()
    explorer = di.explore.saliency(di.photo("hens"), classifier)
    one = explorer.result
    explorer.crops = 10
    assert explorer.result.crops == explorer.crops_choice.value == 10
    assert np.array_equal(explorer.result.saliency, di.saliency_map(classifier, di.photo("hens"), 8, crops=10))
    assert torch.equal(explorer.result.w, one.w)
    explorer.crops_choice.value = 1
    assert explorer.crops == 1
    assert np.allclose(explorer.result.saliency, one.saliency)


def test_a_class_is_chosen_from_the_list_as_a_browser_does_it(explorer):
    position = [index for _, index in explorer.listed.options].index(1)
    explorer.listed.set_state({"index": position})
    assert explorer.class_index == 1
    assert explorer.result.prediction.label == "blue thing"
    assert "blue thing: score" in explorer.caption.value


def test_a_class_is_searched(explorer):
    explorer.search.set_state({"value": "GREEN"})
    assert explorer.class_index == explorer.listed.value == 2
    assert explorer.search.value == ""


def test_a_class_beyond_the_list_is_added_to_it_and_can_be_searched_twice():
    explorer = di.explore.saliency(di.photo("hens"))
    for _ in range(2):
        explorer.search.value = "golf ball"
        assert explorer.result.prediction.label == "golf ball"
        assert len(explorer.listed.options) == 11
        explorer.listed.value = explorer.listed.options[0][1]
        assert explorer.result.prediction.label == "hen"
        assert len(explorer.listed.options) == 10


def test_a_failed_search_is_said_and_the_last_class_stays(explorer):
    before = explorer.result
    explorer.search.value = "<i>yellow</i> thing"
    assert "no class is called" in explorer.message.value
    assert "The last class stays" in explorer.message.value
    assert "<i>" not in explorer.message.value
    assert explorer.result is before
    explorer.search.value = "thing"
    assert "fits 4 classes" in explorer.message.value
    explorer.class_index = (before.prediction.class_index + 1) % 4
    assert explorer.message.value == explorer.search.value == ""


@pytest.mark.parametrize(
    ("trait", "value"), [("class_index", 4), ("class_index", "red"), ("crops", 5), ("strength", 1.5)]
)
def test_a_wrong_value_is_refused_and_changes_nothing(explorer, trait, value):
    before = explorer.result, getattr(explorer, trait)
    with pytest.raises(traitlets.TraitError):
        setattr(explorer, trait, value)
    assert (explorer.result, getattr(explorer, trait)) == before


def test_the_strength_moves_the_overlay_alone(explorer):
    before = [view.value for view in explorer.views]
    result = explorer.result
    explorer.strength_slider.set_state({"value": 0.0})
    assert explorer.strength == 0
    assert [view.value == old for view, old in zip(explorer.views, before, strict=True)] == [True, True, False]
    assert explorer.result is result
    grey = colours_of(explorer.views[2])
    assert (grey[..., 0] == grey[..., 2]).all()
    explorer.strength = 1.0
    assert explorer.strength_slider.value == 1
    assert np.array_equal(colours_of(explorer.views[2]), colours_of(explorer.views[1]))


def test_another_photo_begins_with_its_own_first_class(explorer):
    explorer.class_index = 3
    explorer.chooser.shipped.value = "hens"
    assert explorer.image_name == "hens"
    assert explorer.result.prediction == explorer.classifier.top(di.photo("hens"), 1)[0]


def test_a_shipped_photo_is_named_and_chosen(classifier):
    explorer = di.explore.saliency(di.photo("panda"), classifier)
    assert explorer.image_name == explorer.chooser.shipped.value == "panda"
    assert repr(explorer).startswith("SaliencyExplorer('panda', '")


def test_a_score_held_at_zero_is_explained(explorer):
    explorer.search.value = "dead"
    assert not explorer.result.saliency.any()
    assert "all zeros" in explorer.message.value
    explorer.search.value = "dead"
    assert "all zeros" in explorer.message.value
    explorer.class_index = 0
    assert explorer.message.value == ""


def upload(explorer, content):
    file = {"name": "mine", "type": "", "size": len(content), "last_modified": 0, "content": memoryview(content)}
    explorer.chooser.upload.set_state({"value": [file]})


def test_an_upload_that_is_no_picture_is_said_and_the_last_photo_stays(explorer):
    before = explorer.result
    upload(explorer, b"a letter, not a picture")
    assert "not a picture" in explorer.chooser.message.value
    assert explorer.result is before
    assert explorer.image_name == "red_panda"


def test_an_uploaded_photo_is_shown_and_never_stored(explorer):
    assert "image/png" in explorer._repr_mimebundle_()
    buffer = io.BytesIO()
    Image.new("RGB", (40, 30), "blue").save(buffer, "png")
    upload(explorer, buffer.getvalue())
    assert explorer.image_name == "your photo"
    assert explorer.result.prediction.label == "blue thing"
    assert "image/png" not in explorer._repr_mimebundle_()
    explorer.chooser.shipped.value = "hens"
    assert "image/png" in explorer._repr_mimebundle_()


def test_a_step_that_fails_is_said_and_the_last_state_stays(explorer):
    explorer.class_index = 0
    before, pictures = explorer.result, [view.value for view in explorer.views]
    explorer.classifier.network.train()
    for change in (
        lambda: setattr(explorer, "class_index", 2),
        lambda: setattr(explorer, "crops", 10),
        lambda: explorer.chooser.shipped.set_trait("value", "hens"),
    ):
        change()
        assert "training mode" in explorer.message.value
        assert "The last map stays" in explorer.message.value
        assert explorer.result is before
        assert (explorer.class_index, explorer.crops, explorer.image_name) == (0, 1, "red_panda")
        assert (explorer.listed.value, explorer.crops_choice.value) == (0, 1)
        assert [view.value for view in explorer.views] == pictures
    explorer.classifier.network.eval()
    explorer.class_index = 2
    assert explorer.message.value == ""
    assert explorer.result.prediction.class_index == 2


def test_two_side_by_side_do_not_disturb_each_other(classifier):
    one, other = di.explore.saliency(classifier=classifier), di.explore.saliency(di.photo("hens"), classifier)
    before = other.result, [view.value for view in other.views]
    one.chooser.shipped.value = "koala"
    one.search.value = "green"
    one.crops, one.strength = 10, 0.1
    assert (other.result, [view.value for view in other.views]) == before
    assert (other.image_name, other.crops, other.strength) == ("hens", 1, 0.6)


def test_the_still_picture_shows_photo_map_and_overlay(explorer):
    bundle = explorer._repr_mimebundle_()
    assert bundle["text/plain"] == repr(explorer)
    still = Image.open(io.BytesIO(base64.b64decode(bundle["image/png"])))
    assert still.width > 3 * still.height > 300


def test_what_cannot_be_shown_at_all_is_an_error_of_the_call(classifier):
    with pytest.raises(TypeError, match="expected a Classifier"):
        di.explore.saliency(classifier=classifier.network)
    with pytest.raises(ValueError, match="not a picture"):
        di.explore.saliency(b"a letter", classifier)


def test_every_control_has_a_label_and_heavy_ones_wait_for_the_end(explorer):
    controls = (explorer.listed, explorer.search, explorer.crops_choice, explorer.strength_slider)
    assert all(control.description for control in controls)
    assert explorer.search.continuous_update is False
