"""The sanity explorer by its traits and by what a browser sends, without a browser; its thread is held by a gate."""

import math
import re
import sys
import threading

import numpy as np
import pytest
import torch
import traitlets
from explorer_kit import PATIENCE, Held, Noted, alive, png
from no_trace import no_trace
from PIL import Image
from still_pictures import opened, place
from torch import nn

import deepinside_edu as di
from deepinside_edu.evaluation.maps import METHODS, compute_maps
from deepinside_edu.evaluation.sanity import Cascade, compare_maps, randomise_layers, sanity_check
from deepinside_edu.explorers.sanity import SanityExplorer

SIDE = 24
MODULE = sys.modules[SanityExplorer.__module__]  # its name in the package is the function
LABELS = ("red thing", "blue thing", "green thing", "dead thing")
LAYERS = ["4", "2", "0"]


def network():
    """Three convolutions with a ReLU behind each, as in the network on board; it holds the last score at 0."""
    torch.manual_seed(0)
    made = nn.Sequential(
        nn.Conv2d(3, 6, 3, stride=2), nn.ReLU(), nn.Conv2d(6, 6, 3), nn.ReLU(inplace=True), nn.Conv2d(6, 4, 1),
        nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
    ).eval()  # fmt: skip
    with torch.no_grad():
        made[4].bias.copy_(torch.tensor([9.0, 8.0, 7.0, -100.0]))
    return made.requires_grad_(False)


@pytest.fixture
def tiny():
    return di.Classifier(network(), LABELS, size=(SIDE, SIDE))


class Sanity(Noted, SanityExplorer):
    pass


@pytest.fixture
def explorer(tiny):
    with alive(Sanity(classifier=tiny)) as made:
        yield made


@pytest.fixture
def held(monkeypatch):
    made = Held(compute_maps, noted=lambda classifier, _, class_index, __: (classifier, class_index))
    monkeypatch.setattr(MODULE, "compute_maps", made)
    yield made
    made.leave.release(99)


@pytest.fixture
def passes(monkeypatch):
    """Counts the passes through a network that maps needed."""
    made = []

    def counted(*args):
        made.append(args)
        return compute_maps(*args)

    monkeypatch.setattr(MODULE, "compute_maps", counted)
    return made


def check(explorer, photo="red_panda", state=0):
    """What is shown is what the step functions compute."""
    shown, classifier = explorer.result, explorer.classifier
    x, c, k = classifier.prepare(di.photo(photo)), explorer.class_index, explorer.down_to
    assert (shown.prediction.class_index, shown.down_to) == (c, k)
    assert shown.layer == (LAYERS[k - 1] if k else "")
    half = randomise_layers(classifier, k, state)
    trained, now = compute_maps(classifier, x, c), compute_maps(half, x, c)
    _, (*levels,) = explorer.last("maps")
    _, (*before,) = explorer.last("trained")
    for i, method in enumerate(METHODS):
        assert np.array_equal(shown.maps[method], now[method])
        assert np.array_equal(shown.trained[method], trained[method])
        np.testing.assert_equal(shown.similarities[method], compare_maps(trained[method], now[method]))
        for sent, m in ((levels, now), (before, trained)):
            coloured = np.asarray(di.figures.heat_map(m[method]))
            table = np.asarray(di.figures.heat_map(np.arange(256)[None], peak=1.0))[0]
            assert np.array_equal(table[np.frombuffer(sent[i], np.uint8).reshape(SIDE, SIDE)], coloured)
    ranking = half.top(x, 4)
    assert shown.top == ranking[0]
    assert shown.now == next(each for each in ranking if each.class_index == c)
    assert shown.prediction == next(each for each in classifier.top(x, 4) if each.class_index == c)
    told = explorer.last("likeness")[0]
    assert (told["down_to"], told["top"], told["now"]) == (k, shown.top._asdict(), shown.now._asdict())
    here = next(values for at, values in told["known"] if at == k)
    for values, method in zip(here, METHODS, strict=True):
        wanted = [None if math.isnan(value) else value for value in shown.similarities[method]]
        assert values == wanted


def test_it_begins_with_the_trained_network(explorer):
    assert explorer.layers == LAYERS
    assert (explorer.down_to, explorer.random_state, explorer.message) == (0, 0, "")
    assert explorer.class_index == explorer.classifier.top(di.photo("red_panda"), 1)[0].class_index
    check(explorer)
    assert all(each == pytest.approx((1, 1)) for each in explorer.result.similarities.values())
    kinds = explorer.kinds()
    assert kinds.index("photo") < kinds.index("trained") < kinds.index("maps") < kinds.index("likeness")
    photo, (levels,) = explorer.last("photo")
    assert photo["size"] == (SIDE, SIDE)
    picture = explorer.classifier.picture(explorer.classifier.prepare(di.photo("red_panda")))
    assert levels == picture.tobytes()


def test_every_place_of_the_slider_shows_the_network_that_has_forgotten_so_much(explorer):
    for k in (3, 1, 2):
        explorer.set_state({"down_to": k})
        check(explorer)
    assert [at for at, _ in explorer.last("likeness")[0]["known"]] == [0, 1, 2, 3]


def test_a_class_another_photo_and_another_draw(explorer):
    explorer.down_to = 2
    explorer.class_index = 1
    check(explorer)
    assert [at for at, _ in explorer.last("likeness")[0]["known"]] == [2]
    explorer.ask("find", text="green")
    check(explorer)
    assert explorer.class_index == 2
    explorer.photo = "hens"
    check(explorer, "hens")
    assert explorer.class_index == explorer.classifier.top(di.photo("hens"), 1)[0].class_index
    before = explorer.result
    explorer.set_state({"random_state": 5})
    check(explorer, "hens", state=5)
    assert not np.array_equal(explorer.result.maps["gradient"], before.maps["gradient"])
    assert np.array_equal(explorer.result.trained["gradient"], before.trained["gradient"])


def test_a_place_that_was_visited_needs_no_pass_and_one_of_another_class_does(explorer, passes):
    for k in (1, 2, 1, 0, 2):
        explorer.down_to = k
        check(explorer)
    assert len(passes) == 2
    explorer.class_index = 1
    check(explorer)
    assert len(passes) == 4
    explorer.random_state = 1  # the trained maps stay
    check(explorer, state=1)
    assert len(passes) == 5
    explorer.random_state = 0
    check(explorer)


def test_the_photo_is_told_once(explorer):
    explorer.told.clear()
    explorer.down_to = 2
    explorer.class_index = 1
    assert "photo" not in explorer.kinds()
    explorer.photo = "duck"
    assert explorer.kinds().count("photo") == 1


def test_the_latest_place_wins_and_those_between_are_never_computed(explorer, held):
    explorer.down_to = 1
    held.wait()
    for k in (2, 1, 2, 3):
        explorer.set_state({"down_to": k})
    assert explorer.told[-1][0]["busy"]
    held.leave.release(2)
    assert explorer.result.down_to == 3
    assert len(held.wanted) == 2
    first = explorer.classifier.network[0].weight
    assert [each.network[0].weight is first for each, _ in held.wanted] == [True, False]
    assert explorer.down_to == 3


def test_a_class_that_comes_while_maps_are_computed_gets_its_own(explorer, held):
    explorer.down_to = 2
    held.wait()
    explorer.set_state({"class_index": 1})
    held.leave.release(99)
    assert explorer.wait(PATIENCE)
    assert [c for _, c in held.wanted][1:] == [1, 1]
    check(explorer)


@pytest.mark.slow
def test_no_setting_is_lost_while_the_thread_settles_an_older_wish(explorer):
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)  # so that the two threads meet everywhere
    try:
        for k in range(16):
            photo, state = ("duck", "hens")[k // 2 % 2], k % 2
            wanted = {"photo": photo, "down_to": k % 4, "class_index": k % 3, "random_state": state}
            for name, value in wanted.items():
                explorer.set_state({name: value})
            check(explorer, photo, state)
            assert {name: getattr(explorer, name) for name in wanted} == wanted
    finally:
        sys.setswitchinterval(before)


def test_a_map_of_zeros_is_said_and_has_no_rank_correlation(explorer):
    explorer.class_index = 3
    shown = explorer.result
    assert explorer.message.startswith("The gradient and guided maps are all zeros")
    assert not shown.maps["gradient"].any()
    assert shown.maps["deconvnet"].any()
    assert math.isnan(shown.similarities["gradient"].rank_correlation)
    known = explorer.last("likeness")[0]["known"]
    assert [values[0] for values in known[0][1]] == [None, pytest.approx(1), None]
    explorer.class_index = 0
    assert explorer.result.maps["gradient"].any()
    assert explorer.message == ""


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("down_to", 4, "expected 0 to 3 random layers, got 4"),
        ("down_to", -1, "expected 0 to 3 random layers, got -1"),
        ("random_state", -1, "expected the random state from 0 to"),
        ("class_index", 4, "classes 0 to 3"),
        ("photo", "unicorn", "no photo is called 'unicorn'"),
    ],
)
def test_what_is_refused_is_said_and_the_last_setting_stays(explorer, name, value, words):
    before, shown = getattr(explorer, name), explorer.result
    with pytest.raises(traitlets.TraitError, match=words):
        setattr(explorer, name, value)
    explorer.set_state({name: value})
    assert words in explorer.message
    assert "The last setting stays." in explorer.message
    assert getattr(explorer, name) == before
    assert explorer.result is shown


def test_what_fails_is_said_and_the_last_result_stays(explorer):
    explorer.down_to = 1
    before = explorer.result
    sent = [explorer.last(kind) for kind in ("photo", "trained", "maps", "likeness")]
    explorer.classifier.network.train()
    for change in ({"down_to": 2}, {"class_index": 2}, {"photo": "hens"}):
        explorer.set_state(change)
        assert explorer.result is before
        assert explorer.message.count("training mode") == 1
        assert "The last result stays." in explorer.message
        kept = [explorer.last(kind) for kind in ("photo", "trained", "maps", "likeness")]
        assert all(one is other for one, other in zip(sent, kept, strict=True))
    explorer.classifier.network.eval()
    explorer.photo = "duck"
    check(explorer, "duck")
    assert explorer.message == ""


def test_no_maps_are_told_beside_those_of_another_photo(explorer, monkeypatch):
    explorer.down_to = 1
    kinds = ("trained", "maps", "likeness")
    sent = [explorer.last(kind) for kind in kinds]

    def failing(classifier, x, class_index, methods):
        if classifier is explorer.classifier:
            raise ValueError("the trained network fails")
        return compute_maps(classifier, x, class_index, methods)

    monkeypatch.setattr(MODULE, "compute_maps", failing)
    explorer.photo = "hens"
    assert explorer.wait(PATIENCE)  # one place was visited with the photo before, the next was not
    explorer.down_to = 2
    assert all(one is other for one, other in zip(sent, map(explorer.last, kinds), strict=True))
    assert explorer.message == "the trained network fails. The last result stays."


def test_nothing_of_the_network_is_changed_and_no_random_number_used_up(tiny):
    x = tiny.prepare(di.photo("duck"))
    with no_trace(tiny.network, x):
        made = Sanity(x, tiny)
        for change in ({"down_to": 3}, {"class_index": 1}, {"random_state": 3}, {"down_to": 0}):
            made.set_state(change)
            assert made.wait(PATIENCE)
        made.close()


def test_weights_are_drawn_where_cells_run_and_not_in_the_thread(explorer, monkeypatch):
    threads = []

    def noted(*args):
        threads.append(threading.current_thread())
        return Cascade(*args)

    monkeypatch.setattr(MODULE, "Cascade", noted)
    explorer.set_state({"random_state": 2})
    assert explorer.wait(PATIENCE)
    assert threads == [threading.main_thread()]


def test_close_ends_the_thread(tiny, held):
    held.leave.release(1)
    explorer = Sanity(classifier=tiny)
    assert explorer.wait(PATIENCE)
    held.wait()
    explorer.down_to = 2
    held.wait()
    thread = explorer._thread
    explorer.close()
    held.leave.release()
    assert explorer.wait(PATIENCE)
    thread.join(PATIENCE)
    assert not thread.is_alive()


def test_a_page_that_is_opened_later_gets_everything(explorer):
    explorer.down_to = 2
    assert explorer.wait(PATIENCE)
    explorer.told.clear()
    explorer.ask("hello")
    assert set(explorer.kinds()) == {"classes", "photo", "trained", "maps", "likeness", "state"}
    assert explorer.last("maps")[0]["down_to"] == 2


def test_an_upload_that_is_no_picture_is_said_and_the_last_photo_stays(explorer):
    before = explorer.result
    explorer.ask("upload", memoryview(b"a letter, not a picture"))
    assert "not a picture" in explorer.message
    assert "The last photo stays." in explorer.message
    assert explorer.result is before
    assert (explorer.photo, "your photo" in explorer.photos) == ("red_panda", False)


def test_an_uploaded_photo_is_shown_and_never_stored(explorer):
    assert "image/png" in explorer._repr_mimebundle_()[0]
    for colour in ("blue", "red"):  # the second in the place of the first
        explorer.ask("upload", png(colour))
        assert explorer.result.down_to == 0
        assert explorer.photo == "your photo"
        assert explorer.last("photo")[1][0] == SIDE**2 * Image.new("RGB", (1, 1), colour).tobytes()
    assert "image/png" not in explorer._repr_mimebundle_()[0]
    explorer.photo = "hens"
    assert "image/png" in explorer._repr_mimebundle_()[0]


def test_an_image_of_another_size_and_one_too_small_for_the_window(explorer):
    explorer.show(torch.ones(1, 3, 20, 30))
    assert explorer.result.maps["guided"].shape == (20, 30)
    assert explorer.last("maps")[0]["size"] == (30, 20)
    before = explorer.result
    explorer.show(torch.ones(1, 3, 10, 30))
    assert explorer.result is before
    assert "at least 11×11" in explorer.message


def test_two_side_by_side_do_not_disturb_each_other(explorer, tiny):
    other = Sanity(di.photo("hens"), tiny)
    result, told = other.result, list(other.told)
    explorer.photo = "koala"
    explorer.down_to, explorer.random_state = 3, 4
    explorer.ask("find", text="green")
    assert explorer.result.down_to == 3
    assert (other.result, other.told) == (result, told)
    assert (other.photo, other.down_to, other.random_state) == ("hens", 0, 0)
    other.close()


def test_the_still_picture_shows_both_rows_of_maps(explorer):
    explorer.down_to = 2
    bundle = explorer._repr_mimebundle_()[0]
    assert bundle["text/plain"] == repr(explorer)
    still = explorer.still()
    assert opened(bundle["image/png"]).size == still.size
    shown = explorer.result
    photo = explorer.classifier.picture(explorer.classifier.prepare(di.photo("red_panda")))
    _, left = place(still, photo)
    half = still.height // 2
    for row, maps in enumerate((shown.trained, shown.maps)):
        part = still.crop((0, row * half, still.width, (row + 1) * half))
        places = [place(part, di.figures.heat_map(maps[method])) for method in METHODS]
        assert places == [(places[0][0], left + column * (SIDE + 8)) for column in (1, 2, 3)]
    explorer.down_to = 0  # two rows would be the same
    assert explorer.still().height <= half
    assert "no layer is random yet" in explorer.still().info["Description"]


def test_the_still_picture_says_what_the_network_says(classifier):
    explorer = di.explore.sanity(di.photo("duck"), classifier)
    explorer.down_to = 1
    words, result = explorer.still().info["Description"], explorer.result
    assert f"last 1 of {len(explorer.layers)} layers random, down to {result.layer}" in words
    assert f"this network says {result.top.label} ({result.top.class_index})" in words
    for method, likeness in result.similarities.items():
        assert f"rank correlation {likeness.rank_correlation:.2f}".replace("-", "−") in words, method
    explorer.close()


def test_it_says_what_it_is(explorer):
    explorer.down_to = 2
    label = LABELS[explorer.class_index]
    assert repr(explorer) == f"SanityExplorer('red_panda', {label!r}, 2 of 3 layers random)"
    ranks = {method: f"{each.rank_correlation:.2f}" for method, each in explorer.result.similarities.items()}
    assert repr(explorer.result) == (
        f"SanityResult({label!r}, 2 layers random, rank correlation: gradient {ranks['gradient']}, "
        f"deconvnet {ranks['deconvnet']}, guided {ranks['guided']})"
    )


def test_what_cannot_be_shown_at_all_is_an_error_of_the_call(tiny):
    with pytest.raises(TypeError, match="expected a Classifier"):
        di.explore.sanity(classifier=tiny.network)
    with pytest.raises(ValueError, match="not a picture"):
        di.explore.sanity(b"a letter", tiny)
    tiny.network.train()
    with pytest.raises(ValueError, match="training mode"):
        di.explore.sanity(classifier=tiny)


SMOOTH = {
    "GELU": nn.GELU(), "SiLU": nn.SiLU(), "LayerNorm": nn.LayerNorm([4, SIDE - 2, SIDE - 2]), "Identity": nn.Identity(),
}  # fmt: skip


@pytest.mark.parametrize("kind", SMOOTH)
def test_where_two_rules_have_no_meaning_the_gradient_is_shown_and_the_reason_said(kind):
    torch.manual_seed(1)
    network = nn.Sequential(nn.Conv2d(3, 4, 3), SMOOTH[kind], nn.AdaptiveAvgPool2d(1), nn.Flatten()).eval()
    smooth = di.Classifier(network, LABELS, size=(SIDE, SIDE))
    why = "runs no ReLU" if kind == "Identity" else rf"layer '1' \({kind}\) computes"
    explorer = Sanity(classifier=smooth)
    try:
        assert explorer.kinds().count("maps") == 1
        assert explorer.methods == ["gradient"]
        assert re.search(f"Two maps are left out: .*{why}", explorer.message)
        explorer.down_to = len(explorer.layers)
        assert explorer.wait(PATIENCE)
        x = smooth.prepare(di.photo("red_panda"))
        forgotten = Cascade(smooth, 0)(len(explorer.layers))
        expected = di.saliency_map(forgotten, x, explorer.class_index)
        assert list(explorer.result.maps) == ["gradient"]
        assert np.array_equal(explorer.result.maps["gradient"], expected)
        assert len(explorer.last("maps")[1]) == 1
        assert "left out" in explorer.message
        assert explorer.still().width > SIDE
    finally:
        explorer.close()
    for call in (sanity_check, lambda smooth, x, methods: SanityExplorer(x, smooth, methods)):
        with pytest.raises(ValueError, match=rf"{why}.*Pass methods=\('gradient',\)\.$"):
            call(smooth, x, methods=METHODS)
    assert list(sanity_check(smooth, x, methods=("gradient",)).maps[0]) == ["gradient"]


def test_methods_are_those_that_were_asked_for(tiny):
    explorer = Sanity(classifier=tiny, methods=("guided", "gradient"))
    try:
        assert explorer.wait(PATIENCE)
        assert list(explorer.result.maps) == ["guided", "gradient"]
        assert explorer.message == ""
    finally:
        explorer.close()
    for wrong in ((), "gradient", ("edges",), ("gradient", "gradient")):
        with pytest.raises(ValueError, match="expected one or more of gradient, deconvnet, guided, each once"):
            SanityExplorer(None, tiny, wrong)


def test_a_network_whose_maps_cannot_be_compared_is_an_error_of_the_call(tiny):
    small = di.Classifier(tiny.network, tiny.labels, size=(8, 8))
    with pytest.raises(ValueError, match="at least 11×11 pixels"):
        SanityExplorer(classifier=small)


def test_before_anything_was_compared_the_still_picture_is_the_photo(tiny, monkeypatch):
    monkeypatch.setattr(SanityExplorer, "_compare", lambda *_: "")
    explorer = SanityExplorer(classifier=tiny)
    assert place(explorer.still(), explorer._picture) is not None
    assert "There is nothing to compare yet" in explorer.still().info["Description"]
    explorer.close()


def test_a_class_of_another_kind_is_refused(explorer):
    for wrong in (True, "no such class"):
        with pytest.raises(traitlets.TraitError):
            explorer.class_index = wrong
