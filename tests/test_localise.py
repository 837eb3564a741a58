"""Component, box and overlap against slow answers of our own; and the whole chain, which keeps every step."""

import dataclasses
import inspect
import io
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from no_trace import no_trace
from PIL import Image, ImageFilter
from test_boxes import flood_fill
from torch import Tensor, nn

from deepinside_edu import (
    Classifier,
    Localisation,
    bounding_box,
    box_iou,
    colour_models,
    graph_cut,
    largest_component,
    load_classifier,
    localise,
    localise_classes,
    photo,
    photos,
    saliency_map,
    seeds,
)
from deepinside_edu.localise import SegmentOptions, segment

# The chain on a network whose answer is known


class Spotter(nn.Module):
    """Its first score grows with red areas, its second with blue ones; faint weights tell all pixels apart."""

    def __init__(self, height: int, width: int) -> None:
        super().__init__()
        rng = np.random.default_rng(0)
        self.colours = nn.Parameter(torch.tensor([[1.0, -1, -1], [-1, -1, 1]])[:, :, None, None])
        self.pixels = nn.Parameter(torch.from_numpy(rng.uniform(1, 1.2, (2, height, width)).astype(np.float32)))
        self.faint = nn.Parameter(torch.from_numpy(rng.uniform(0, 0.1, (2, 3, height, width)).astype(np.float32)))

    def forward(self, x: Tensor) -> Tensor:
        spots = torch.relu(torch.nn.functional.conv2d(x, self.colours, torch.tensor([-0.5, -0.5])))
        return (spots * self.pixels).sum((2, 3)) + torch.einsum("nchw,kchw->nk", x, self.faint)


def spotter(size: tuple[int, int] = (42, 56)) -> Classifier:
    return Classifier(Spotter(*size).eval(), ("red thing", "blue thing"), (), size, (0.0,) * 3, (1.0,) * 3)


RED, BLUE = (0.55, 0.1, 0.9, 0.45), (0.1, 0.6, 0.25, 0.95)


def boxes_in(width: int, height: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Where the red rectangle lies, upper right, and the blue one, lower left."""
    return tuple(tuple(round(e * n) for e, n in zip(b, (width, height) * 2, strict=True)) for b in (RED, BLUE))


def two_things(width: int, height: int) -> Image.Image:
    levels = np.random.default_rng(1).integers(90, 130, (height, width, 3), dtype=np.uint8)
    for (left, top, right, bottom), colour in zip(boxes_in(width, height), ((235, 20, 25), (15, 25, 240)), strict=True):
        levels[top:bottom, left:right] = colour
    return Image.fromarray(levels)


@pytest.mark.parametrize("crops", [1, 10])
@pytest.mark.parametrize("size", [(320, 240), (240, 320), (56, 42), (640, 90), (90, 640), (301, 217), (1600, 1200)])
def test_finds_each_thing_in_the_pixels_of_the_picture(size: tuple[int, int], crops: int) -> None:
    red, blue = localise_classes(spotter(), two_things(*size), [0, 1], crops=crops)
    for found, box in zip((red, blue), boxes_in(*size), strict=True):
        # One cell of the 56×42 grid to either side.
        tolerance = np.array([size[0] / 56, size[1] / 42] * 2) * 1.01 + 0.51
        assert (np.abs(np.subtract(found.box, box)) <= tolerance).all(), (found.box, box)
        assert found.image.size == size
        assert found.mask.shape == (42, 56)
    assert red.box[0] > blue.box[2]
    assert red.box[3] < blue.box[1]


@pytest.mark.parametrize("size", [(2, 2), (2, 3), (3, 2), (5, 4), (2, 900), (900, 2), (1500, 7), (7, 1500)])
def test_box_lies_within_tiny_and_drawn_out_pictures(size: tuple[int, int]) -> None:
    levels = np.full((size[1], size[0], 3), 110, np.uint8)
    levels[size[1] // 2 :, size[0] // 2 :] = (240, 10, 10)
    found = localise(spotter(), Image.fromarray(levels), 0)
    left, top, right, bottom = found.box
    assert 0 <= left < right == size[0]
    assert 0 <= top < bottom == size[1]
    assert box_iou(found.box, (size[0] // 2, size[1] // 2, *size)) >= 0.5


def test_a_mask_of_the_last_cell_alone_is_the_last_pixel_of_a_tiny_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    """55/56 of two pixels rounds to 2, which lies outside."""
    last = np.zeros((42, 56), bool)
    last[-1, -1] = True
    monkeypatch.setattr(import_module("deepinside_edu.localise"), "largest_component", lambda mask: last)
    levels = np.array([[[110, 110, 110], [110, 110, 110]], [[110, 110, 110], [240, 10, 10]]], np.uint8)
    assert localise(spotter(), levels, 0).box == (1, 1, 2, 2)


@settings(max_examples=30)
@given(st.integers(2, 300), st.integers(2, 300), st.integers(0, 10**6))
def test_box_is_the_mask_s_in_the_pixels_of_any_picture(width: int, height: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    small = Image.fromarray(rng.integers(0, 256, (rng.integers(2, 6), rng.integers(2, 6), 3), dtype=np.uint8))
    found = localise(spotter(), small.resize((width, height), Image.Resampling.NEAREST), 0, crops=1, smoothness=3)
    assert all(type(edge) is int for edge in found.box)
    left, top, right, bottom = found.box
    assert 0 <= left < right <= width
    assert 0 <= top < bottom <= height
    rows, columns = np.nonzero(found.mask.any(1))[0], np.nonzero(found.mask.any(0))[0]
    exact = np.array(
        [columns[0] / 56 * width, rows[0] / 42 * height, (columns[-1] + 1) / 56 * width, (rows[-1] + 1) / 42 * height]
    )
    assert np.abs(exact - found.box).max() <= 1
    assert np.abs(exact - found.box).max() <= 0.5 or min(right - left, bottom - top) == 1


def test_grey_pictures_and_grey_networks() -> None:
    class Bright(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            rng = np.random.default_rng(0)
            self.pixels = nn.Parameter(torch.from_numpy(rng.uniform(1, 1.2, (1, 42, 56)).astype(np.float32)))
            self.faint = nn.Parameter(torch.from_numpy(rng.uniform(0, 0.1, (1, 42, 56)).astype(np.float32)))

        def forward(self, x: Tensor) -> Tensor:
            score = (torch.relu(x - 0.5) * self.pixels + x * self.faint).sum((1, 2, 3))[:, None] + 3
            return torch.cat([score, 0 * score], 1)

    classifier = Classifier(Bright().eval(), ("bright thing", "nothing"), (), (42, 56), (0.0,), (1.0,))
    levels = np.random.default_rng(1).integers(40, 80, (210, 280), dtype=np.uint8)
    levels[30:90, 150:250] = 220
    found = localise(classifier, Image.fromarray(levels), 0)
    assert box_iou(found.box, (150, 30, 250, 90)) > 0.8
    assert localise(classifier, levels, 0).box == found.box
    assert localise(classifier, Image.fromarray(levels).convert("RGB"), 0).box == found.box


def test_box_of_a_rotated_photo_is_in_upright_pixels() -> None:
    """Orientation 6: the camera lay on its side; upright is the stored picture turned a quarter to the right."""
    upright = two_things(320, 200)
    stored, exif = upright.transpose(Image.Transpose.ROTATE_90), Image.Exif()
    exif[0x0112] = 6
    file = io.BytesIO()
    stored.save(file, "png", exif=exif)
    found = localise(spotter(), file.getvalue(), 0)
    assert found.image.size == (320, 200)
    assert found.box == localise(spotter(), upright, 0).box
    assert box_iou(found.box, boxes_in(320, 200)[0]) > 0.8


def test_every_form_of_one_picture_gives_the_same_box() -> None:
    source = photo("macaw")
    expected = localise(spotter(), source.image, 0)
    data = source.path.read_bytes()
    for form in (source, source.path, str(source.path), data, io.BytesIO(data), np.asarray(source.image)):
        found = localise(spotter(), form, 0)
        assert found.box == expected.box
        assert np.array_equal(found.mask, expected.mask)


def test_class_by_name_and_by_index_and_the_predicted_one() -> None:
    classifier, picture = spotter(), two_things(320, 240)
    for index, name in enumerate(("red thing", "blue thing")):
        by_index, by_name = localise(classifier, picture, index), localise(classifier, picture, name)
        assert by_index.box == by_name.box
        assert by_index.prediction == by_name.prediction
        assert (by_index.prediction.class_index, by_index.prediction.label) == (index, name)
    best = classifier.top(picture, 1)[0]
    predicted = localise(classifier, picture)
    assert predicted.prediction == best
    assert predicted.box == localise(classifier, picture, best.class_index).box
    for wrong in ("green thing", 2, -1):
        with pytest.raises(ValueError, match=r"no class|out of range"):
            localise(classifier, picture, wrong)
    with pytest.raises(TypeError, match="class index"):
        localise(classifier, picture, 0.5)


def test_the_largest_component_alone_is_boxed() -> None:
    levels = np.asarray(two_things(320, 240)).copy()
    levels[200:225, 130:155] = (235, 20, 25)  # a second, smaller red thing at the bottom
    found = localise(spotter(), levels, 0)
    assert np.array_equal(found.mask, largest_component(found.cut.mask))
    assert found.cut.mask.sum() > found.mask.sum()
    assert box_iou(found.box, boxes_in(320, 240)[0]) > 0.8


def test_hard_seeds_bind_the_cut_and_soft_ones_do_not() -> None:
    levels = np.asarray(two_things(320, 240)).copy()
    options = {"foreground": 0.5, "background": 0.2, "crops": 1, "blur": 0}
    hard, soft = (localise(spotter(), levels, 0, hard_seeds=h, **options) for h in (True, False))
    for each in (hard, soft):
        assert np.array_equal(each.seeds.foreground, seeds(each.saliency, 0.5, 0.2).foreground)
    assert hard.cut.mask[hard.seeds.foreground].all()
    assert not hard.cut.mask[hard.seeds.background].any()
    assert not soft.cut.mask[soft.seeds.foreground].all()
    assert not np.array_equal(hard.cut.mask, soft.cut.mask)


def test_no_object_is_a_clear_error() -> None:
    """With a huge smoothness a small thing is not worth its border; a blur leaves no sharp edge to cut along."""
    blurred = two_things(320, 240).filter(ImageFilter.GaussianBlur(20))
    with pytest.raises(ValueError, match=r"red thing.*empty.*background.*[Ss]moothness"):
        localise(spotter(), blurred, 0, smoothness=1e6)


def test_steps_that_cannot_be_done_are_clear_errors() -> None:
    classifier, picture = spotter(), two_things(320, 240)
    for options, complaint in (
        ({"foreground": 0.2, "background": 0.8}, "background ≤ foreground"),
        ({"foreground": 1.0}, "no pixel is left as foreground"),
        ({"components": 0}, "components from 1 to 250"),
        ({"smoothness": -1}, r"smoothness from 0 to 1000000"),
        ({"crops": 3}, "1 or 10 crops"),
    ):
        with pytest.raises(ValueError, match=complaint), no_trace(classifier.network):
            localise(classifier, picture, 0, **options)
    with pytest.raises(TypeError):
        localise(classifier, picture, 0, smothness=3)
    with pytest.raises(TypeError):
        localise_classes(classifier, picture, [0], smothness=3)
    for one in ("red thing", 0):  # is a list of one class
        (found,) = localise_classes(classifier, picture, one)  # type: ignore[arg-type]
        assert found.box == localise(classifier, picture, 0).box
    with torch.no_grad():
        for parameter in classifier.network.parameters():
            parameter.zero_()
    with pytest.raises(ValueError, match=r"red thing.*constant"):
        localise(classifier, picture, 0)


# The chain on the shipped network and photos


@pytest.fixture(scope="module")
def localised(classifier: Classifier) -> dict[str, Localisation]:
    """Each shipped photo's true class, localised with the defaults."""
    return {p.name: localise(classifier, p, classifier.find(p.wordnet_id)) for p in photos()}


@pytest.mark.slow
def test_finds_most_of_the_shipped_photos_objects(localised: dict[str, Localisation]) -> None:
    """12 of 16 when this bound was set; one less is allowed for another machine's rounding."""
    assert len(localised) == 16
    right = [p.name for p in photos() if max(box_iou(localised[p.name].box, box) for box in p.boxes) >= 0.5]
    assert len(right) >= 11, right


@pytest.mark.slow
def test_keeps_every_step_and_equals_the_steps_by_hand(
    classifier: Classifier, localised: dict[str, Localisation]
) -> None:
    found, image = localised["lemurs"], photo("lemurs").image
    c = classifier.find(photo("lemurs").wordnet_id)
    m = saliency_map(classifier, image, c, crops=10)
    picture = image.resize((224, 224), Image.Resampling.BICUBIC)
    sides = seeds(m, blur=1.5)
    models = colour_models(picture, sides)
    costs = models.costs(picture)
    cut = graph_cut(picture, costs)
    mask = largest_component(cut.mask)
    left, top, right, bottom = bounding_box(mask)
    width, height = image.size
    assert {field.name for field in dataclasses.fields(found)} == {
        "image", "picture", "prediction", "saliency", "seeds", "models", "costs", "cut", "mask", "box"
    }  # fmt: skip
    assert found.image.tobytes() == image.tobytes()
    assert found.picture.tobytes() == picture.tobytes()
    assert found.prediction.class_index == c
    assert found.prediction in classifier.top(image, 1000)
    assert found.saliency.dtype == np.float32
    assert np.array_equal(found.saliency, m)
    assert np.array_equal(found.seeds, sides)
    assert np.array_equal(found.models.foreground.means, models.foreground.means)
    assert np.array_equal(found.models.background.covariances, models.background.covariances)
    assert np.array_equal(found.costs, costs)
    assert np.array_equal(found.cut.mask, cut.mask)
    assert found.cut.energy == cut.energy
    assert np.array_equal(found.mask, mask)
    by_hand = np.array([left * width, top * height, right * width, bottom * height]) / 224
    assert np.abs(np.subtract(found.box, by_hand)).max() <= 0.5
    with pytest.raises(dataclasses.FrozenInstanceError):
        found.box = (0, 0, 1, 1)


@pytest.mark.slow
def test_each_result_is_consistent(localised: dict[str, Localisation]) -> None:
    for name, found in localised.items():
        left, top, right, bottom = found.box
        assert 0 <= left < right <= found.image.width, name
        assert 0 <= top < bottom <= found.image.height, name
        assert found.image.size == photo(name).image.size
        assert found.saliency.shape == found.mask.shape == found.cut.mask.shape == (224, 224)
        assert not (found.mask & ~found.cut.mask).any()
        assert len(flood_fill(found.mask)) == 1
        assert found.prediction.label in repr(found)
        assert str(found.box) in repr(found)


@pytest.mark.slow
def test_draws_itself(localised: dict[str, Localisation]) -> None:
    from matplotlib import pyplot as plt

    for figure in (localised["panda"].figure_2(), localised["panda"].figure_3()):
        assert figure.axes
        plt.close(figure)


@pytest.mark.slow
def test_without_classes_the_five_best_each_as_if_alone(classifier: Classifier) -> None:
    image = photo("red_panda")
    five = localise_classes(classifier, image, crops=1)
    assert tuple(each.prediction for each in five) == classifier.top(image, 5)
    for each in five[:2]:
        alone = localise(classifier, image, each.prediction.class_index, crops=1)
        assert alone.prediction == each.prediction
        np.testing.assert_allclose(alone.saliency, each.saliency, rtol=1e-4, atol=1e-6)
        assert box_iou(alone.box, each.box) > 0.99
    assert localise(classifier, image, crops=1).prediction == five[0].prediction
    some = localise_classes(classifier, image, ["giant panda", 387], crops=1)
    assert [each.prediction.class_index for each in some] == [388, 387]


@pytest.mark.slow
def test_leaves_no_trace() -> None:
    classifier = load_classifier(device="cpu")  # a new one: the shared one may have traces of earlier tests
    image, levels = photo("hens").image, np.asarray(photo("hens").image)
    with no_trace(classifier.network, image, levels):
        localise(classifier, image, 8, crops=1)
        localise_classes(classifier, levels, [8, 7])
    with pytest.raises(ValueError, match="no pixel is left as foreground"), no_trace(classifier.network, image):
        localise(classifier, image, 8, crops=1, foreground=1.0)


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_gives_the_same_within_any_gradient_mode(mode: Callable[[], object]) -> None:
    classifier, picture = spotter(), two_things(320, 240)
    expected = localise(classifier, picture, 0)
    with mode():
        found = localise(classifier, picture, 0)
    assert np.array_equal(found.saliency, expected.saliency)
    assert found.box == expected.box


@pytest.mark.slow
def test_two_threads_give_what_one_gives(classifier: Classifier, localised: dict[str, Localisation]) -> None:
    names = ["panda", "pig", "macaw", "tabby"]

    def work(name: str) -> Localisation:
        return localise(classifier, photo(name), classifier.find(photo(name).wordnet_id))

    with ThreadPoolExecutor(2) as pool:
        for name, found in zip(names, pool.map(work, names), strict=True):
            assert np.array_equal(found.saliency, localised[name].saliency)
            assert np.array_equal(found.mask, localised[name].mask)
            assert found.cut.energy == localised[name].cut.energy
            assert found.box == localised[name].box


@pytest.mark.slow
def test_the_same_call_gives_the_same_bits(classifier: Classifier, localised: dict[str, Localisation]) -> None:
    again = localise(classifier, photo("duck"), localised["duck"].prediction.class_index)
    assert np.array_equal(again.saliency, localised["duck"].saliency)
    assert np.array_equal(again.costs, localised["duck"].costs)
    assert np.array_equal(again.cut.mask, localised["duck"].cut.mask)
    other = localise(classifier, photo("duck"), localised["duck"].prediction.class_index, random_state=1)
    assert np.array_equal(other.saliency, again.saliency)
    assert not np.array_equal(other.costs, again.costs)


@pytest.mark.slow
def test_the_steps_take_the_photo_as_it_is(classifier: Classifier) -> None:
    """A learner who never resizes anything gets what `localise` gives: each step brings the photo to the map's grid."""
    image, c = photo("koala").image, 105
    sides = seeds(saliency_map(classifier, image, c, crops=10), blur=1.5)
    costs = colour_models(image, sides).costs(image)
    soft, hard = graph_cut(image, costs), graph_cut(image, costs, seeds=sides)
    assert np.array_equal(soft.mask, localise(classifier, image, c).cut.mask)
    assert np.array_equal(hard.mask, localise(classifier, image, c, hard_seeds=True).cut.mask)


@pytest.mark.parametrize(
    ("option", "value"),
    [("foreground", "0.9"), ("background", None), ("blur", "1.5"), ("components", "5"), ("components", 5.0),
     ("smoothness", "100"), ("hard_seeds", "no"), ("hard_seeds", 1), ("random_state", 1.5), ("random_state", None),
     ("random_state", np.random.default_rng(0)), ("crops", "10"), ("crops", True)],
)  # fmt: skip
def test_an_option_of_another_kind_is_named(option: str, value: Any) -> None:
    with pytest.raises(TypeError, match=f"expected .* for {option}"):
        localise(spotter(), two_things(320, 240), 0, **{"crops": 1, option: value})


@pytest.mark.parametrize(
    ("option", "value"),
    [("blur", 1e9), ("blur", np.nan), ("components", 10**6), ("smoothness", 1e18), ("smoothness", np.nan),
     ("random_state", -1), ("random_state", 2**64), ("foreground", np.nan), ("crops", 0)],
)  # fmt: skip
def test_an_option_out_of_range_is_named(option: str, value: Any) -> None:
    with pytest.raises(ValueError, match=f"expected .*{option}.* got"):
        localise(spotter(), two_things(320, 240), 0, **{"crops": 1, option: value})


def test_the_options_behind_the_map_are_those_of_segment_everywhere() -> None:
    options = {n: p.default for n, p in inspect.signature(segment).parameters.items() if p.kind is p.KEYWORD_ONLY}
    assert options.keys() == SegmentOptions.__annotations__.keys()
    for function in (localise, localise_classes):
        parameters = inspect.signature(function).parameters
        assert {name: parameters[name].default for name in options} == options
    for function in (localise, localise_classes):
        with pytest.raises(TypeError, match=r"no option smooth; expected some of foreground, .*, smoothness, "):
            function(spotter(), "nowhere.jpg", smooth=3)


@pytest.mark.parametrize("class_index", [None, 0])
def test_a_photo_is_prepared_and_ranked_once(class_index: int | None, monkeypatch: pytest.MonkeyPatch) -> None:
    classifier, prepared, ranked = spotter(), [], []
    prepare, top = Classifier.prepare, Classifier.top

    def count_prepared(self: Classifier, image: Any) -> Tensor:
        prepared.extend([image] * (not isinstance(image, Tensor)))
        return prepare(self, image)

    def count_ranked(self: Classifier, image: Any, k: int) -> Any:
        ranked.append(k)
        return top(self, image, k)

    monkeypatch.setattr(Classifier, "prepare", count_prepared)
    monkeypatch.setattr(Classifier, "top", count_ranked)
    localise(classifier, two_things(56, 42), class_index, crops=1)
    assert (len(prepared), len(ranked)) == (1, 1)
