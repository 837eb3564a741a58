"""A network that sees four colours, and images of one each, so that what comes out is known; intervals by counting."""

import dataclasses
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from no_trace import no_trace
from PIL import Image
from torch import Tensor, nn

from deepinside_edu import Classifier
from deepinside_edu.evaluation import Dataset, Example
from deepinside_edu.evaluation.deletion import deletion_curve, insertion_curve
from deepinside_edu.evaluation.maps import compute_map
from deepinside_edu.evaluation.measures import Measures, measure_maps
from deepinside_edu.evaluation.pointing import pointing_game

measures = import_module("deepinside_edu.evaluation.measures")

COLOURS = {"red": (230, 20, 25), "green": (20, 230, 25), "blue": (15, 25, 240), "white": (250, 250, 250)}
SIDE = 32


class SeesColours(nn.Module):
    """One score per colour: its share of an image of any size. Where a colour is absent, its gradient is 0."""

    def __init__(self) -> None:
        super().__init__()
        weights = torch.tensor([[2.0, -1, -1], [-1, 2, -1], [-1, -1, 2], [1, 1, 1]])
        self.spots = nn.Conv2d(3, 4, 1)
        self.spots.weight = nn.Parameter(weights[:, :, None, None])
        self.spots.bias = nn.Parameter(torch.tensor([-0.5, -0.5, -0.5, -2.5]))
        self.relu = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        return 10 * self.relu(self.spots(x)).mean((2, 3))


def classifier() -> Classifier:
    return Classifier(SeesColours().eval(), tuple(COLOURS), (), (SIDE, SIDE), (0.0,) * 3, (1.0,) * 3)


def write(folder: Path, name: str, places: dict[str, tuple[int, int, int, int]], scale: int = 1) -> Example:
    """An image of rectangles on grey, which is given in the map's pixels and may be larger."""
    levels = np.full((SIDE, SIDE, 3), 100, np.uint8)
    for colour, (left, top, right, bottom) in places.items():
        levels[top:bottom, left:right] = COLOURS[colour]
    path = folder / f"{name}.png"
    Image.fromarray(levels).resize((SIDE * scale, SIDE * scale), Image.Resampling.NEAREST).save(path)
    boxes = tuple((tuple(edge * scale for edge in box),) for box in places.values())
    return Example(name, path, tuple(places), boxes)  # type: ignore[arg-type]


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    corners = [(2, 2, 8, 8), (24, 2, 31, 8), (2, 24, 8, 30), (25, 25, 30, 31)]
    examples = [write(tmp_path, f"{n} {colour}", {colour: corners[n]}, scale=n + 1) for n, colour in enumerate(COLOURS)]
    return Dataset("colours", tuple(examples))


def test_what_sees_the_colour_points_at_it(dataset: Dataset) -> None:
    found = measure_maps(classifier(), dataset, ["gradient", "centre", "random"], ["grid", "pointing"], tolerance=1)
    assert found.images == ("0 red", "1 green", "2 blue", "3 white")
    assert list(found.values) == ["grid", "pointing"]
    np.testing.assert_array_equal(found.values["pointing"]["gradient"], 1)
    np.testing.assert_array_equal(found.values["pointing"]["centre"], 0)
    # What resizing an image of 96 pixels leaves at an edge may have a little of another colour.
    np.testing.assert_allclose(found.values["grid"]["gradient"], 1, atol=0.02)
    np.testing.assert_allclose(found.values["grid"]["centre"], 0.25, rtol=1e-5)
    np.testing.assert_allclose(found.values["grid"]["random"], 0.25, atol=0.02)


def test_each_value_is_what_its_own_function_says(dataset: Dataset) -> None:
    methods = ["guided", "random", "edges"]
    found = measure_maps(classifier(), dataset, methods, tolerance=2, steps=8, random_state=5)
    for n, example in enumerate(dataset.examples):
        for method in methods:
            with Image.open(example.path) as image:
                m = compute_map(classifier(), image, n, method, random_state=5 + n)
                insertion = insertion_curve(classifier(), image, n, m, 8).area
                deletion = deletion_curve(classifier(), image, n, m, 8).area
            box = tuple(edge // (n + 1) for edge in example.boxes[0][0])
            assert found.values["pointing"][method][n] == pointing_game(m, [box], 2)
            assert found.values["insertion"][method][n] == pytest.approx(insertion)
            assert found.values["deletion"][method][n] == pytest.approx(deletion)


def test_the_maps_are_blurred_if_asked(dataset: Dataset) -> None:
    from scipy import ndimage

    found = measure_maps(classifier(), dataset, ["random"], ["deletion"], steps=4, blur=3)
    m = ndimage.gaussian_filter(compute_map(classifier(), dataset.examples[0].path, 0, "random"), 3)
    assert found.values["deletion"]["random"][0] == pytest.approx(
        deletion_curve(classifier(), dataset.examples[0].path, 0, m, 4).area
    )


def test_an_image_of_two_classes_counts_once(tmp_path: Path, dataset: Dataset) -> None:
    """Red is where no edges are, so it misses; white and its edges are in a corner that both boxes share."""
    places = {"red": (2, 2, 8, 8), "white": (24, 24, 31, 31)}
    both = Dataset("both", (write(tmp_path, "both", places), dataset.examples[1]))
    found = measure_maps(classifier(), both, ["gradient", "edges"], ["pointing"], tolerance=2)
    np.testing.assert_array_equal(found.values["pointing"]["gradient"], [1, 1])
    np.testing.assert_array_equal(found.values["pointing"]["edges"], [0.5, 1])


def test_a_translation_says_which_classes_are_meant(tmp_path: Path, dataset: Dataset) -> None:
    """Of red and white, the one with the highest score counts; a class that the network lacks does not."""
    red, green, blue, white = dataset.examples
    both = write(tmp_path, "both", {"red": (2, 2, 8, 8), "white": (24, 24, 31, 31)})
    theirs = Dataset("theirs", (
        dataclasses.replace(red, classes=("warm or pale",)), dataclasses.replace(green, classes=("unseen",)), blue,
        dataclasses.replace(white, classes=("warm or pale",)), dataclasses.replace(both, classes=("unseen", "white")),
    ))  # fmt: skip
    second = dataclasses.replace(both, classes=("white",), boxes=both.boxes[1:])
    ours = Dataset("ours", (red, blue, white, second))
    translation = {"warm or pale": ("red", "white"), "unseen": ()}
    methods, measures = ["gradient", "edges"], ["pointing", "deletion"]
    found = measure_maps(classifier(), theirs, methods, measures, translation=translation, tolerance=2)
    expected = measure_maps(classifier(), ours, methods, measures, tolerance=2)
    assert found.images == expected.images == ("0 red", "2 blue", "3 white", "both")
    assert (found.left_out, expected.left_out) == (1, 0)
    asked = dataclasses.replace(theirs, left_out=("somebody", "else"))
    assert measure_maps(classifier(), asked, ["edges"], ["pointing"], translation=translation).left_out == 3
    for each in measures:
        for method in methods:
            np.testing.assert_array_equal(found.values[each][method], expected.values[each][method])
    np.testing.assert_array_equal(found.values["pointing"]["gradient"], 1)
    with pytest.raises(ValueError, match=r"0 red \(class 'warm or pale' .*; 3 white"):
        measure_maps(classifier(), theirs, methods, measures, translation={"unseen": ()})
    with pytest.raises(ValueError, match="class 'purple'"):
        measure_maps(classifier(), ours, translation={"warm or pale": ("purple",)})
    with pytest.raises(ValueError, match=r"0 of 1 images of .* cannot be used"):
        measure_maps(classifier(), Dataset("none", theirs.examples[1:2]), translation=translation)


def test_a_grid_has_no_class_twice(tmp_path: Path, dataset: Dataset) -> None:
    """Many reds beside each other would share the map of red."""
    reds = [write(tmp_path, f"red {n}", {"red": (4, 4, 20, 20)}) for n in range(6)]
    many = Dataset("many", (*reds, *dataset.examples[1:]))
    for seed in range(3):
        shares = measure_maps(classifier(), many, ["gradient"], ["grid"], random_state=seed).values["grid"]["gradient"]
        np.testing.assert_allclose(shares, 1, atol=0.02)


def test_the_neighbours_in_a_grid_are_of_different_classes_too(tmp_path: Path, dataset: Dataset) -> None:
    reds = [write(tmp_path, f"red {n}", {"red": (4, 4, 20, 20)}) for n in range(3)]
    with pytest.raises(ValueError, match="no 3 images of other classes to lay beside 1 green"):
        measure_maps(classifier(), Dataset("reds", (dataset.examples[1], *reds)), ["gradient"], ["grid"])


def test_a_seed_gives_the_same_grids_and_another_one_others(dataset: Dataset) -> None:
    one, same, other = (
        measure_maps(classifier(), dataset, ["edges"], ["grid"], random_state=seed).values["grid"]["edges"]
        for seed in (0, 0, 1)
    )
    np.testing.assert_array_equal(one, same)
    assert (one != other).any()  # the same images, at other places, have other edges between them


def test_the_cell_and_the_neighbours_are_drawn(dataset: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[measures.Draw] = []
    draw = measures._draw
    monkeypatch.setattr(measures, "_draw", lambda *given: drawn.append(draw(*given)) or drawn[-1])
    for seed in range(10):
        measure_maps(classifier(), dataset, ["centre"], ["grid"], random_state=seed)
    assert {each.cell for each in drawn} == {0, 1, 2, 3}
    assert [each.images[each.cell] for each in drawn] == 10 * [0, 1, 2, 3], "the one that is told is in its cell"
    assert len({each.images for each in drawn}) > 4


def test_measuring_leaves_no_trace(dataset: Dataset) -> None:
    network = classifier()
    with no_trace(network.network):
        measure_maps(network, dataset, steps=2)


def test_a_grid_needs_four_classes(dataset: Dataset) -> None:
    few = dataclasses.replace(dataset, examples=dataset.examples[:3])
    with pytest.raises(ValueError, match="no 3 images of other classes to lay beside 0 red"):
        measure_maps(classifier(), few)
    assert measure_maps(classifier(), few, ["edges"], ["pointing"]).images == ("0 red", "1 green", "2 blue")


def test_images_that_cannot_be_used_are_named(tmp_path: Path, dataset: Dataset) -> None:
    first = dataset.examples[0]
    bad = (
        dataclasses.replace(first, name="broken", problem="annotation without image"),
        dataclasses.replace(first, name="foreign", classes=("purple",)),
        dataclasses.replace(first, name="boxless", boxes=((),)),
        dataclasses.replace(first, name="classless", classes=(), boxes=()),
        dataclasses.replace(first, name="pathless", path=None),
    )
    with pytest.raises(ValueError, match="5 of 9 images") as caught:
        measure_maps(classifier(), Dataset("bad", (*dataset.examples, *bad)))
    for example in bad:
        assert f"{example.name} (" in str(caught.value)
    with pytest.raises(ValueError, match="0 of 0 images"):
        measure_maps(classifier(), Dataset("empty", ()))


def test_labels_alone_are_enough_without_the_pointing_game(dataset: Dataset) -> None:
    bare = tuple(dataclasses.replace(each, boxes=((),)) for each in dataset.examples)
    found = measure_maps(classifier(), Dataset("bare", bare), ["gradient"], ["grid", "deletion"], steps=2)
    assert list(found.values) == ["grid", "deletion"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"size": (5, 5)}, "0 red: annotated for"),
        ({"boxes": (((40, 40, 50, 50),),)}, r"0 red: box .* lies outside"),
    ],
)
def test_what_is_seen_when_the_image_is_opened(dataset: Dataset, change: dict[str, Any], message: str) -> None:
    first, *others = dataset.examples
    with pytest.raises(ValueError, match=message):
        measure_maps(classifier(), Dataset("bad", (dataclasses.replace(first, **change), *others)))


def test_an_unreadable_image_stops_by_name(dataset: Dataset) -> None:
    path = dataset.examples[2].path
    assert path is not None
    path.write_bytes(b"no picture")
    with pytest.raises(ValueError, match=r"2 blue: .* is not a picture"):
        measure_maps(classifier(), dataset, ["centre"], ["pointing"])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"methods": ["magic"]}, "one or more of gradient"),
        ({"measures": ["iou"]}, "some of pointing, grid"),
        ({"measures": []}, "some of pointing, grid"),
        ({"measures": "grid"}, "some of pointing, grid"),
        ({"blur": -1}, "blur from 0 to"),
    ],
)
def test_bad_options(dataset: Dataset, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        measure_maps(classifier(), dataset, **options)


def test_the_table() -> None:
    values = {
        "pointing": {"gradient": np.array([1.0, 1, 1, 1]), "centre": np.array([1.0, 0, 1, 0])},
        "deletion": {"gradient": np.array([0.2, 0.4, 0.2, 0.4]), "centre": np.array([0.1, 0.3, 0.1, 0.3])},
    }
    table = Measures(("a", "b", "c", "d"), values)
    assert table.estimate("pointing", "gradient") == (1, 1, 1)
    assert table.estimate("pointing", "centre") == (0.5, 0, 1)
    # In each image the two are 0.1 apart, although their intervals overlap.
    assert table.difference("deletion", "gradient", "centre") == pytest.approx((0.1, 0.1, 0.1))
    assert str(table).splitlines() == [
        "          pointing                deletion",
        "gradient  1.000 [1.000, 1.000]    0.300 [0.200, 0.400]",
        "centre    0.500 [0.000, 1.000]    0.200 [0.100, 0.300]",
        "means over 4 images with 95 % bootstrap intervals; for deletion, less is better",
    ]
    less = dataclasses.replace(table, left_out=2)
    assert str(less).endswith("; for deletion, less is better; 2 left out on request")


def test_a_network_of_one_size_is_told_before_anything_is_computed(dataset: Dataset) -> None:
    network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * SIDE * SIDE, 4)).eval()
    fixed = Classifier(network, tuple(COLOURS), size=(SIDE, SIDE))
    with pytest.raises(ValueError, match=r'cannot take a grid of 64×64 pixels.*Leave "grid" out'):
        measure_maps(fixed, dataset, ["edges"], progress=False)
