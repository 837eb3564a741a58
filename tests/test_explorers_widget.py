"""What a cell shows and a notebook keeps: a sentence, a still picture, and the widget, each by itself."""

import io
import sys
from typing import ClassVar

import numpy as np
import pytest
from PIL import Image
from still_pictures import opened

import deepinside_edu as di
from deepinside_edu.explorers import widget
from deepinside_edu.explorers.scores import ScoresExplorer
from deepinside_edu.explorers.stills import DESCRIPTION, panels, saved, titled, under_each_other

VIEW = "application/vnd.jupyter.widget-view+json"


@pytest.fixture
def shown(monkeypatch):
    """The outputs of a cell whose last line is an explorer."""
    outputs = []
    monkeypatch.setattr(widget, "display", lambda data, metadata, raw: outputs.append((data, metadata)))

    def show(explorer):
        outputs.clear()
        explorer._ipython_display_()
        return list(outputs)

    return show


@pytest.mark.slow
def test_three_outputs_that_do_not_depend_on_each_other(shown, classifier):
    one, two = di.explore.scores(None, classifier), di.explore.saliency(di.photo("duck"), classifier)
    (sentence, _), (picture, about), (view, _) = shown(one)
    assert "Run this cell to start the explorer." in sentence["text/html"]
    assert sentence["text/plain"] in sentence["text/html"]
    assert set(picture) == {"image/png", "text/plain"}
    assert picture["text/plain"] == repr(one)
    assert about == {"image/png": {"alt": one.still().info[DESCRIPTION]}}
    assert opened(picture["image/png"]).size == one.still().size
    assert (view[VIEW]["model_id"], view["text/plain"], len(view)) == (one.model_id, "", 2)
    assert shown(two)[0][0] == sentence, "a stored lesson is compared word by word"
    both, _ = one._repr_mimebundle_()
    assert both == picture | {VIEW: view[VIEW]}
    one.close()
    two.close()
    assert shown(two) == [({"text/plain": repr(two)}, {})]


@pytest.mark.parametrize("name", ["scores", "class_model"])
def test_a_learner_s_own_photo_is_not_stored_and_that_is_said(shown, classifier, name):
    explorer = getattr(di.explore, name)(Image.new("RGB", (60, 40), "green"), classifier)
    (sentence, _), (rest, about), (view, _) = shown(explorer)
    assert "Your own photo is not saved in the notebook" in sentence["text/html"]
    assert (set(rest), about, set(view)) == ({"text/plain"}, {}, {VIEW, "text/plain"})
    explorer.close()


@pytest.mark.parametrize("name", di.explore.__all__)
def test_each_explorer_shows_any_photo(classifier, name):
    explorer = getattr(di.explore, name)(None, classifier)
    assert "your photo" not in explorer.photos
    for colour in ("green", "red"):
        explorer.show(Image.new("RGB", (60, 40), colour))
        assert (explorer.photo, explorer.photos[-1]) == ("your photo", "your photo")
    explorer.show(di.photo("koala"))
    assert explorer.photo == "koala"
    explorer.photo = "hens"
    assert (explorer.photo, explorer.photos.count("your photo")) == ("hens", 1)
    with pytest.raises(ValueError, match="not a picture"):
        explorer.show(b"a letter")
    with pytest.raises(TypeError):
        explorer.show(3.5)
    assert explorer.photo == "hens"
    explorer.close()
    assert explorer.wait(30)


@pytest.mark.parametrize("name", di.explore.__all__)
def test_each_explorer_has_what_the_readme_promises(classifier, name):
    explorer = getattr(di.explore, name)(di.photo("hens"), classifier)
    for member in ("result", "show", "photo", "close", "wait", "message"):
        assert hasattr(type(explorer), member), member
    if name == "class_model":
        assert explorer.result is None
        explorer.step()
    assert (explorer.wait(30), explorer.photo, explorer.message) == (True, "hens", "")
    assert type(explorer.result).__module__.startswith("deepinside_edu.")
    explorer.close()
    assert explorer.wait(30)


class Meddler(ScoresExplorer):
    """An explorer that breaks the rule: one of its stages sets a control."""

    stages: ClassVar = {**ScoresExplorer.stages, "meddle": "source"}

    def _meddle(self, wish):
        self.k = 1

    def _settle_it(self, wish):
        self._settle(wish, k=1)


def test_the_worker_cannot_set_what_a_learner_may_be_setting(classifier):
    explorer = Meddler(None, classifier)
    assert (explorer.result.top[0].label, explorer.k) == ("lesser panda", 5)
    assert explorer.message.startswith("RuntimeError: the worker cannot set k")
    explorer._meddle = explorer._settle_it  # as it should be
    explorer.photo = "duck"
    assert (explorer.wait(30), explorer.k, explorer.message) == (True, 1, "")
    explorer.close()


def test_the_studio_s_worker_cannot_either(classifier, monkeypatch):
    explorer = di.explore.class_model(None, classifier)
    module = sys.modules[type(explorer).__module__]
    monkeypatch.setattr(module, "ascend", lambda *_, **__: setattr(explorer, "shown", 0))
    explorer.step()
    assert (explorer.wait(30), explorer.state) == (True, "failed")
    assert explorer.message.startswith("RuntimeError: the worker cannot set shown")
    explorer.close()


@pytest.mark.parametrize("name", [name for name in di.explore.__all__ if name != "class_model"])
def test_each_stage_depends_on_a_field_of_the_wish(classifier, name):
    explorer = getattr(di.explore, name)(None, classifier)
    assert set(explorer.stages.values()) <= set(explorer._wish()._fields)
    assert all(callable(getattr(explorer, f"_{stage}")) for stage in explorer.stages)
    explorer.close()


def test_few_colours_leave_grey_grey_and_a_gradient_without_steps():
    ramp = np.zeros((60, 256, 3), np.uint8)
    ramp[..., 0], ramp[..., 1] = np.arange(256), np.arange(60)[:, None] * 4
    grey = Image.new("RGB", (256, 60), (128, 128, 128))
    row = panels((Image.fromarray(ramp), "a ramp"), (grey, "grey"))
    kept = np.asarray(Image.open(io.BytesIO(saved(row))).convert("RGB")).astype(int)
    patch = kept[5:55, 270:510]
    assert (np.ptp(patch, axis=2) <= 2).all()
    assert abs(patch.mean() - 128) < 1
    blocks = kept[:60, 32:224].reshape(3, 20, 6, 32, 3).mean((1, 3))
    wanted = ramp[:, 32:224].astype(int).reshape(3, 20, 6, 32, 3).mean((1, 3))
    assert np.abs(blocks - wanted).max() < 4


def test_panels_stand_side_by_side_over_their_captions_under_a_title():
    red, blue = (Image.new("RGB", size, colour) for size, colour in (((50, 40), "red"), ((30, 20), "blue")))
    row = panels((red, "one two three four five six seven"), (blue, "x"))
    assert row.width == 50 + 8 + 60
    pixels = np.asarray(row)
    assert (pixels[:40, :50] == (255, 0, 0)).all()
    assert (pixels[:40, 58:] == (0, 0, 255)).all()
    assert (pixels[40:, :50].min(2) < 128).any(), "a caption"
    page = titled("A title", row)
    assert page.height > row.height
    assert page.info[DESCRIPTION] == "A title. one two three four five six seven; x"
    two = under_each_other(page, titled("Another", row))
    assert two.size == (page.width, 2 * page.height)


@pytest.mark.parametrize("name", di.explore.__all__)
def test_nothing_is_loaded_from_another_host(classifier, name):
    explorer = getattr(di.explore, name)(None, classifier)
    for part in (explorer._esm, explorer._css):
        text = str(part)
        assert len(text) > 500
        assert "http" not in text
        assert "import " not in text
    explorer.close()
