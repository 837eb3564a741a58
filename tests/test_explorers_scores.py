"""The scores explorer by its traits and by what a browser sends, without a browser; its thread is held by a gate."""

import base64

import numpy as np
import pytest
import torch
import traitlets
from explorer_kit import PATIENCE, Held, Noted, alive, png
from PIL import Image

import deepinside_edu as di
from deepinside_edu.classifier import Classifier
from deepinside_edu.explorers.scores import ScoresExplorer


def tiny(classes=3):
    """Scores worked out on paper: the mean of the grey levels, times −1, 0, 1, …"""
    network = torch.nn.Sequential(torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(), torch.nn.Linear(1, classes))
    with torch.no_grad():
        network[2].weight[:] = torch.arange(-1.0, classes - 1)[:, None]
        network[2].bias.zero_()
    return Classifier(network.eval(), [f"class {c}" for c in range(classes)], size=(8, 8), mean=(0.0,), std=(1.0,))


class Scores(Noted, ScoresExplorer):
    pass


@pytest.fixture
def explorer(classifier):
    with alive(Scores(di.photo("pig"), classifier)) as explorer:
        yield explorer


def told(explorer):
    """What was last sent to the page: picture, scores, probabilities and the rest."""
    assert explorer.wait(PATIENCE)
    content, (picture, scores, probabilities) = explorer._sent["scores"]
    width, height = content["size"]
    levels = np.frombuffer(picture, np.uint8).reshape(height, width, 3)
    return levels, np.frombuffer(scores), np.frombuffer(probabilities), content["name"]


def test_it_starts_on_a_photo_and_agrees_with_the_step(classifier):
    explorer = di.explore.scores(classifier=classifier)
    result = explorer.result
    assert isinstance(explorer, ScoresExplorer)
    assert result.top == classifier.top(di.photo("red_panda"), k=5)
    assert torch.equal(result.x, classifier.prepare(di.photo("red_panda")))
    np.testing.assert_allclose(result.probabilities, np.exp(result.scores) / np.exp(result.scores).sum())
    assert result.searched is result.rank is None
    assert np.array_equal(np.asarray(result.image), np.asarray(di.photo("red_panda").image))
    assert repr(explorer) == "ScoresExplorer('red_panda', k=5)"
    assert repr(result) == "ScoresResult('red_panda', 1000 scores, top: 'lesser panda')"


def test_all_scores_and_the_photo_as_the_network_sees_it_are_sent(explorer, classifier):
    levels, scores, probabilities, name = told(explorer)
    assert np.array_equal(levels, np.asarray(classifier.picture(classifier.prepare(di.photo("pig")))))
    assert np.array_equal(scores, explorer.result.scores)
    assert np.array_equal(probabilities, explorer.result.probabilities)
    assert (len(scores), scores.dtype, name) == (1000, np.float64, "pig")


def test_another_photo_is_one_forward_pass_and_the_rest_is_none(explorer, monkeypatch):
    passes, run = [], Classifier._run
    monkeypatch.setattr(Classifier, "_run", lambda self, *rest: passes.append(rest) or run(self, *rest))
    explorer.set_state({"k": 9})
    explorer.set_state({"shown": "probability"})
    explorer.ask("find", text="hog")
    assert (explorer.result.rank, passes) == (6, [])
    explorer.set_state({"photo": "duck"})
    assert (explorer.result.image_name, explorer.result.top[0].label) == ("duck", "goose")
    assert (told(explorer)[3], len(passes)) == ("duck", 1)
    assert explorer.search == "hog"


def test_the_latest_photo_wins_and_those_between_are_never_computed(classifier, monkeypatch):
    explorer = di.explore.scores(classifier=classifier)
    held = Held(Classifier.prepare, noted=lambda _, image: image)
    monkeypatch.setattr(Classifier, "prepare", lambda *given: held(*given))
    explorer.photo = "duck"
    held.wait()
    for name in ("koala", "panda", "pig"):
        explorer.set_state({"photo": name})
    explorer.k = 7  # answered while the network is at work
    assert explorer._sent["state"][0]["busy"]
    held.leave.release(9)
    assert explorer.result.image_name == told(explorer)[3] == "pig"
    assert held.wanted == [di.photo("duck"), di.photo("pig")]


def test_photos_of_ones_own(explorer, classifier):
    explorer.show(Image.new("RGB", (50, 40), "red"))
    assert (explorer.photo, explorer.result.image_name, explorer.result.image.size) == (*2 * ["your photo"], (50, 40))
    explorer.show(torch.zeros(1, 3, 224, 224))
    assert torch.equal(explorer.result.x, torch.zeros(1, 3, 224, 224))
    assert explorer.result.image.size == (224, 224)
    explorer.show(di.photo("duck"))
    assert (explorer.photo, explorer.result.image_name) == ("duck", "duck")


@pytest.mark.parametrize("text", ["341", "n02395406", "hog", " HOG "])
def test_a_class_is_found_by_index_wordnet_id_or_name(explorer, text):
    explorer.ask("find", text=text)
    assert explorer.class_index == 341
    assert explorer.result.searched.label == explorer.search == "hog"
    assert explorer.result.rank == 6
    assert repr(explorer) == "ScoresExplorer('pig', k=5, searched: 'hog')"


def test_search_and_class_index_are_one(explorer):
    explorer.search = "zebra"
    assert (explorer.class_index, explorer.search) == (340, "zebra")
    explorer.class_index = 341
    assert (explorer.search, explorer.result.rank) == ("hog", 6)
    for explorer.search in ("zebra", "", "hog", " "):
        assert (explorer.class_index is None) == (not explorer.search)
    explorer.search = "hog"
    explorer.set_state({"class_index": None})
    assert (explorer.search, explorer.result.searched, explorer.result.rank) == ("", None, None)


@pytest.mark.parametrize(
    ("text", "words"), [("hogg", "Near: 'hog'"), ("cat", "classes"), ("1000", "out of range"), ("<b>", "'<b>'")]
)
def test_a_class_that_is_not_found_leaves_the_last_one(explorer, text, words):
    explorer.search = "hog"
    with pytest.raises(ValueError, match=words.replace("(", ".")):
        explorer.search = text
    explorer.ask("find", text=text)
    assert words in explorer.message
    assert "The last setting stays." in explorer._sent["state"][0]["message"]
    assert explorer.class_index == 341
    explorer.ask("find", text="hog")  # the same once more is an answer too
    assert (explorer.wait(PATIENCE), explorer.message) == (True, "")
    assert explorer._sent["state"][0] == {"kind": "state", "busy": False, "message": ""}


@pytest.mark.parametrize(
    ("trait", "value", "words"),
    [
        ("k", 0, "expected k from 1 to 20, got 0"),
        ("k", 21, "expected k from 1 to 20, got 21"),
        ("k", None, "expected a whole number from 1 to 20 for k, got nothing"),
        ("shown", "logarithm", "expected 'score' or 'probability'"),
        ("class_index", 1000, "out of range"),
        ("class_index", -1, "out of range"),
        ("photo", "pigs", "no photo is called"),
    ],
)
def test_a_wrong_setting_is_an_error_in_python_and_said_in_the_browser(explorer, trait, value, words):
    before = getattr(explorer, trait)
    with pytest.raises(traitlets.TraitError, match=words):
        setattr(explorer, trait, value)
    explorer.set_state({trait: value})
    assert words in explorer.message
    assert "The last setting stays." in explorer.message
    assert getattr(explorer, trait) == before
    explorer.set_state({"k": 3})
    assert (explorer.wait(PATIENCE), explorer.message, len(explorer.result.top)) == (True, "", 3)


def test_an_upload_is_shown_and_never_stored(explorer, capsys):
    assert "image/png" in explorer._repr_mimebundle_()[0]
    before = told(explorer)
    explorer.ask("upload", memoryview(b"no picture at all"))
    assert "not a picture" in explorer.message
    assert "The last photo stays." in explorer.message
    assert all(np.array_equal(one, two) for one, two in zip(told(explorer), before, strict=True))
    explorer.ask("upload", png("green", (60, 30)))
    assert (explorer.result.image.size, explorer.result.image_name) == ((60, 30), "your photo")
    assert (told(explorer)[3], explorer.message) == ("your photo", "")
    assert "image/png" not in explorer._repr_mimebundle_()[0]
    assert capsys.readouterr() == ("", "")


def test_a_photo_that_cannot_be_scored_is_said_and_the_last_result_stays(capsys):
    classifier = tiny()
    explorer = di.explore.scores(classifier=classifier)
    before = told(explorer)
    classifier.network.train()
    explorer.photo = "duck"
    assert explorer.result.image_name == "red_panda"
    assert "network.eval()" in explorer.message
    assert "The last result stays." in explorer.message
    assert all(np.array_equal(one, two) for one, two in zip(told(explorer), before, strict=True))
    classifier.network.eval()
    explorer.photo = "pig"
    assert (explorer.result.image_name, explorer.message) == ("pig", "")
    assert capsys.readouterr() == ("", "")


def test_a_small_grey_network_with_scores_below_zero():
    explorer = di.explore.scores(Image.new("L", (20, 20), 255), tiny())
    assert explorer.k == 3
    assert [each.label for each in explorer.result.top] == ["class 2", "class 1", "class 0"]
    assert [round(each.score, 3) for each in explorer.result.top] == [1, 0, -1]
    levels, scores, _, name = told(explorer)
    assert (levels.shape, levels.min(), name) == ((8, 8, 3), 255, "your photo")
    np.testing.assert_allclose(scores, [-1, 0, 1])
    with pytest.raises(traitlets.TraitError, match="expected k from 1 to 3"):
        explorer.k = 4
    assert explorer.still().width == 340


def test_equal_scores_stand_in_the_network_s_order():
    explorer = di.explore.scores(np.zeros((8, 8), np.uint8), tiny(4))
    assert [each.class_index for each in explorer.result.top] == [0, 1, 2, 3]
    explorer.class_index = 3
    assert explorer.result.rank == 1


def test_a_bad_start_is_an_error(classifier):
    with pytest.raises(ValueError, match="not a picture"):
        di.explore.scores(b"nothing", classifier)
    with pytest.raises(TypeError):
        di.explore.scores(3.5, classifier)
    with pytest.raises(TypeError, match="expected a Classifier"):
        di.explore.scores(classifier=classifier.network)
    network = tiny()
    network.network.train()
    with pytest.raises(ValueError, match="training mode"):
        di.explore.scores(classifier=network)


def test_two_explorers_do_not_disturb_each_other(classifier):
    one, other = di.explore.scores(classifier=classifier), di.explore.scores(classifier=classifier)
    before = told(other)
    one.photo = "duck"
    one.k, one.search, one.shown = 9, "drake", "probability"
    assert one.result.rank == 2
    assert all(np.array_equal(a, b) for a, b in zip(told(other), before, strict=True))
    assert (repr(other), other.shown) == ("ScoresExplorer('red_panda', k=5)", "score")


def test_a_page_that_is_opened_later_gets_everything(explorer):
    explorer.told.clear()
    explorer.ask("hello")
    assert explorer.told == list(explorer._sent.values())
    assert set(explorer.kinds()) == {"scores", "state"}


@pytest.mark.slow
def test_without_a_kernel_there_is_a_picture(explorer):
    data, _ = explorer._repr_mimebundle_()
    assert data["text/plain"] == "ScoresExplorer('pig', k=5)"
    assert len(base64.b64decode(data["image/png"])) < 100_000
    assert "application/vnd.jupyter.widget-view+json" in data
    five = explorer.still()
    assert five.width == 340
    explorer.search = "hog"
    assert explorer.still().height > five.height  # a line more
    explorer.k = 6
    assert explorer.still().height == five.height + 25  # it is among them
    explorer.k, by_score = 5, np.asarray(explorer.still())
    explorer.shown = "probability"
    assert not np.array_equal(np.asarray(explorer.still()), by_score)
