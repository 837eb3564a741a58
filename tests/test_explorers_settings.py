"""Every setting, from Python or from a page, is accepted, or refused in words that a learner can read."""

import re

import numpy as np
import pytest
from anywidget import AnyWidget

import deepinside_edu as di
from deepinside_edu.explorers.settings import Choice, Number, ReadOnly, Refused, Validated

OPEN = ("scores", "saliency", "taylor", "localisation", "class_model", "microscope", "sanity")
NONSENSE = None, "", "nonsense", 2.5, -3, 10**9, float("nan"), float("inf"), True, [], [1, 2], {"a": 1}, b"x", object()


@pytest.fixture(scope="module", params=OPEN)
def explorer(request, classifier):
    widget = getattr(di.explore, request.param)(None, classifier)
    yield widget
    widget.close()


def ours(explorer, kind):
    return [name for name, trait in explorer.traits().items() if isinstance(trait, kind)]


def readable(words):
    """The message has no class of ours, no trait and no address, but what was given and what is possible."""
    return not re.search(r"trait|instance|Explorer|NoneType|object at 0x.*object at 0x", words) and len(words) > 20


def test_every_synchronised_setting_is_of_a_kind_that_speaks(explorer):
    inherited = set(AnyWidget.class_trait_names())
    mine = {n for n in explorer.traits(sync=True) if not n.startswith("_")} - inherited
    assert mine == set(ours(explorer, Validated)) | set(ours(explorer, ReadOnly))


def test_nonsense_is_refused_in_words_and_changes_nothing(explorer):
    for name in ours(explorer, Validated):
        for value in NONSENSE:
            before, words = getattr(explorer, name), ""
            try:
                setattr(explorer, name, value)
            except ValueError as error:
                words = str(error)
            assert not words or getattr(explorer, name) == before, f"{name} = {value!r}"
            assert not words or readable(words), f"{name} = {value!r}: {words}"
            setattr(explorer, name, before)


@pytest.mark.slow
def test_nonsense_from_a_page_is_said_once_and_forgotten_with_the_next_action(explorer):
    for name in ours(explorer, Validated):
        explorer.set_state({name: {"a": 1}})
        assert re.search("got|called|out of range", explorer.message), explorer.message
        assert readable(explorer.message), explorer.message
        assert explorer.message.count("The last setting stays.") == 1
        explorer._on_browser(None, {"do": "again"}, [])
        explorer.wait(60)
        assert explorer.message == "", f"{name}: {explorer.message}"


def test_what_an_explorer_tells_cannot_be_set(explorer):
    for name in ours(explorer, ReadOnly):
        before = getattr(explorer, name)
        with pytest.raises(ValueError, match=f"{name} is read-only: the explorer sets it"):
            setattr(explorer, name, [1])
        assert getattr(explorer, name) is before


def test_numpy_s_numbers_are_numbers(explorer):
    for name in ours(explorer, Number):
        now = getattr(explorer, name)
        setattr(explorer, name, np.int64(now) if isinstance(now, int) else np.float64(now))
        assert type(getattr(explorer, name)) is type(now)
    for name in ours(explorer, Choice):
        setattr(explorer, name, getattr(explorer, name))
    if hasattr(explorer, "class_index"):
        explorer.class_index = np.int64(8)
        assert (explorer.class_index, type(explorer.class_index)) == (8, int)
        explorer.class_index = "hen"
        assert explorer.class_index == 8


def test_a_shipped_photo_is_taken_by_its_name_and_as_it_is(classifier):
    explorer = di.explore.scores(None, classifier)
    explorer.photo = di.photo("duck")
    assert explorer.photo == "duck"
    with pytest.raises(Refused, match=r"no photo is called 'hen'\. The photos are .*hens.*show\(image\)"):
        explorer.photo = "hen"
    explorer.close()
