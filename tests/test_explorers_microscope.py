"""The ReLU microscope by its traits and by what a browser sends, without a browser; its thread is held by a gate."""

import copy
import sys
import threading

import numpy as np
import pytest
import torch
import traitlets
from explorer_kit import PATIENCE, Held, Noted, alive, png
from PIL import Image
from still_pictures import opened, place
from torch import nn

import deepinside_edu as di
from deepinside_edu.deconvnet import CAUSES, Gate
from deepinside_edu.explorers.microscope import TILE, MicroscopeExplorer

SIDE = 20
MODULE = sys.modules[MicroscopeExplorer.__module__]  # its name in the package is the function
LABELS = ("red ape", "blue bee", "grey cat", "pale cat")


def network(activation):
    torch.manual_seed(1)
    lower = (nn.Conv2d(3, 5, 3), activation, nn.MaxPool2d(2))
    upper = (nn.Conv2d(5, 6, 3), copy.deepcopy(activation), nn.AdaptiveAvgPool2d(2))
    return nn.Sequential(*lower, *upper, nn.Flatten(), nn.Linear(24, 4)).eval()


@pytest.fixture
def tiny():
    return di.Classifier(network(nn.ReLU()), LABELS, size=(SIDE, SIDE))


class Scope(Noted, MicroscopeExplorer):
    pass


@pytest.fixture
def scope(tiny):
    with alive(Scope(di.photo("panda"), tiny)) as explorer:
        yield explorer


@pytest.fixture
def held(monkeypatch, scope):
    held = Held(di.descend, noted=lambda _, neuron, __: neuron)
    monkeypatch.setattr(MODULE, "descend", held)
    yield held
    held.leave.release(1000)


def same_ladder(one, two):
    return [r.name for r in one] == [r.name for r in two] and all(
        torch.equal(a.r[rule], b.r[rule]) for a, b in zip(one, two, strict=True) for rule in b.r
    )


def test_it_opens_in_one_line_on_the_shipped_network():
    explorer = di.explore.microscope()
    assert isinstance(explorer, MicroscopeExplorer)
    assert (explorer.photo, explorer.layer, explorer.rung) == ("red_panda", "features.11.squeeze_activation", "image")
    assert (explorer.position, explorer.rules, explorer.plane) == ("max", ["gradient", "deconvnet"], "auto")
    x = explorer.recording.x(explorer.layer)
    assert explorer.channel == int(x[0].amax((1, 2)).argmax())
    assert explorer.result.value == float(x.max())
    assert repr(explorer) == (
        "MicroscopeExplorer('red_panda', Neuron(layer='features.11.squeeze_activation', channel=38, position='max'), "
        "gradient + deconvnet)"
    )
    explorer.close()


def test_the_result_is_what_the_step_functions_give(scope, tiny):
    expected = di.backward_ladder(tiny, di.photo("panda"), scope.neuron)
    assert same_ladder(scope.result, expected)
    scope.neuron = di.Neuron("1", 2, (3, 4))
    assert (scope.layer, scope.channel, scope.position) == ("1", 2, (3, 4))
    scope.rules = ["guided", "gradient"]
    assert scope.rules == ["gradient", "guided"]
    expected = di.backward_ladder(tiny, di.photo("panda"), di.Neuron("1", 2, (3, 4)), ("gradient", "guided"))
    assert same_ladder(scope.result, expected)
    scope.neuron = "blue"
    assert (scope.layer, scope.channel, scope.neuron) == ("scores", 1, 1)
    assert same_ladder(scope.result, di.backward_ladder(tiny, di.photo("panda"), 1, ("gradient", "guided")))


def test_the_maps_are_sent_small_and_the_chosen_one_as_it_is(scope):
    scope.layer = "0"
    assert scope.neuron == di.Neuron("0", scope._strongest(), "max")
    x = scope.recording.x("0")[0].numpy()
    content, (levels, largest) = scope.last("maps")
    assert (content["layer"], content["size"]) == ("0", [SIDE - 2, SIDE - 2])
    assert np.array_equal(np.frombuffer(largest, np.float32), x.max((1, 2)))
    levels = np.frombuffer(levels, np.uint8).reshape(x.shape)
    assert (levels.max((1, 2)) >= 254).all()
    assert np.array_equal(levels > 0, (255 * x / x.max((1, 2), keepdims=True)).astype(int) > 0)
    content, (plane,) = scope.arrays("map")
    assert np.array_equal(plane.reshape(x[0].shape), x[scope.channel])
    assert scope.last("ladder")[0]["position"] == scope.result.neuron.position


def test_single_values_share_one_scale(scope):
    scope.neuron = 0
    scores = scope.recording.x("scores")[0].numpy()
    content, (levels, _) = scope.last("maps")
    assert content["size"] == [1, 1]
    assert list(np.frombuffer(levels, np.uint8)) == [int(max(0, 255 * s / scores.max())) for s in scores]


def test_large_maps_shrink_and_keep_their_strongest_unit():
    plane = torch.zeros(1, 111, 111)
    plane[0, 50, 110] = 3
    small = MODULE._shrunk(plane, TILE)
    assert (max(small.shape) <= TILE, float(small.max()), int((small > 0).sum())) == (True, 3.0, 1)


def test_the_ladder_s_pictures_are_small_and_its_figures_follow(scope):
    scope.neuron = 0
    scope.rules = list(MODULE.RULES)
    content, buffers = scope.last("ladder")
    ladder = scope.result
    assert [name for name, *_ in content["rungs"]] == [rung.name for rung in ladder]
    assert (content["neuron"], content["value"]) == ("the score of red ape (0)", ladder.value)
    lengths = sum(width * height * (3 if colours else 1) for *_, (width, height), colours, _ in content["rungs"])
    assert [len(each) for each in buffers] == 3 * [lengths]
    assert content["rungs"][-1] == ["image", "image", [3, SIDE, SIDE], [SIDE, SIDE], True, 3 * [False]]
    values = scope.last("distances")[0]["values"]
    for rung, texts in zip(ladder, values, strict=True):
        for (cosine, relative, differing), rule in zip(texts, ("deconvnet", "guided"), strict=True):
            d = rung.distance(rule)
            assert (cosine, differing) == (f"{d.cosine:.2f}", f"{100 * d.differing:.0f} %")
            assert relative in ("∞", f"{d.relative:.3g}")


def test_at_a_relu_everything_that_hover_reads_is_sent_as_it_is(scope):
    scope.rules = list(MODULE.RULES)
    scope.neuron = 2
    scope.rung = "1"
    scope.plane = 3
    content, buffers = scope.last("view")
    gate = scope.result["1"].gate
    part = Gate(gate.x[:, 3], {rule: r[:, 3] for rule, r in gate.above.items()})
    expected = [part.x]
    for rule in MODULE.RULES:
        expected += [part.above[rule], part.below(rule), part.cause(rule)]
    assert buffers == [each.numpy().tobytes() for each in expected]
    assert (content["relu"], content["ceiling"], content["channels"], content["of"]) == (True, None, [3], 5)
    assert {CAUSES[i] for i in np.frombuffer(buffers[6], np.uint8)} > {"same"}


def test_elsewhere_x_and_r_are_sent_and_of_the_image_all_colours(scope):
    scope.neuron = 2
    content, planes = scope.arrays("view")
    assert (content["rung"], content["channels"], content["relu"]) == ("image", [0, 1, 2], False)
    ladder = scope.result
    assert [np.array_equal(p, ladder["image"].r[r].numpy().ravel()) for p, r in zip(planes, ladder.rules, strict=True)]
    (x,) = scope.arrays("photo")[1]
    assert np.array_equal(x, scope.recording.x("image").numpy().ravel())
    scope.rung = "0"
    content, (x, r, _) = scope.arrays("view")
    (best,) = content["channels"]
    assert np.array_equal(r, ladder["0"].r["gradient"][0, best].numpy().ravel())
    assert np.abs(r).max() == ladder["0"].r["gradient"].abs().max()
    assert np.array_equal(x, ladder["0"].x[0, best].numpy().ravel())
    scope.plane = "all"
    content, (_, r, _) = scope.arrays("view")
    assert content["channels"] is None
    assert np.array_equal(r, ladder["0"].r["gradient"][0].abs().amax(0).numpy().ravel())
    scope.rung = "scores"
    assert scope.last("view")[0]["size"] == [1, 1]


def test_a_rung_or_a_channel_that_is_not_there_is_said(scope):
    scope.neuron = di.Neuron("1", 0)
    scope.rung = "4"
    assert scope.last("view")[0]["rung"] == "image"
    assert scope.message == "'4' is not between this neuron and the image. The image is shown instead."
    assert scope.rung == "image"
    with pytest.raises(ValueError, match="channel 4 is out of range; 'image' has channels 0 to 2"):
        scope.plane = 4
    scope.neuron = 0  # what did not fit is not tried again
    assert (scope.last("view")[0]["rung"], scope.message) == ("image", "")
    scope.rung = "1"
    scope.plane = 4
    scope.rung = "image"
    assert scope.last("view")[0]["channels"] == [0, 1, 2]
    assert scope.message == "'image' has no channel 4. The channel with the largest |R| is shown instead."
    assert scope.plane == "auto"
    scope.neuron = 1
    assert (scope.last("view")[0]["channels"], scope.message) == ([0, 1, 2], "")


@pytest.mark.parametrize("text", ["BLUE", "1", " blue bee "])
def test_a_class_is_found_by_what_is_typed(scope, text):
    scope.ask("find", text=text)
    assert (scope.neuron, scope.result.neuron, scope.message) == (1, 1, "")


@pytest.mark.parametrize(("text", "words"), [("blau bee", "Near: 'blue bee' (1)"), ("cat", "fits 2 classes")])
def test_an_unknown_class_is_said_and_the_last_neuron_stays(scope, text, words):
    before, ladder = scope.neuron, scope.result
    scope.ask("find", text=text)
    assert words in scope.message
    assert "The last setting stays." in scope.told[-1][0]["message"]
    assert (scope.neuron, scope.result) == (before, ladder)
    scope.channel = 0
    assert (scope.wait(PATIENCE), scope.message) == (True, "")


@pytest.mark.parametrize(
    ("trait", "value", "words"),
    [
        ("layer", "convolution", "no layer is called"),
        ("layer", "image", "has no neurons"),
        ("channel", 6, "has channels 0 to 5"),
        ("channel", -1, "out of range"),
        ("channel", None, "whole number"),
        ("position", [7, 0], "'sum' and 7×7 units"),
        ("position", [0], "out of range"),
        ("position", [0.5, 1], "out of range"),
        ("position", "middle", "'max', 'sum'"),
        ("rules", [], "one or more of gradient"),
        ("rules", ["grad"], "grad"),
        ("rung", "10", "no layer is called"),
        ("plane", -1, "channel -1 is out of range"),
        ("plane", "best", "'auto', 'all'"),
        ("photo", "pandas", "no photo is called"),
    ],
)
def test_a_wrong_setting_is_an_error_in_python_and_said_in_the_browser(scope, trait, value, words):
    scope.layer = "4"
    before, ladder = getattr(scope, trait), scope.result
    with pytest.raises(traitlets.TraitError, match=words):
        setattr(scope, trait, value)
    scope.set_state({trait: value})
    assert words in scope.told[-2][0]["message"] + scope.told[-1][0].get("message", "")
    assert "The last setting stays." in scope.message
    assert (getattr(scope, trait), scope.result) == (before, ladder)


def test_a_wrong_neuron_changes_nothing(scope):
    before = scope.neuron
    for neuron in (di.Neuron("1", 5), di.Neuron("1", 0, (18, 0)), di.Neuron("7", 0, (0,)), di.Neuron("nowhere", 0)):
        with pytest.raises(traitlets.TraitError):
            scope.neuron = neuron
        assert scope.neuron == before
    with pytest.raises(ValueError, match="no class is called"):
        scope.neuron = "dog"
    scope.channel = 0  # and it still works
    assert scope.result.neuron.channel == 0


def test_the_browser_clicks_on_a_unit_and_on_a_map(scope):
    scope.set_state({"layer": "1"})
    assert (scope.neuron, scope.result.neuron.layer) == (di.Neuron("1", scope._strongest(), "max"), "1")
    scope.set_state({"position": [2, 5]})
    assert scope.result.neuron == di.Neuron("1", scope.channel, (2, 5))
    scope.set_state({"channel": 4, "position": "sum"})
    assert scope.result.neuron == di.Neuron("1", 4, "sum")
    assert scope.last("ladder")[0]["neuron"] == "the sum over channel 4 of 1"


def test_a_network_without_relu_says_the_remedy_and_the_gradient_works():
    smooth = Scope(di.photo("panda"), di.Classifier(network(nn.SiLU()), LABELS, size=(SIDE, SIDE)))
    assert smooth.result is None
    assert "SiLU" in smooth.message
    assert "Here, tick gradient alone." in smooth.message
    assert smooth.last("state")[0] == {"kind": "state", "busy": False, "message": smooth.message}
    smooth.still()
    smooth.set_state({"rules": ["gradient"]})
    assert (len(smooth.result), smooth.result.rules, smooth.message) == (len(smooth.result), ("gradient",), "")
    ladder = smooth.result
    smooth.set_state({"rules": ["guided"]})
    assert (smooth.result, smooth.message.endswith("The last result stays.")) == (ladder, True)
    smooth.set_state({"rules": ["gradient"]})
    assert (smooth.result.rules, smooth.message) == (("gradient",), "")
    smooth.close()


def test_the_latest_neuron_wins_and_those_between_are_never_computed(scope, held):
    scope.channel = 0
    held.wait()  # the thread is on its way down from channel 0
    for channel in (1, 2, 3, 4, 5):
        scope.set_state({"channel": channel})
    assert scope.told[-1][0]["busy"]
    held.leave.release(2)
    assert scope.result.neuron.channel == 5
    assert [neuron.channel for neuron in held.wanted] == [0, 5]
    assert scope.last("view")[0]["rung"] == "image"


def test_figures_that_nobody_waits_for_any_more_are_dropped_and_taken_up_again(scope, monkeypatch):
    distance, asked = di.Rung.distance, []

    def slow(self, *rules):
        asked.append(self.name)
        if len(asked) == 2:
            click = threading.Thread(target=setattr, args=(scope, "rung", "1"))  # while figures are being computed
            click.start()
            click.join(PATIENCE)
        return distance(self, *rules)

    monkeypatch.setattr(di.Rung, "distance", slow)
    scope.neuron = 0
    assert len(scope.last("distances")[0]["values"]) == len(scope.result)
    assert asked == [rung.name for rung in scope.result]  # each once
    kinds = [content["kind"] for content, _ in scope.told]
    assert kinds.index("view", len(kinds) - 4) < len(kinds) - 1
    assert scope.last("view")[0]["rung"] == "1"


def test_one_forward_pass_for_all_neurons_of_a_photo(scope, monkeypatch):
    recorded = []
    monkeypatch.setattr(MODULE, "record", lambda *args: recorded.append(args[1]) or di.record(*args))
    for scope.channel in (0, 1):
        assert scope.wait(PATIENCE)
    assert recorded == []
    scope.photo = "duck"
    assert scope.wait(PATIENCE)
    assert recorded == [di.photo("duck")]
    assert torch.equal(scope.recording.x("image"), scope.classifier.prepare(di.photo("duck")))


def test_close_ends_the_thread(tiny, monkeypatch):
    held = Held(di.descend, noted=lambda _, neuron, __: neuron)
    monkeypatch.setattr(MODULE, "descend", held)
    explorer = Scope(classifier=tiny)
    held.wait()
    thread = explorer._thread
    explorer.close()
    held.leave.release()
    assert explorer.wait(PATIENCE)
    thread.join(PATIENCE)
    assert not thread.is_alive()
    assert "view" not in {content["kind"] for content, _ in explorer.told}


def test_two_side_by_side_do_not_disturb_each_other(scope, tiny):
    other = Scope(di.photo("duck"), tiny)
    before = scope.result
    other.neuron = 1
    scope.channel = 2
    assert same_ladder(other.result, di.backward_ladder(tiny, di.photo("duck"), 1))
    assert same_ladder(scope.result, di.backward_ladder(tiny, di.photo("panda"), scope.neuron))
    assert before is not scope.result
    other.close()


def test_a_page_that_is_opened_later_gets_everything(scope):
    scope.told.clear()
    scope.ask("hello")
    kinds = {content["kind"] for content, _ in scope.told}
    assert kinds == {"photo", "maps", "map", "ladder", "view", "distances", "state"}


def test_an_upload_is_shown_and_never_stored(scope):
    assert "image/png" in scope._repr_mimebundle_()[0]
    scope.ask("upload", memoryview(b"a letter"))
    assert "not a picture" in scope.message
    assert "The last photo stays." in scope.message
    assert (scope.photo, "your photo" in scope.photos) == ("panda", False)
    for colour in ("green", "blue"):  # the second in the place of the first
        scope.ask("upload", png(colour))
        assert (scope.photo, scope.wait(PATIENCE), scope.message) == ("your photo", True, "")
        assert torch.equal(scope.recording.x("image"), scope.classifier.prepare(Image.new("RGB", (40, 30), colour)))
    assert "image/png" not in scope._repr_mimebundle_()[0]
    scope.show(di.photo("duck"))
    assert scope.photo == "duck"
    x = torch.zeros(1, 3, SIDE, SIDE)
    scope.show(x)
    assert torch.equal(scope.recording.x("image"), x)
    assert scope.result[-1].name == "image"


def test_the_still_picture_is_of_the_state_and_the_text_is_short(scope):
    data, _ = scope._repr_mimebundle_()
    assert data["text/plain"] == repr(scope)
    assert opened(data["image/png"]).size == scope.still().size
    scope.rules = ["gradient", "guided"]
    still, pictures = scope.still(), [scope.classifier.picture(scope.recording.x("image"))]
    for rule in scope.rules:
        r = scope.result["image"].r[rule][0].numpy()
        pictures.append(di.figures.signed_picture(r, peak=di.figures.PEAK))
    (top, first), *others = (place(still, each) for each in pictures)
    assert [(top, first + k * (SIDE + 8)) for k in (1, 2)] == others
    words = still.info["Description"]
    assert "gradient: R_n at the image" in words
    assert "guided back-propagation: R_n at the image" in words


def test_shapes_that_are_no_maps():
    assert MODULE._planes(torch.zeros(1, 7)).shape == (7, 1, 1)
    assert MODULE._planes(torch.zeros(1, 7, 3)).shape == (7, 1, 3)
    assert MODULE._planes(torch.zeros(1, 7, 3, 4, 5)).shape == (7, 12, 5)


def test_a_grey_network_and_units_of_a_flat_layer():
    torch.manual_seed(0)
    grey = nn.Sequential(nn.Flatten(), nn.Linear(64, 8), nn.ReLU(), nn.Linear(8, 2)).eval()
    explorer = Scope(np.zeros((8, 8), np.uint8), di.Classifier(grey, ("a", "b"), (), (8, 8), (0.5,), (0.5,)))
    assert (explorer.layer, explorer.result.neuron.position) == ("3", ())
    explorer.layer = "2"
    assert explorer.result.neuron.layer == "2"
    assert explorer.last("view")[0]["channels"] == [0]
    assert place(explorer.still(), explorer.classifier.picture(explorer.recording.x("image"))) is not None
    explorer.close()


def test_what_cannot_be_shown_at_all_is_an_error_of_the_call(tiny):
    with pytest.raises(TypeError, match="expected a Classifier"):
        di.explore.microscope(classifier=tiny.network)
    with pytest.raises(ValueError, match="not a picture"):
        di.explore.microscope(b"a letter", tiny)


def test_a_bug_in_the_network_is_said_and_the_last_ladder_stays(scope, monkeypatch):
    before = scope.result
    monkeypatch.setattr(scope.classifier.network, "forward", lambda x: x.nonsense)
    scope.photo = "duck"
    assert scope.wait(PATIENCE)
    assert "AttributeError: " in scope.message
    assert "The last result stays." in scope.message
    assert torch.equal(scope.result["image"].x, before["image"].x)


def test_the_stages_depend_on_what_a_wish_begins_with():
    stages = ["record", "send_maps", "send_map", "pause", "descend", "look", "send_ladder", "compare"]
    assert list(MicroscopeExplorer.stages) == stages
    depends = MODULE._Wish._fields.index(MicroscopeExplorer.stages["descend"]) + 1
    assert MODULE._Wish._fields[:depends] == ("source", "layer", "channel", "position", "rules")


def test_a_newer_wish_does_not_wait_for_the_page_to_draw(scope, monkeypatch):
    monkeypatch.setattr("deepinside_edu.explorers.explorer.PAUSE", 2 * PATIENCE)  # longer than anybody waits
    scope.photo = "duck"
    assert not scope.wait(0.2)
    monkeypatch.setattr("deepinside_edu.explorers.explorer.PAUSE", 0)
    scope.photo = "hens"
    assert scope.wait(PATIENCE)
    torch.testing.assert_close(scope.recording.x("image"), scope.classifier.prepare(di.photo("hens")))


def test_a_dead_unit_is_explained():
    """Its gradient is 0 everywhere and a picture of zeros has no direction; DeconvNet does not ask the ReLU."""
    network = nn.Sequential(nn.Conv2d(3, 2, 3), nn.ReLU(), nn.Flatten(), nn.Linear(2 * 36, 2)).eval()
    with torch.no_grad():
        network[0].weight[0], network[0].weight[1] = 0.1, -0.1
        network[0].bias[0], network[0].bias[1] = 9.0, -9.0  # channel 1 is dead
    explorer = Scope(Image.new("RGB", (8, 8), "white"), di.Classifier(network, ("a", "b"), size=(8, 8)))
    explorer.rules = list(MODULE.RULES)
    explorer.neuron = di.Neuron("1", 1, (2, 2))
    assert explorer.result.value == 0
    assert explorer.message.startswith("The gradient is 0 in every pixel: each path from this unit to the image leads")
    assert "Guided back-propagation brings nothing down" in explorer.message
    assert "DeconvNet brings nothing" not in explorer.message
    rungs, values = explorer.last("ladder")[0]["rungs"], explorer.last("distances")[0]["values"]
    assert rungs[-1][-1] == [True, False, True]
    assert [row[0] for row in values[-1]] == ["–", "–"]
    assert [row[1] for row in values[-1]] == ["∞", "0"]
    assert "gradient: nothing came down" in explorer.still().info["Description"]
    explorer.neuron = di.Neuron("1", 0, (2, 2))
    assert (explorer.wait(PATIENCE), explorer.message) == (True, "")
    explorer.close()


def test_it_opens_where_a_lesson_wants_it(tiny):
    explorer = Scope(None, tiny, di.Neuron("1", 2, (3, 4)))
    assert explorer.result.neuron == di.Neuron("1", 2, (3, 4))
    explorer.close()
    explorer = Scope(None, tiny, "blue")
    assert (explorer.neuron, explorer.result.neuron) == (1, 1)
    explorer.close()
    for wrong in ("dog", di.Neuron("nowhere", 0), di.Neuron("1", 99)):
        with pytest.raises(ValueError, match=r"called|out of range"):
            di.explore.microscope(None, tiny, wrong)
