"""The saliency explorer by its traits and by what a browser sends, without a browser; its thread is held by a gate."""

import sys

import numpy as np
import pytest
import torch
import traitlets
from explorer_kit import PATIENCE, Held, Noted, alive, png
from PIL import Image
from still_pictures import opened, place

import deepinside_edu as di
from deepinside_edu.explorers.saliency import SaliencyExplorer

SIDE = 24
MODULE = sys.modules[SaliencyExplorer.__module__]  # its name in the package is the function
LABELS = ("red thing", "blue thing", "green thing", "dead thing")


class TwoColours(torch.nn.Module):
    """Scores that are linear in each channel's mean, but for a last one that a ReLU holds at zero."""

    def forward(self, x):
        red, green, blue = x.mean((2, 3)).unbind(1)
        return torch.stack([10 + red - 2 * green, 9 + 3 * blue, 8 + green, torch.relu(red - 100)], 1)


@pytest.fixture
def tiny():
    return di.Classifier(TwoColours().eval(), LABELS, size=(SIDE, SIDE))


class Saliency(Noted, SaliencyExplorer):
    pass


@pytest.fixture
def explorer(tiny):
    with alive(Saliency(classifier=tiny)) as made:
        yield made


@pytest.fixture
def hold(monkeypatch):
    gates = []

    def hold(name):
        owner = MODULE if hasattr(MODULE, name) else MODULE.SaliencyExplorer
        held = Held(getattr(owner, name), noted=lambda _, __, class_index, *___: class_index)
        gates.append(held)
        monkeypatch.setattr(owner, name, lambda *given: held(*given))  # a plain function, so that it can be a method
        return held

    yield hold
    for gate in gates:
        gate.leave.release(1000)


def test_it_begins_with_the_first_class_of_the_first_photo(tiny):
    explorer = di.explore.saliency(classifier=tiny)
    assert isinstance(explorer, SaliencyExplorer)
    assert (explorer.photo, explorer.crops, explorer.strength, explorer.message) == ("red_panda", 1, 0.6, "")
    first = tiny.top(di.photo("red_panda"), 1)[0]
    assert explorer.result.prediction == first
    assert explorer.class_index == first.class_index
    assert repr(explorer) == f"SaliencyExplorer('red_panda', {first.label!r}, crops=1)"
    explorer.close()


def test_a_shipped_photo_is_named(tiny):
    explorer = di.explore.saliency(di.photo("panda"), tiny)
    assert explorer.photo == "panda"
    assert repr(explorer).startswith("SaliencyExplorer('panda', '")
    explorer.close()


def test_result_holds_class_map_and_w(explorer):
    explorer.class_index = 0
    w = torch.tensor([1.0, -2.0, 0.0]).view(1, 3, 1, 1).expand(1, 3, SIDE, SIDE) / SIDE**2
    result = explorer.result
    assert torch.allclose(result.w, w)
    assert np.allclose(result.saliency, 2 / SIDE**2)
    assert (result.prediction.label, result.crops) == ("red thing", 1)
    assert repr(result) == "SaliencyResult('red thing', crops=1, map (24, 24))"


@pytest.mark.slow
def test_one_and_ten_crops_are_the_package_s(classifier):
    explorer = Saliency(di.photo("hens"), classifier)
    one = explorer.result
    assert np.array_equal(one.saliency, di.saliency_map(classifier, di.photo("hens"), 8))
    explorer.set_state({"crops": 10})
    ten = explorer.result
    assert (ten.crops, explorer.last("map")[0]["crops"]) == (10, 10)
    assert repr(explorer) == "SaliencyExplorer('hens', 'hen', crops=10)"
    assert np.array_equal(ten.saliency, di.saliency_map(classifier, di.photo("hens"), 8, crops=10))
    assert torch.equal(ten.w, one.w)
    assert explorer.last("map")[1][0] == ten.saliency.tobytes()
    explorer.crops = 1
    assert np.array_equal(explorer.result.saliency, one.saliency)
    explorer.close()


def test_photo_m_and_w_are_sent_as_they_are(classifier):
    explorer = Saliency(di.photo("hens"), classifier)
    result = explorer.result
    content, (m, w) = explorer.last("map")
    assert m == result.saliency.tobytes()
    assert w == result.w.contiguous().numpy().tobytes()
    assert np.array_equal(np.frombuffer(w, np.float32).reshape(3, 224, 224), result.w[0].numpy())
    assert content == {
        "kind": "map", "size": [224, 224], "crops": 1, "prediction": result.prediction._asdict(),
        "brightest": float(np.quantile(result.saliency, di.figures.PEAK)),
    }  # fmt: skip
    (levels,) = explorer.last("photo")[1]
    assert levels == np.asarray(classifier.picture(classifier.prepare(di.photo("hens")))).tobytes()
    explorer.close()


def test_the_photo_is_sent_once_and_before_its_map(explorer):
    explorer.class_index = 1
    explorer.result  # noqa: B018 - waits
    explorer.crops = 10
    assert explorer.kinds().count("photo") == 1
    explorer.photo = "duck"
    assert explorer.kinds().count("photo") == 2
    assert [kind for kind in explorer.kinds() if kind != "state"][-3:] == ["classes", "photo", "map"]


def test_a_network_of_another_shape_and_precision():
    network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(48, 2)).double().eval()
    explorer = Saliency(np.zeros((6, 8), np.uint8), di.Classifier(network, ("a", "b"), (), (6, 8), (0.5,), (0.5,)))
    content, (m, w) = explorer.last("map")
    assert (content["size"], len(m), len(w)) == ([8, 6], 4 * 48, 4 * 48)
    assert len(explorer.last("photo")[1][0]) == 3 * 48
    assert (explorer.result.saliency.dtype, explorer.result.w.dtype) == (np.float32, torch.float64)
    assert place(explorer.still(), explorer._picture) is not None
    explorer.close()


def test_a_class_is_clicked(explorer):
    explorer.set_state({"class_index": 1})
    prediction = explorer.result.prediction
    assert (explorer.class_index, prediction.label) == (1, "blue thing")
    assert prediction in explorer.classifier.top(di.photo("red_panda"), 4)
    assert explorer.last("map")[0]["prediction"] == prediction._asdict()


@pytest.mark.parametrize("text", ["GREEN", "2", " green thing "])
def test_a_class_is_searched(explorer, text):
    for _ in range(2):  # the same text can be searched again
        explorer.ask("find", text=text)
        assert (explorer.class_index, explorer.result.prediction.label, explorer.message) == (2, "green thing", "")


@pytest.mark.parametrize(("text", "words"), [("yellow thing", "no class is called"), ("thing", "fits 4 classes")])
def test_a_failed_search_is_said_and_the_last_class_stays(explorer, text, words):
    before = explorer.result
    explorer.ask("find", text=text)
    assert words in explorer.message
    assert "The last setting stays." in explorer.last("state")[0]["message"]
    assert explorer.result is before
    explorer.class_index = (before.prediction.class_index + 1) % 4
    assert (explorer.wait(PATIENCE), "fits" in explorer.message, "called" in explorer.message) == (True, False, False)


@pytest.mark.parametrize(
    ("trait", "value"),
    [("class_index", 4), ("class_index", "thing"), ("crops", 5), ("crops", "10"), ("strength", 1.5), ("photo", "ape")],
)
def test_a_wrong_value_is_refused_and_changes_nothing(explorer, trait, value):
    before = explorer.result, getattr(explorer, trait)
    with pytest.raises(traitlets.TraitError):
        setattr(explorer, trait, value)
    explorer.set_state({trait: value})
    assert "The last setting stays." in explorer.message
    assert (explorer.result, getattr(explorer, trait)) == before


def test_the_strength_asks_for_nothing_and_is_of_the_still_picture(explorer):
    result, before = explorer.result, list(explorer.told)
    for strength in (0.0, 1.0):
        explorer.set_state({"strength": strength})
        assert (explorer.wait(PATIENCE), explorer.result) == (True, result)
        overlay = di.figures.overlay(explorer._picture, result.saliency, strength)
        assert place(explorer.still(), overlay) is not None
    assert explorer.told == before


def test_another_photo_begins_with_its_own_first_class(explorer):
    explorer.class_index = 3
    explorer.result  # noqa: B018 - waits
    explorer.set_state({"photo": "hens"})
    first = explorer.classifier.top(di.photo("hens"), 1)[0]
    assert explorer.result.prediction == first
    assert explorer.class_index == first.class_index
    seen = explorer.classifier.picture(explorer.classifier.prepare(di.photo("hens")))
    assert place(explorer.still(), seen) is not None


def test_a_score_held_at_zero_is_explained(explorer):
    for crops in (1, 10):
        explorer.crops = crops
        explorer.ask("find", text="dead")
        assert not explorer.result.saliency.any()
        zeros = "The map is all zeros: the network holds this score at 0, and no small change of the photo raises it."
        assert explorer.message == zeros
        assert explorer.last("map")[0]["brightest"] == 1
        explorer.class_index = 0
        assert (explorer.wait(PATIENCE), explorer.message) == (True, "")


def test_a_map_with_fewer_bright_pixels_than_the_quantile_is_drawn_to_its_largest(explorer, monkeypatch):
    one_pixel = torch.zeros(1, SIDE, SIDE)
    one_pixel[0, 2, 3] = 5
    monkeypatch.setattr(MODULE, "max_abs", lambda w: one_pixel)
    explorer.class_index = 2
    assert explorer.last("map")[0]["brightest"] == 5


def test_a_map_that_is_not_finite_is_said_and_the_last_one_stays(explorer, monkeypatch):
    before, maps = explorer.result, explorer.kinds().count("map")
    monkeypatch.setattr(MODULE, "max_abs", lambda w: torch.full((1, SIDE, SIDE), torch.nan))
    explorer.class_index = 2
    assert explorer.result is before
    assert "NaN" in explorer.message
    assert "The last result stays." in explorer.message
    assert explorer.kinds().count("map") == maps


def test_what_fails_is_said_and_the_last_result_stays(explorer):
    explorer.class_index = 0
    before = explorer.result
    sent = [explorer.last(kind) for kind in ("photo", "map")]
    explorer.classifier.network.train()
    for change in ({"class_index": 2}, {"crops": 10}, {"photo": "hens"}):
        explorer.set_state(change)
        assert explorer.result is before
        assert explorer.message.count("training mode") == 1
        assert "The last result stays." in explorer.message
        assert all(one is other for one, other in zip(sent, map(explorer.last, ("photo", "map")), strict=True))
    explorer.classifier.network.eval()
    explorer.photo = "duck"
    assert explorer.result.prediction == explorer.classifier.top(di.photo("duck"), 1)[0]
    assert (explorer.message, explorer.result.crops) == ("", 10)


def test_the_latest_class_wins_and_those_between_are_never_computed(explorer, hold):
    held = hold("_line")
    explorer.class_index = 1
    held.wait()  # the thread is at work on it
    for class_index in (2, 0, 1, 2, 3):
        explorer.set_state({"class_index": class_index})
    assert explorer.told[-1][0]["busy"]
    held.leave.release(2)
    assert explorer.result.prediction.class_index == 3
    assert held.wanted == [1, 3]
    assert explorer.class_index == 3


def test_a_photo_and_its_first_class_cost_one_forward_pass_and_so_does_each_other_class(explorer):
    runs = []
    hook = explorer.classifier.network.register_forward_hook(lambda *_: runs.append(1))
    explorer.photo = "duck"
    assert explorer.wait(PATIENCE)
    assert len(runs) == 1
    other = (explorer.class_index + 1) % 4
    explorer.class_index = other
    assert explorer.wait(PATIENCE)
    assert len(runs) == 2
    hook.remove()
    expected = di.saliency_map(explorer.classifier, di.photo("duck"), other)
    np.testing.assert_array_equal(explorer.result.saliency, expected)


@pytest.mark.parametrize("browser", [False, True])
def test_no_setting_is_lost_while_the_thread_settles_an_older_wish(explorer, browser):
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)  # so that the two threads meet everywhere
    try:
        for k in range(24):
            wanted = {"crops": 10 - 9 * (k % 2), "photo": ("duck", "hens")[k // 2 % 2], "class_index": k % 4}
            for name, value in wanted.items():
                explorer.set_state({name: value}) if browser else setattr(explorer, name, value)
            assert (explorer.result.prediction.class_index, explorer.result.crops) == (k % 4, wanted["crops"])
            assert {name: getattr(explorer, name) for name in wanted} == wanted
            assert explorer._source.image == di.photo(wanted["photo"])
    finally:
        sys.setswitchinterval(before)


def test_ten_crops_that_nobody_waits_for_are_never_begun(explorer, hold):
    held, tens = hold("_line"), hold("saliency_map")
    tens.leave.release(1)
    explorer.set_state({"class_index": 0, "crops": 10})
    held.wait()
    explorer.set_state({"class_index": 1})
    held.leave.release(2)
    assert (explorer.result.prediction.class_index, explorer.result.crops) == (1, 10)
    assert tens.wanted == [1]


def test_close_ends_the_thread(tiny, hold):
    explorer = Saliency(classifier=tiny)
    held = hold("_line")
    explorer.class_index = 2
    held.wait()
    thread = explorer._thread
    explorer.close()
    held.leave.release()
    assert explorer.wait(PATIENCE)
    thread.join(PATIENCE)
    assert not thread.is_alive()


def test_a_page_that_is_opened_later_gets_everything_the_photo_before_its_map(explorer):
    explorer.photo = "duck"
    assert explorer.wait(PATIENCE)
    explorer.told.clear()
    explorer.ask("hello")
    kinds = explorer.kinds()
    assert set(kinds) == {"classes", "photo", "map", "state"}
    assert kinds.index("photo") < kinds.index("map")


def test_an_upload_that_is_no_picture_is_said_and_the_last_photo_stays(explorer):
    before = explorer.result
    explorer.ask("upload", memoryview(b"a letter, not a picture"))
    assert "not a picture" in explorer.message
    assert "The last photo stays." in explorer.message
    assert explorer.result is before
    assert (explorer.photo, "your photo" in explorer.photos) == ("red_panda", False)


def test_an_upload_that_is_still_on_show_after_an_error_is_not_stored(explorer, monkeypatch):
    explorer.show(Image.new("RGB", (40, 30), "red"))
    assert explorer.result is not None
    monkeypatch.setattr(MODULE, "max_abs", lambda w: torch.full((1, SIDE, SIDE), torch.nan))
    explorer.photo = "hens"
    assert explorer.wait(30)
    assert "The last result stays" in explorer.message
    assert "image/png" not in explorer._repr_mimebundle_()[0]


def test_an_uploaded_photo_is_shown_and_never_stored(explorer):
    assert "image/png" in explorer._repr_mimebundle_()[0]
    for colour, label in (("blue", "blue thing"), ("red", "red thing")):  # the second in the place of the first
        explorer.ask("upload", png(colour))
        assert (explorer.photo, explorer.result.prediction.label, explorer.message) == ("your photo", label, "")
        assert explorer.last("photo")[1][0] == SIDE**2 * Image.new("RGB", (1, 1), colour).tobytes()
    assert "image/png" not in explorer._repr_mimebundle_()[0]
    explorer.photo = "hens"
    assert "image/png" in explorer._repr_mimebundle_()[0]


def test_any_image_and_a_prepared_tensor_are_shown(explorer):
    explorer.show(di.photo("duck"))
    assert (explorer.photo, explorer.result.prediction) == ("duck", explorer.classifier.top(di.photo("duck"), 1)[0])
    x = torch.zeros(1, 3, SIDE, SIDE)
    explorer.show(x)
    assert explorer.photo == "your photo"
    assert explorer.result.prediction == explorer.classifier.top(x, 1)[0]


def test_two_side_by_side_do_not_disturb_each_other(explorer, tiny):
    other = Saliency(di.photo("hens"), tiny)
    result, told = other.result, list(other.told)
    explorer.photo = "koala"
    explorer.ask("find", text="green")
    explorer.crops, explorer.strength = 10, 0.1
    assert explorer.result.crops == 10
    assert (other.result, other.told) == (result, told)
    assert (other.photo, other.crops, other.strength) == ("hens", 1, 0.6)
    assert other.class_index == result.prediction.class_index
    other.close()


def test_the_still_picture_shows_photo_map_and_overlay(explorer):
    bundle = explorer._repr_mimebundle_()[0]
    assert bundle["text/plain"] == repr(explorer)
    still, m = explorer.still(), explorer.result.saliency
    assert opened(bundle["image/png"]).size == still.size
    photo = explorer.classifier.picture(explorer.classifier.prepare(di.photo("red_panda")))
    pictures = photo, di.figures.heat_map(m), di.figures.overlay(photo, m, 0.6)
    (top, left), *others = (place(still, each) for each in pictures)
    assert others == [(top, left + k * (SIDE + 8)) for k in (1, 2)]
    words = still.info["Description"].split("; ")
    assert words[0].startswith(f"{explorer.result.prediction.label} (")
    assert [each.split(",")[0].split(":")[0] for each in words[-2:]] == ["map M", "overlay"]


def test_what_cannot_be_shown_at_all_is_an_error_of_the_call(tiny):
    with pytest.raises(TypeError, match="expected a Classifier"):
        di.explore.saliency(classifier=tiny.network)
    with pytest.raises(ValueError, match="not a picture"):
        di.explore.saliency(b"a letter", tiny)
    tiny.network.train()
    with pytest.raises(ValueError, match="training mode"):
        di.explore.saliency(classifier=tiny)


def test_a_network_whose_scores_have_no_gradient_is_an_error_of_the_call():
    class Detached(TwoColours):
        def forward(self, x):
            return super().forward(x.detach())

    with pytest.raises(ValueError, match="no gradient"):
        di.explore.saliency(classifier=di.Classifier(Detached().eval(), LABELS, size=(SIDE, SIDE)))
