"""The scores explorer, driven through its traits and through its controls as a front end drives them."""

import numpy as np
import pytest
import torch
import traitlets
from PIL import Image

import deepinside_edu as di
from deepinside_edu.classifier import Classifier


@pytest.fixture
def explorer(classifier):
    return di.explore.scores(classifier=classifier)


def upload(explorer, content, name="mine.png"):
    """As a browser sends it."""
    file = {"name": name, "type": "image/png", "size": len(content), "content": memoryview(content), "last_modified": 0}
    explorer.chooser.upload.set_state({"value": [file]})


def tiny(classes=3):
    """Scores worked out on paper: the mean of the grey levels, times −1, 0, 1, …"""
    network = torch.nn.Sequential(torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(), torch.nn.Linear(1, classes))
    with torch.no_grad():
        network[2].weight[:] = torch.arange(-1.0, classes - 1)[:, None]
        network[2].bias.zero_()
    return Classifier(network.eval(), [f"class {c}" for c in range(classes)], size=(8, 8), mean=(0.0,), std=(1.0,))


def test_it_starts_on_a_photo_and_agrees_with_the_step(explorer, classifier):
    result = explorer.result
    assert result.top == classifier.top(explorer.image, k=5)
    assert result.x.shape == (1, 3, 224, 224)
    np.testing.assert_allclose(result.probabilities, np.exp(result.scores) / np.exp(result.scores).sum())
    assert result.searched is result.rank is None
    assert "lesser panda (387)" in explorer.bars.value
    assert "224 × 224" in explorer.caption.value
    assert bytes(explorer.seen.value).startswith(b"\x89PNG")
    assert repr(explorer) == "ScoresExplorer('red_panda', k=5)"
    assert repr(result) == "ScoresResult('red_panda', 1000 scores, top: 'lesser panda')"


def test_another_photo_by_the_drop_down(explorer):
    before = explorer.seen.value
    explorer.chooser.shipped.set_state({"index": [each.name for each in di.photos()].index("duck")})
    assert explorer.result.image_name == "duck"
    assert explorer.result.top[0].label == "goose"
    assert "goose" in explorer.bars.value
    assert explorer.seen.value != before


def test_a_photo_that_ships_with_the_package_keeps_its_name(classifier):
    explorer = di.explore.scores(di.photo("pig"), classifier)
    assert repr(explorer) == "ScoresExplorer('pig', k=5)"
    assert explorer.chooser.shipped.value == "pig"


def test_an_image_set_from_python(explorer):
    explorer.image = Image.new("RGB", (50, 40), "red")
    assert explorer.result.image_name == "your photo"
    assert explorer.result.image.size == (50, 40)


@pytest.mark.parametrize("text", ["341", "n02395406", "hog", " HOG "])
def test_a_class_is_found_by_index_wordnet_id_or_name(classifier, text):
    explorer = di.explore.scores(di.photo("pig"), classifier)
    explorer.search_box.set_state({"value": text})
    assert explorer.class_index == 341
    assert explorer.result.searched.label == "hog"
    assert explorer.result.rank == 6
    assert "← searched" in explorer.bars.value
    assert repr(explorer) == "ScoresExplorer('pig', k=5, searched: 'hog')"


def test_a_searched_class_is_listed_once(classifier):
    explorer = di.explore.scores(di.photo("pig"), classifier)
    explorer.search = "hog"
    assert explorer.bars.value.count("<tr>") == 1 + 5 + 1
    explorer.k = 6
    assert explorer.bars.value.count("<tr>") == 1 + 6
    explorer.search = ""
    assert explorer.class_index is None
    assert "searched" not in explorer.bars.value


@pytest.mark.parametrize(
    ("text", "words"),
    [("hogg", "Near: &#x27;hog&#x27;"), ("cat", "classes"), ("1000", "out of range"), ("<b>", "&lt;b&gt;")],
)
def test_a_class_that_is_not_found_leaves_the_last_one(explorer, text, words):
    explorer.search = "hog"
    bars = explorer.bars.value
    explorer.search = text
    assert words in explorer.message.value
    assert "last class stays" in explorer.message.value
    assert explorer.class_index == 341
    assert explorer.bars.value == bars
    explorer.search = "zebra"
    assert explorer.class_index == 340
    assert "stays" not in explorer.message.value


def test_a_class_index_set_from_python_keeps_the_search_box_true(explorer):
    explorer.search = "hog"
    explorer.class_index = 340
    assert explorer.search_box.value == "340"
    explorer.class_index = None
    assert explorer.search_box.value == ""
    with pytest.raises(traitlets.TraitError, match="out of range"):
        explorer.class_index = 1000
    assert explorer.class_index is None


def test_k(explorer):
    explorer.k_box.set_state({"value": 3})
    assert explorer.k == len(explorer.result.top) == 3
    explorer.k = 20
    assert explorer.k_box.value == 20
    for bad in (0, 21):
        with pytest.raises(traitlets.TraitError, match="expected k from 1 to 20"):
            explorer.k = bad
    explorer.k_box.set_state({"value": 5000})  # what a browser sends is held in range by the control
    assert explorer.k == 20


def test_bars_show_scores_or_probabilities(classifier):
    explorer = di.explore.scores(di.photo("duck"), classifier)
    by_score = explorer.bars.value
    explorer.shown_buttons.set_state({"index": 1})
    assert explorer.shown == "probability"
    assert explorer.bars.value != by_score
    assert "width:0px" in explorer.bars.value
    assert "width:0px" not in by_score
    assert "&gt; 0.999" in by_score
    with pytest.raises(traitlets.TraitError):
        explorer.shown = "logarithm"


def test_an_upload(explorer, tmp_path):
    path = tmp_path / "mine.png"
    Image.new("RGB", (60, 30), "green").save(path)
    upload(explorer, path.read_bytes())
    assert explorer.result.image.size == (60, 30)
    assert explorer.result.image_name == "your photo"
    assert explorer.chooser.upload.value == ()


def test_an_upload_that_is_no_image_leaves_the_last_photo(explorer, capsys):
    before = explorer.bars.value, explorer.seen.value, explorer.result.image_name
    upload(explorer, b"no picture at all", "notes.txt")
    assert "notes.txt is not a picture" in explorer.chooser.message.value
    assert (explorer.bars.value, explorer.seen.value, explorer.result.image_name) == before
    assert capsys.readouterr() == ("", "")


def test_a_step_that_fails_is_said_and_the_last_scores_stay(capsys):
    classifier = tiny()
    explorer = di.explore.scores(classifier=classifier)
    bars, result = explorer.bars.value, explorer.result
    classifier.network.train()
    explorer.chooser.shipped.value = "duck"
    assert "network.eval()" in explorer.message.value
    assert "last scores stay" in explorer.message.value
    assert explorer.bars.value == bars
    assert explorer.result.image_name == result.image_name == "red_panda"
    classifier.network.eval()
    explorer.chooser.shipped.value = "pig"
    assert "stay" not in explorer.message.value
    assert explorer.result.image_name == "pig"
    assert capsys.readouterr() == ("", "")


def test_a_small_grey_network_with_scores_below_zero():
    explorer = di.explore.scores(Image.new("L", (20, 20), 255), tiny())
    assert explorer.k == explorer.k_box.max == 3
    assert [each.label for each in explorer.result.top] == ["class 2", "class 1", "class 0"]
    assert [round(each.score, 3) for each in explorer.result.top] == [1, 0, -1]
    # The bars run from the lowest score: 1 is full, 0 half, −1 empty.
    assert [f"width:{n}px;background" in explorer.bars.value for n in (160, 80, 0)] == [True] * 3


def test_a_bad_start_is_an_error():
    with pytest.raises(ValueError, match="not a picture"):
        di.explore.scores(b"nothing")
    with pytest.raises(TypeError):
        di.explore.scores(3.5)


def test_two_explorers_do_not_disturb_each_other(classifier):
    one, other = di.explore.scores(classifier=classifier), di.explore.scores(classifier=classifier)
    before = other.bars.value, other.seen.value, other.search_box.value
    one.chooser.shipped.value = "duck"
    one.k, one.search, one.shown = 9, "drake", "probability"
    assert (other.bars.value, other.seen.value, other.search_box.value) == before
    assert repr(other) == "ScoresExplorer('red_panda', k=5)"
    assert one.result.rank == 2


def test_without_a_kernel_there_is_a_picture(explorer):
    bundle = explorer._repr_mimebundle_()
    assert bundle["text/plain"] == "ScoresExplorer('red_panda', k=5)"
    assert len(bundle["image/png"]) < 100_000
    assert "application/vnd.jupyter.widget-view+json" in bundle
    assert explorer.still().width == 340


def test_every_control_has_a_label_and_the_bars_can_be_read_aloud(explorer):
    for control in (explorer.k_box, explorer.shown_buttons, explorer.search_box, explorer.chooser.shipped):
        assert control.description
    assert explorer.search_box.continuous_update is False
    assert explorer.bars.value.count('aria-hidden="true"') == 5
    assert explorer.bars.value.count('scope="row"') == 5
