"""The localisation lab by its traits and by what a browser sends, without a browser; its maps are shared."""

import importlib
import io

import numpy as np
import pytest
import torch
import traitlets
from explorer_kit import PATIENCE, Held, Noted, alive
from PIL import Image
from still_pictures import opened, place
from torch import nn

import deepinside_edu as di
from deepinside_edu.explorers.localisation import LocalisationExplorer
from deepinside_edu.localise import segment as segment_from
from deepinside_edu.seeds import Seeds

MODULE = importlib.import_module("deepinside_edu.explorers.localisation")
MAPS = {}


@pytest.fixture(scope="module")
def classifier():
    return di.load_classifier()


@pytest.fixture(autouse=True)
def shared_maps(monkeypatch):
    """Keep maps, so that no map is computed for two tests."""

    def remembered(classifier, image, class_index, crops):
        key = (id(classifier), di.images.open_image(image).tobytes(), class_index, crops)
        if key not in MAPS:
            MAPS[key] = di.saliency_map(classifier, image, class_index, crops)
        return MAPS[key]

    monkeypatch.setattr(MODULE, "saliency_map", remembered)


class Lab(Noted, LocalisationExplorer):
    def kinds(self):
        """What has been sent since the last time, in order, each once."""
        assert self.wait(PATIENCE)
        kinds = list(dict.fromkeys(content["kind"] for content, _ in self.told if content["kind"] != "state"))
        self.told = [self.last("state")]
        return kinds

    def array(self, kind, dtype, part=0):
        return np.frombuffer(self.last(kind)[1][part], dtype).reshape(224, 224)

    def stroke(self, discs, side=1, size=9, name="page-1", **content):
        self.ask("stroke", name=name, photo=self._strokes.photo, side=side, size=size, discs=discs, **content)


@pytest.fixture
def lab(classifier):
    with alive(Lab(di.photo("macaw"), classifier)) as explorer:
        yield explorer


def segment(explorer, **options):
    """All steps after the map, by the package's own functions."""
    result = explorer.result
    return segment_from(result.image, result.prediction, result.saliency, **options)


def disc(row, column, size, shape=(224, 224)):
    rows, columns = np.mgrid[: shape[0], : shape[1]]
    return np.hypot(rows - row, columns - column) <= size / 2


def test_it_shows_what_localise_gives(lab, classifier):
    expected = di.localise(classifier, di.photo("macaw").image)
    assert isinstance(lab.result, di.Localisation)
    assert (lab.result.box, lab.result.prediction) == (expected.box, expected.prediction)
    np.testing.assert_array_equal(lab.result.saliency, expected.saliency)
    np.testing.assert_array_equal(lab.result.mask, expected.mask)
    assert lab.result.cut.energy == expected.cut.energy
    assert lab.true_boxes == di.photo("macaw").boxes
    assert lab.iou == di.box_iou(expected.box, di.photo("macaw").boxes[0])


def test_it_opens_in_one_line_on_the_first_photo():
    explorer = di.explore.localisation()
    assert (explorer.photo, explorer.crops, explorer.true_boxes) == ("red_panda", 10, di.photo("red_panda").boxes)
    explorer.close()


def test_everything_that_is_drawn_is_told_as_it_is(lab):
    result = lab.result
    scene = lab.last("scene")[0]
    (rgb,) = lab.last("scene")[1]
    assert rgb == np.asarray(result.picture).tobytes()
    assert (scene["size"], scene["shape"]) == ([224, 224], result.image.size)
    np.testing.assert_array_equal(lab.array("map", np.float32), result.saliency)
    foreground, background = result.seeds
    np.testing.assert_array_equal(lab.array("seeds", np.int8), foreground.astype(int) - background)
    for part, costs in enumerate(result.costs):
        np.testing.assert_array_equal(lab.array("models", np.float32, part), costs.astype(np.float32))
    np.testing.assert_array_equal(lab.array("cut", np.uint8), result.cut.mask.astype(int) + result.mask)
    cut = lab.last("cut")[0]
    width, height = result.image.size
    np.testing.assert_allclose(np.multiply(cut["box"], (width, height, width, height)), result.box)
    np.testing.assert_allclose(np.multiply(scene["boxes"], (width, height, width, height)), lab.true_boxes)
    assert (cut["pixels"], cut["iou"], cut["label"]) == (result.box, lab.iou, "macaw")
    assert f"IoU {lab.iou:.2f} with the true box (at least 0.5: found)" in cut["summary"]
    assert f"{int(foreground.sum()):,} foreground" in cut["summary"]


def test_the_mixtures_are_told_largest_component_first(lab):
    models = lab.result.models
    for told, mixture in zip(lab.last("models")[0]["mixtures"], (models.foreground, models.background), strict=True):
        order = np.argsort(-mixture.weights)
        assert [weight for weight, _ in told] == list(mixture.weights[order])
        np.testing.assert_array_equal([rgb for _, rgb in told], mixture.means[order].round())


def test_the_colours_end_where_those_of_the_figures_do(lab):
    peak = lab.last("map")[0]["peak"]
    levels = np.minimum(255, np.floor(255 * (lab.result.saliency / peak))).astype(int)
    heat = np.frombuffer(lab.palettes, np.uint8)[:768].reshape(256, 3)
    same = (heat[levels] == np.asarray(di.figures.heat_map(lab.result.saliency))).all(2)
    assert same.mean() > 0.999
    costs = lab.result.costs
    difference = (costs.background - costs.foreground) / lab.last("models")[0]["peak"]
    signed = np.frombuffer(lab.palettes, np.uint8)[768:].reshape(255, 3)
    drawn = signed[(127 + 127 * difference.clip(-1, 1)).round().astype(int)]
    expected = di.figures.signed_picture(costs.background - costs.foreground, peak=di.figures.PEAK)
    np.testing.assert_array_equal(drawn, np.asarray(expected))
    assert di.figures.brightest(np.zeros((2, 2))) == 1.0


@pytest.mark.parametrize(
    ("trait", "value"),
    [
        ("foreground", 0.9),
        ("background", 0.5),
        ("blur", 0),
        ("components", 2),
        ("smoothness", 5),
        ("hard_seeds", True),
        ("crops", 1),
    ],
)
def test_every_control_reaches_the_steps(lab, classifier, trait, value):
    before = lab.result
    lab.set_state({trait: value})  # as the browser does
    assert getattr(lab, trait) == value
    expected = di.localise(classifier, di.photo("macaw").image, **{trait: value})
    assert lab.result is not before
    assert (lab.result.box, lab.result.cut.energy) == (expected.box, expected.cut.energy)
    np.testing.assert_array_equal(lab.result.cut.mask, expected.cut.mask)
    assert lab.message == ""


@pytest.mark.parametrize(
    ("trait", "value", "kinds"),
    [
        ("crops", 1, ["map", "seeds", "models", "cut"]),
        ("blur", 0.5, ["seeds", "models", "cut"]),
        ("components", 2, ["models", "cut"]),
        ("smoothness", 5.0, ["cut"]),
        ("photo", "duck", ["classes", "strokes", "scene", "map", "seeds", "models", "cut"]),
    ],
)
def test_only_what_is_new_is_told(lab, trait, value, kinds):
    lab.kinds()
    setattr(lab, trait, value)
    assert lab.kinds() == kinds


@pytest.mark.slow
def test_a_map_is_computed_once(lab, monkeypatch):
    calls, computed = [], MODULE.saliency_map
    monkeypatch.setattr(MODULE, "saliency_map", lambda *args: calls.append(args[2:]) or computed(*args))

    def settled(**traits):
        for trait, value in traits.items():
            setattr(lab, trait, value)
            assert lab.wait(PATIENCE)

    settled(foreground=0.9, background=0.2, components=3, blur=0.5, smoothness=20.0, hard_seeds=True)
    lab.stroke([[3, 4]])
    assert (lab.wait(PATIENCE), calls) == (True, [])
    settled(crops=1)
    assert calls == [(88, 1)]
    settled(crops=10, class_index=87)
    assert calls == [(88, 1), (87, 10)]
    settled(class_index=88, photo="panda")
    settled(photo="macaw")
    assert calls[2:] == [(388, 10)], "maps that were seen before are kept"


def test_no_more_maps_are_kept_than_said(lab, monkeypatch):
    monkeypatch.setattr(MODULE, "MAPS_KEPT", 2)
    lab.crops = 1
    for c in (1, 2, 3):
        lab.class_index = c
        assert lab.wait(PATIENCE)
    assert [c for _, c, _ in lab._maps] == [2, 3]


def test_a_warm_cut_is_the_same_as_a_cold_one(lab, monkeypatch):
    graphs, new = [], MODULE.RepeatedCut
    monkeypatch.setattr(MODULE, "RepeatedCut", lambda *args: graphs.append(args[2]) or new(*args))
    for trait, value in (("foreground", 0.9), ("hard_seeds", True), ("hard_seeds", False), ("class_index", 90)):
        setattr(lab, trait, value)
        assert lab.wait(PATIENCE)
    assert graphs == []
    expected = segment(lab, foreground=0.9)
    np.testing.assert_array_equal(lab.result.cut.mask, expected.cut.mask)
    assert lab.result.cut.energy == expected.cut.energy
    lab.smoothness = 30.0
    assert lab.result.cut.energy == segment(lab, foreground=0.9, smoothness=30.0).cut.energy
    lab.photo = "duck"
    assert lab.wait(PATIENCE)
    assert graphs == [30.0, 30.0]


def test_a_new_photo_starts_at_its_own_first_class(lab):
    lab.class_index = 90
    assert lab.result.prediction.label == "lorikeet"
    lab.photo = "jaguars"
    assert lab.result.prediction.label == "leopard"
    assert (lab.class_index, lab.true_boxes) == (lab.result.prediction.class_index, di.photo("jaguars").boxes)
    assert lab.last("classes")[0]["listed"][0][0] == lab.class_index


def test_any_class_can_be_searched_for(lab):
    lab.ask("find", text="giant panda")
    assert (lab.class_index, lab.result.prediction.label) == (388, "giant panda")
    result = lab.result
    lab.ask("find", text="unicorn")
    assert "unicorn" in lab.message
    assert "stays" in lab.message
    assert lab.result is result
    lab.ask("find", text="388")
    assert (lab.wait(PATIENCE), lab.message) == (True, ""), "the error goes with the next right answer"


def test_a_choice_without_an_answer_keeps_all_of_the_last_result(lab):
    lab.foreground = 0.5
    good = lab.result
    lab.kinds()
    lab.background = 0.9
    assert lab.result is good
    assert "background 0.9" in lab.message
    assert lab.message.endswith("The last result stays.")
    assert lab.kinds() == [], "no half of a result is drawn"
    lab.photo = "hens"
    assert lab.result is good
    assert lab.true_boxes == di.photo("macaw").boxes, "boxes and IoU stay with the photo that is on show"
    assert lab.iou == di.box_iou(good.box, di.photo("macaw").boxes[0])
    assert "macaw" in repr(lab)
    lab.set_state({"background": 0.3, "foreground": 0.95})
    assert lab.result.prediction.label == "hen"
    assert lab.message == ""


def test_a_cut_without_an_object_says_what_can_be_done(lab):
    before = lab.result
    lab.stroke([[112, 112]], side=-1, size=400)
    assert lab.result is before
    assert "the mask is empty" in lab.message
    assert "paint some foreground" in lab.message
    lab.stroke([[50, 60]], side=1, size=9)
    np.testing.assert_array_equal(lab.result.cut.mask, disc(60, 50, 9))
    assert lab.message == ""


def test_an_upload_is_localised_has_no_iou_and_is_never_saved(lab):
    result = lab.result
    assert "image/png" in lab._repr_mimebundle_()[0]
    lab.ask("upload", memoryview(b"no picture"))
    assert "not a picture" in lab.message
    assert "The last photo stays." in lab.message
    assert (lab.photo, lab.result) == ("macaw", result)
    buffer = io.BytesIO()
    di.photo("polar_bear").image.resize((300, 200)).save(buffer, "png")
    lab.ask("upload", memoryview(buffer.getvalue()))
    assert lab.result.image.size == (300, 200)
    assert lab.result.prediction.label == "ice bear"
    assert (lab.photo, lab.true_boxes, lab.iou, lab.message) == ("your photo", (), None, "")
    assert "IoU" not in lab.last("cut")[0]["summary"]
    assert "image/png" not in lab._repr_mimebundle_()[0]
    assert repr(lab).startswith("LocalisationExplorer('your photo', 'ice bear'")
    lab.foreground = 0.5
    assert lab.wait(PATIENCE)
    lab.background = 0.9
    lab.photo = "hens"  # which cannot be localised like this, so the upload is still on show
    assert (lab.photo, lab.result.prediction.label) == ("hens", "ice bear")
    assert "image/png" not in lab._repr_mimebundle_()[0]


def test_an_error_of_the_network_is_said_and_the_result_stays(lab, monkeypatch):
    def unreachable(*_):
        raise ConnectionError("no network. Use the offline one.")

    result = lab.result
    with monkeypatch.context() as patch:
        patch.setattr(di.Classifier, "scores", unreachable)
        lab.photo = "pig"
        assert lab.wait(PATIENCE)
    assert "no network" in lab.message
    assert "The last result stays." in lab.message
    assert (lab.result, lab.true_boxes) == (result, di.photo("macaw").boxes)
    lab.photo = "duck"
    assert lab.result.prediction.label == "goose"
    assert lab.message == ""


def test_a_photo_without_an_answer_says_so_from_the_start(classifier, monkeypatch):
    monkeypatch.setattr(MODULE, "saliency_map", lambda *_: np.zeros((224, 224), np.float32))
    explorer = Lab(Image.new("RGB", (64, 48), "white"), classifier)
    assert explorer.result is None
    assert "the map is constant" in explorer.message
    assert "stays" not in explorer.message
    assert "Error" not in explorer.message, "nothing is tried from where there is nothing"
    assert (explorer.true_boxes, explorer.iou) == ((), None)
    assert "the map is constant" in explorer.still().info["Description"]
    assert repr(explorer) == "LocalisationExplorer('your photo', nothing yet)"
    explorer.close()


def test_what_cannot_be_shown_at_all_is_an_error_of_the_call(classifier):
    with pytest.raises(TypeError, match="expected a Classifier"):
        di.explore.localisation(classifier=classifier.network)
    with pytest.raises(ValueError, match="not a picture"):
        di.explore.localisation(b"a letter", classifier)


def test_other_photos_by_show(lab):
    lab.show(di.photo("polar_bear").image)
    assert (lab.photo, lab.result.prediction.label, lab.true_boxes) == ("your photo", "ice bear", ())
    lab.show(di.photo("duck"))
    assert (lab.photo, lab.true_boxes) == ("duck", di.photo("duck").boxes)


@pytest.mark.parametrize(
    ("trait", "value"),
    [
        ("foreground", 1.0),
        ("background", 0.0),
        ("blur", -1.0),
        ("components", 0),
        ("smoothness", -1.0),
        ("crops", 5),
        ("class_index", 1000),
        ("photo", "macaw.jpg"),
    ],
)
def test_a_wrong_setting_is_an_error_in_python_and_said_in_the_browser(lab, trait, value):
    before, result = getattr(lab, trait), lab.result
    with pytest.raises(traitlets.TraitError):
        setattr(lab, trait, value)
    lab.set_state({trait: value})
    assert "The last setting stays." in lab.message
    assert (getattr(lab, trait), lab.result) == (before, result)


# --- strokes ----------------------------------------------------------------------------------------------------------


def test_strokes_bind_the_cut_and_the_mixtures_do_not_learn_from_them(lab):
    before = lab.result
    outside, inside = np.argwhere(~before.cut.mask)[0], np.argwhere(before.mask)[5000]
    lab.stroke([outside[::-1].tolist()], side=1, size=21)
    lab.stroke([inside[::-1].tolist()], side=-1, size=21)
    wanted = np.zeros((224, 224), np.int8)
    wanted[disc(*outside, 21)] = 1
    wanted[disc(*inside, 21)] = -1
    result = lab.result
    np.testing.assert_array_equal(lab.strokes, wanted)
    assert lab.strokes.dtype == np.int8
    assert result.cut.mask[wanted > 0].all()
    assert not result.cut.mask[wanted < 0].any()
    assert (result.models, result.costs, result.seeds) == (before.models, before.costs, before.seeds)
    expected = di.graph_cut(result.picture, result.costs, lab.smoothness, Seeds(wanted > 0, wanted < 0))
    np.testing.assert_array_equal(result.cut.mask, expected.mask)
    assert result.cut.energy == expected.energy
    np.testing.assert_array_equal(result.mask, di.largest_component(expected.mask))
    np.testing.assert_array_equal(lab.array("strokes", np.int8), wanted)
    assert lab.last("strokes")[0]["counts"] == (int((wanted > 0).sum()), int((wanted < 0).sum()))


def test_a_stroke_overrules_a_hard_seed(lab):
    lab.hard_seeds = True
    seeds = lab.result.seeds
    row, column = np.argwhere(seeds.foreground)[100]
    lab.stroke([[int(column), int(row)]], side=-1, size=15)
    painted = disc(row, column, 15)
    expected = Seeds(seeds.foreground & ~painted, seeds.background | painted)
    result = lab.result
    assert not result.cut.mask[painted].any()
    assert result.cut.mask[expected.foreground].all()
    energy = di.graph_cut(result.picture, result.costs, lab.smoothness, expected).energy
    assert result.cut.energy == energy
    lab.stroke([[int(column), int(row)]], side=1, size=15)
    assert lab.result.cut.mask[painted].all()
    row, column = np.argwhere(seeds.background)[100]
    lab.stroke([[int(column), int(row)]], side=1, size=15)
    assert lab.result.cut.mask[disc(row, column, 15)].all()
    assert lab.message == ""


def test_erase_and_clear_set_free_again(lab):
    free = lab.result.cut
    lab.stroke([[20, 30], [25, 30]], size=11)
    assert lab.strokes.sum() == (disc(30, 20, 11) | disc(30, 25, 11)).sum()
    assert lab.result.cut.energy > free.energy
    lab.stroke([[25, 30]], side=0, size=11)
    np.testing.assert_array_equal(lab.strokes > 0, disc(30, 20, 11) & ~disc(30, 25, 11))
    lab.stroke([], clear=True)
    assert not lab.strokes.any()
    assert lab.result.cut.energy == free.energy
    np.testing.assert_array_equal(lab.result.cut.mask, free.mask)


@pytest.mark.parametrize(("column", "row"), [(-4, 20), (226, 223), (-300, 500), (100, -1)])
def test_a_stroke_outside_the_picture_is_clipped(lab, column, row):
    lab.stroke([[column, row]], size=12)
    np.testing.assert_array_equal(lab.strokes > 0, disc(row, column, 12))
    assert lab.message == ""


@pytest.mark.parametrize(
    "content",
    [
        {"side": 2},
        {"side": None},
        {"size": "big"},
        {"discs": [[1, 2, 3]]},
        {"discs": [[None, 1]]},
        {"size": float("nan")},
    ],
)
def test_a_message_that_is_no_stroke_is_said(lab, content):
    result = lab.result
    lab.ask("stroke", **{"name": "x", "photo": 0, "side": 1, "size": 3, "discs": [[1, 2]], **content})
    assert "The last setting stays." in lab.message
    assert (lab.strokes.any(), lab.result) == (False, result)


def test_strokes_belong_to_their_photo(lab):
    lab.stroke([[20, 30]], name="page-7")
    lab.photo = "duck"
    assert not lab.strokes.any()
    assert (lab.last("scene")[0]["photo"], lab.last("strokes")[0]["after"]) == (1, "page-7")
    lab.ask("stroke", name="page-8", photo=0, side=1, size=9, discs=[[20, 30]])  # drawn on the macaw, come too late
    assert not lab.strokes.any()
    assert lab.last("strokes")[0]["after"] == "page-8", "or the browser would wait for it for ever"
    lab.ask("stroke", name="page-9", photo=1, side=1, size=9, discs=[[20, 30]])
    assert lab.strokes.any()
    assert lab.last("strokes")[0]["after"] == "page-9"
    painted = {"duck": lab.strokes}
    lab.photo = "macaw"  # each photo's own strokes come back with it
    assert (lab.strokes > 0).sum() == disc(30, 20, 9).sum()
    lab.photo = "duck"
    np.testing.assert_array_equal(lab.strokes, painted["duck"])
    np.testing.assert_array_equal(lab.array("strokes", np.int8), painted["duck"])
    for colour in ("red", "blue"):  # each of two own photos is new
        lab.show(Image.new("RGB", (40, 30), colour))
        assert not lab.strokes.any()
        lab.stroke([[20, 30]], name=colour)


def test_strokes_from_python(lab):
    strokes = lab.strokes.copy()
    strokes[:20] = -1
    strokes[100:110, 100:110] = 1
    lab.strokes = strokes
    strokes[:] = 0  # the caller's own
    assert not lab.result.cut.mask[:20].any()
    assert lab.result.cut.mask[100:110, 100:110].all()
    assert (lab.strokes[0, 0], lab.last("strokes")[0]["after"]) == (-1, "")
    with pytest.raises(ValueError, match="read-only"):
        lab.strokes[0, 0] = 0
    for wrong in (np.zeros((3, 3)), strokes + 2, strokes.T[None]):
        with pytest.raises(ValueError, match="expected strokes"):
            lab.strokes = wrong
    assert lab.strokes[0, 0] == -1


def test_the_latest_stroke_wins_and_none_is_lost(lab, monkeypatch):
    held = Held(MODULE.largest_component)
    monkeypatch.setattr(MODULE, "largest_component", held)
    lab.stroke([[0, 0]], size=1)
    held.wait()
    for k in range(1, 30):
        lab.stroke([[4 * k, 0]], size=1, name=f"page-{k}")
    held.leave.release(2)
    assert lab.wait(PATIENCE)
    assert len(held.wanted) == 2
    assert lab.strokes.sum() == 30
    assert lab.result.cut.mask[0, :120:4].all()
    assert lab.last("strokes")[0]["after"] == "page-29"


# --- the rest ---------------------------------------------------------------------------------------------------------


def test_the_latest_class_wins_and_those_between_are_never_computed(lab, monkeypatch):
    held = Held(MODULE.saliency_map, noted=lambda _, __, class_index, ___: class_index)
    monkeypatch.setattr(MODULE, "saliency_map", held)
    lab.crops = 1
    held.wait()
    for c in (1, 2, 3, 387):
        lab.set_state({"class_index": c})
        lab.set_state({"smoothness": 10 + c % 5})
    assert lab.told[-1][0]["busy"]
    held.leave.release(2)
    assert lab.result.prediction.class_index == 387
    assert held.wanted == [88, 387]
    assert lab.result.cut.energy == segment(lab, smoothness=12.0).cut.energy


def test_two_explorers_do_not_disturb_each_other(lab, classifier):
    other = Lab(di.photo("panda"), classifier)
    kept, usual = other.result, other.smoothness
    lab.smoothness, lab.class_index = 0.0, 4
    lab.stroke([[10, 10]])
    lab.photo = "hens"
    assert lab.wait(PATIENCE)
    assert (other.result, other.smoothness, other.class_index) == (kept, usual, 388)
    assert not other.strokes.any()
    other.close()


def test_a_page_that_is_opened_later_gets_everything_and_the_cut_last(lab):
    lab.blur = 2.0
    lab.stroke([[10, 10]])
    assert lab.kinds()
    lab.ask("hello")
    kinds = lab.kinds()
    assert set(kinds) == {"classes", "strokes", "scene", "map", "seeds", "models", "cut"}
    assert kinds[-1] == "cut"


def test_it_stands_without_a_kernel_and_says_the_same_each_time(lab):
    bundle = lab._repr_mimebundle_()[0]
    assert bundle["text/plain"] == repr(lab)
    assert repr(lab) == "LocalisationExplorer('macaw', 'macaw', foreground=0.95, background=0.3)"
    assert len(bundle["image/png"]) < 200_000
    assert bundle["image/png"] == lab._repr_mimebundle_()[0]["image/png"]
    still = lab.still()
    assert opened(bundle["image/png"]).size == still.size
    small = lab.result.image.copy()
    small.thumbnail((160, 160))
    assert place(still, di.figures.seed_picture(small, *lab.result.seeds)) is not None
    assert still.info["Description"].startswith(f"macaw in macaw, IoU {lab.iou:.2f}")


def test_a_network_of_another_size_and_a_prepared_tensor(monkeypatch):
    monkeypatch.setattr(MODULE, "saliency_map", di.saliency_map)
    torch.manual_seed(0)
    layers = (nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(16, 3))
    tiny = di.Classifier(nn.Sequential(*layers).eval(), ("a", "b", "c"), size=(40, 56))
    explorer = Lab(di.photo("macaw"), tiny)
    assert explorer.result.mask.shape == explorer.strokes.shape == (40, 56)
    assert explorer.last("scene")[0]["size"] == [56, 40]
    assert explorer.result.box == di.localise(tiny, di.photo("macaw").image).box
    x = tiny.prepare(di.photo("duck"))
    explorer.crops, explorer.smoothness = 1, 20.0  # in such a small picture a longer border does not pay
    explorer.show(x)
    assert (explorer.result.image.size, explorer.photo) == ((56, 40), "your photo")
    np.testing.assert_array_equal(explorer.result.saliency, di.saliency_map(tiny, x, explorer.class_index, 1))
    explorer.close()


def test_the_stages_depend_on_what_a_wish_begins_with():
    stages = LocalisationExplorer.stages
    assert list(stages) == ["rank", "map", "seed", "model", "stroke", "cut"]
    fields = list(MODULE._Wish._fields)
    at = {stage: 1 + fields.index(field) for stage, field in stages.items()}
    assert fields[: at["map"]] == ["source", "class_index", "crops"]
    assert fields[at["map"] : at["seed"]] == ["foreground", "background", "blur"]
    assert fields[at["seed"] : at["model"]] == ["components"]
    assert at["cut"] == at["stroke"] == len(fields)
