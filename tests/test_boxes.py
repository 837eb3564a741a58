"""Component, box, overlap and pixels of photo and map against slow answers of our own."""

from collections.abc import Callable
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image

from deepinside_edu.boxes import bounding_box, box_iou, largest_component, mask_iou, to_map, to_photo

SHAPES = st.tuples(st.integers(1, 9), st.integers(1, 9))
MASKS = hnp.arrays(bool, hnp.array_shapes(min_dims=2, max_dims=2, max_side=9)).filter(np.any)


def drawn(text: str) -> np.ndarray:
    return np.array([[character == "#" for character in line] for line in text.split()])


# The largest component


def flood_fill(mask: np.ndarray) -> list[set[tuple[int, int]]]:
    """The components of a mask, 8 neighbours per pixel, in the reading order of their first pixels."""
    left = {(int(y), int(x)) for y, x in np.argwhere(mask)}
    components = []
    for y in range(mask.shape[0]):
        for x in range(mask.shape[1]):
            if (y, x) in left:
                left.remove((y, x))
                component, border = {(y, x)}, [(y, x)]
                while border:
                    v, u = border.pop()
                    for place in [(v + i, u + j) for i in (-1, 0, 1) for j in (-1, 0, 1)]:
                        if place in left:
                            left.remove(place)
                            component.add(place)
                            border.append(place)
                components.append(component)
    return components


@settings(max_examples=200)
@given(MASKS)
def test_largest_component_equals_flood_fill(mask: np.ndarray) -> None:
    expected = max(flood_fill(mask), key=len)  # Python's max takes the first of equals
    kept = mask.copy()
    found = largest_component(mask)
    assert (found.shape, found.dtype) == (mask.shape, bool)
    assert {(int(y), int(x)) for y, x in np.argwhere(found)} == expected
    assert np.array_equal(mask, kept)


def test_largest_component_of_three() -> None:
    mask = drawn("#..##.. #..##.. ....... ..##### #.....#")
    assert np.array_equal(largest_component(mask), drawn("....... ....... ....... ..##### ......#"))


def test_pixels_that_touch_at_a_corner_are_connected() -> None:
    mask = drawn("#...## .#..## ..#... ...#..")
    assert largest_component(mask).sum() == 4
    assert largest_component(drawn("#.... .#.## ..#.. ...## ...##")).all(axis=None) is np.False_
    assert largest_component(drawn("..# .#. #..")).sum() == 3


def test_of_equal_components_the_first_in_reading_order_is_kept() -> None:
    assert np.array_equal(largest_component(drawn("....# .##.# ..... ##...")), drawn("....# ....# ..... ....."))
    assert np.array_equal(largest_component(drawn("...#. #.... #..#.")), drawn("..... #.... #...."))
    # The second one begins farther to the left, but one line lower.
    assert np.array_equal(largest_component(drawn("..... ...## ##... .....")), drawn("..... ...## ..... ....."))


def test_one_component_stays_as_it_is() -> None:
    for mask in (np.ones((3, 4), bool), drawn("... .#. ..."), drawn("### #.# ###"), np.ones((1, 1), bool)):
        assert np.array_equal(largest_component(mask), mask)


# The box


def test_box_worked_out_on_paper() -> None:
    """Columns 2 to 5 and rows 1 to 2: x first, and right and bottom are one further."""
    assert bounding_box(drawn("........ ..#..... ....##.. ........ ........")) == (2, 1, 6, 3)


def test_x_and_y_are_not_swapped() -> None:
    mask = np.zeros((100, 300), bool)
    mask[10:20, 200:290] = True
    assert bounding_box(mask) == (200, 10, 290, 20)


@given(MASKS)
def test_box_equals_pillows_and_numpys(mask: np.ndarray) -> None:
    box = bounding_box(mask)
    assert box == Image.fromarray(mask).getbbox()
    y, x = np.nonzero(mask)
    assert box == (x.min(), y.min(), x.max() + 1, y.max() + 1)
    assert all(type(edge) is int for edge in box)
    left, top, right, bottom = box
    assert mask[top:bottom, left:right].sum() == mask.sum()


@pytest.mark.parametrize("step", [largest_component, bounding_box])
@pytest.mark.parametrize(
    ("mask", "complaint"),
    [
        (np.zeros((3, 4), bool), "empty"),
        (np.zeros((0, 4), bool), "empty"),
        (np.ones((3, 4)), r"boolean mask \(H, W\), got float64"),
        (np.ones((3, 4), np.uint8), r"boolean mask \(H, W\), got uint8"),
        (np.ones(4, bool), r"boolean mask \(H, W\), got bool \(4,\)"),
        (np.ones((1, 3, 4), bool), r"boolean mask \(H, W\), got bool \(1, 3, 4\)"),
    ],
)
def test_masks_without_an_object_are_refused(step: Callable[..., object], mask: np.ndarray, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        step(mask)


# Overlap

BOXES = st.tuples(*[st.integers(0, 12)] * 4).filter(lambda b: b[0] < b[2] and b[1] < b[3])


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        ((0, 0, 10, 10), (0, 0, 10, 10), 1),
        ((0, 0, 10, 10), (5, 0, 15, 10), 50 / 150),
        ((0, 0, 10, 10), (5, 5, 15, 15), 25 / 175),
        ((0, 0, 10, 10), (2, 3, 4, 7), 8 / 100),
        ((0, 0, 10, 10), (0, 0, 10, 5), 0.5),
        ((0, 0, 10, 10), (10, 0, 20, 10), 0),  # they touch: exclusive edges share no pixel
        ((0, 0, 10, 10), (11, 11, 12, 12), 0),
        ((0, 0, 4, 4), (8, 8, 12, 12), 0),  # apart in both directions: not (−4)(−4)
        ((0, 0, 4, 2), (0, 0, 2, 4), 4 / 12),
    ],
)
def test_overlap_worked_out_on_paper(one: tuple, other: tuple, expected: float) -> None:
    assert box_iou(one, other) == pytest.approx(expected, abs=1e-15)


@given(BOXES, BOXES)
def test_overlap_equals_counting_pixels(one: tuple, other: tuple) -> None:
    canvases = np.zeros((2, 12, 12), bool)
    for canvas, (left, top, right, bottom) in zip(canvases, (one, other), strict=True):
        canvas[top:bottom, left:right] = True
    expected = canvases.all(0).sum() / canvases.any(0).sum()
    assert box_iou(one, other) == pytest.approx(expected, abs=1e-15)
    assert box_iou(other, one) == box_iou(one, other)
    assert 0 <= box_iou(one, other) <= 1
    assert (box_iou(one, other) == 1) == (one == other)


@pytest.mark.parametrize("box", [(5, 0, 5, 9), (0, 9, 5, 9), (5, 0, 4, 9), (0, 9, 5, 8)])
def test_boxes_inside_out_are_refused(box: tuple) -> None:
    for pair in ((box, (0, 0, 1, 1)), ((0, 0, 1, 1), box)):
        with pytest.raises(ValueError, match="left < right and top < bottom"):
            box_iou(*pair)


@pytest.mark.parametrize("kind", ["uint8", "int16", "int32", "float32"])
@pytest.mark.parametrize("wrap", [np.array, lambda box, dtype: list(np.array(box, dtype)),
                                  lambda box, dtype: torch.tensor(box, dtype=getattr(torch, dtype))])  # fmt: skip
def test_overlap_of_arrays_with_few_bits_does_not_wrap(wrap: Callable, kind: str) -> None:
    overlap = box_iou(wrap([0, 0, 200, 200], dtype=kind), wrap([0, 0, 150, 100], dtype=kind))
    assert overlap == 15_000 / 40_000  # the second lies within the first
    assert type(overlap) is float


@pytest.mark.parametrize("box", [(), (0, 0, 9), (0, 0, 9, 9, 1), [(0, 0, 9, 9)], np.zeros((1, 4)), None, 9, "0099"])
def test_what_is_no_box_is_refused(box: Any) -> None:
    for pair in ((box, (0, 0, 1, 1)), ((0, 0, 1, 1), box)):
        with pytest.raises(ValueError, match=r"expected a box of four numbers \(left, top, right, bottom\), got"):
            box_iou(*pair)


@given(st.lists(st.booleans(), min_size=12, max_size=12), st.lists(st.booleans(), min_size=12, max_size=12))
def test_mask_iou_is_that_of_the_sets_of_pixels(one: list, other: list) -> None:
    first, second = ({i for i, each in enumerate(mask) if each} for mask in (one, other))
    masks = np.reshape(one, (3, 4)), np.reshape(other, (3, 4))
    if not first | second:
        with pytest.raises(ValueError, match="both masks are empty"):
            mask_iou(*masks)
    else:
        assert mask_iou(*masks) == len(first & second) / len(first | second)


def test_masks_of_two_shapes_are_refused() -> None:
    with pytest.raises(ValueError, match=r"one shape, got \(2, 3\) and \(3, 2\)"):
        mask_iou(np.ones((2, 3), bool), np.ones((3, 2), bool))


# The pixels of photo and map


def boxes_within(limit: int) -> Any:
    corner = st.tuples(st.integers(0, limit - 1), st.integers(0, limit - 1))
    size = st.tuples(st.integers(1, limit), st.integers(1, limit))
    return st.tuples(corner, size).map(lambda b: (*b[0], b[0][0] + b[1][0], b[0][1] + b[1][1]))


@given(boxes_within(40), st.tuples(st.integers(1, 60), st.integers(1, 60)), SHAPES)
def test_boxes_to_map(box: Any, size: tuple[int, int], shape: tuple[int, int]) -> None:
    width, height = size
    if box[0] >= width or box[1] >= height:
        with pytest.raises(ValueError, match="lies outside"):
            to_map(box, size, shape)
        return
    found = to_map(box, size, shape)
    assert 0 <= found[0] < found[2] <= shape[1]
    assert 0 <= found[1] < found[3] <= shape[0]
    scales = (Fraction(shape[1], width), Fraction(shape[0], height)) * 2
    exact = [min(edge, limit) * scale for edge, limit, scale in zip(box, size * 2, scales, strict=True)]
    for axis in (0, 1):
        # Boxes go to the nearest pixel; one that would shrink to nothing keeps a pixel, next to where it was.
        slack = Fraction(1, 2) if found[axis + 2] - found[axis] > 1 else 1
        assert abs(found[axis] - exact[axis]) <= slack
        assert abs(found[axis + 2] - exact[axis + 2]) <= slack


def test_boxes_on_paper() -> None:
    assert to_map((100, 50, 300, 200), (400, 200), (224, 224)) == (56, 56, 168, 224)
    assert to_map((3, 4, 9, 8), (20, 10), (10, 20)) == (3, 4, 9, 8)
    assert to_map((-5, -5, 50, 8), (20, 10), (10, 20)) == (0, 0, 20, 8)
    assert to_map((19, 9, 20, 10), (20, 10), (1, 2)) == (1, 0, 2, 1)
    with pytest.raises(ValueError, match="left < right"):
        to_map((5, 0, 4, 1), (20, 10), (10, 20))
    with pytest.raises(ValueError, match="lies outside"):
        to_map((-5, 0, 0, 1), (20, 10), (10, 20))


@given(boxes_within(9), st.tuples(st.integers(1, 60), st.integers(1, 60)))
def test_boxes_in_photo_pixels(box: Any, size: tuple[int, int]) -> None:
    shape = 18, 18
    left, top, right, bottom = found = to_photo(box, size, shape)
    assert 0 <= left < right <= size[0]
    assert 0 <= top < bottom <= size[1]
    exact = [Fraction(edge * side, 18) for edge, side in zip(box, size * 2, strict=True)]
    for axis in (0, 1):
        slack = Fraction(1, 2) if found[axis + 2] - found[axis] > 1 else 1
        assert abs(found[axis] - exact[axis]) <= slack
        assert abs(found[axis + 2] - exact[axis + 2]) <= slack


@given(boxes_within(20), st.integers(1, 5), st.integers(1, 5))
def test_a_box_comes_back_from_a_larger_photo(box: Any, wider: int, higher: int) -> None:
    size, shape = (40 * wider, 40 * higher), (40, 40)
    assert to_map(to_photo(box, size, shape), size, shape) == box
