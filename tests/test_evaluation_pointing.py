"""Both games against loops over all pixels; boxes and grids against what was laid there."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image

import deepinside_edu as di
from deepinside_edu.evaluation.pointing import grid_share, photo_grid, pointing_game

SHAPES = st.tuples(st.integers(1, 9), st.integers(1, 9))
MAPS = SHAPES.flatmap(lambda shape: arrays(np.float32, shape, elements=st.integers(0, 4).map(float)))


def boxes_within(limit: int) -> Any:
    corner = st.tuples(st.integers(0, limit - 1), st.integers(0, limit - 1))
    size = st.tuples(st.integers(1, limit), st.integers(1, limit))
    return st.tuples(corner, size).map(lambda b: (*b[0], b[0][0] + b[1][0], b[0][1] + b[1][1]))


@given(MAPS, st.lists(boxes_within(12), min_size=1, max_size=3), st.integers(0, 8))
def test_the_pointing_game_by_loops(m: Any, boxes: list, tolerance: int) -> None:
    best = (-1.0, 0, 0)
    for i in range(m.shape[0]):
        for j in range(m.shape[1]):
            if m[i, j] > best[0]:
                best = (m[i, j], i, j)
    hit = any(
        (i - best[1]) ** 2 + (j - best[2]) ** 2 <= tolerance**2
        for left, top, right, bottom in boxes
        for i in range(top, bottom)
        for j in range(left, right)
    )
    assert pointing_game(m, boxes, tolerance) is hit


def test_fifteen_pixels_on_paper() -> None:
    m = np.zeros((60, 80), np.float32)
    m[30, 40] = 1
    assert pointing_game(m, [(55, 30, 60, 31)])  # column 55 is 15 away
    assert not pointing_game(m, [(56, 30, 60, 31)])
    assert pointing_game(m, [(0, 0, 26, 31)])  # columns up to 25
    assert not pointing_game(m, [(0, 0, 25, 31)])
    assert pointing_game(m, [(49, 42, 60, 50)])  # 9² + 12² = 15²
    assert not pointing_game(m, [(50, 42, 60, 50)])  # a square of 15 pixels around it would reach that one
    assert pointing_game(m, [(0, 0, 1, 1), (40, 30, 41, 31)], 0)


def test_the_first_of_equal_maxima_counts() -> None:
    m = np.zeros((4, 5))
    m[1, 4] = m[2, 0] = 7
    assert pointing_game(m, [(4, 1, 5, 2)], 0)
    assert not pointing_game(m, [(0, 2, 1, 3)], 0)
    assert pointing_game(np.ones((4, 5)), [(0, 0, 1, 1)], 0)


@pytest.mark.parametrize(
    ("boxes", "tolerance", "message"),
    [
        ([], 15, "at least one box"),
        ([(0, 0, 1, 1)], -1, "tolerance of 0 or more"),
        ([(0, 0, 1, 1)], float("nan"), "tolerance of 0 or more"),
        ([(2, 0, 2, 1)], 15, "left < right"),
    ],
)
def test_games_that_cannot_be_played(boxes: list, tolerance: float, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        pointing_game(np.eye(3), boxes, tolerance)


def test_a_map_with_nan_points_nowhere() -> None:
    with pytest.raises(ValueError, match="NaN"):
        pointing_game(np.array([[np.nan, 1.0]]), [(0, 0, 1, 1)])


def test_a_grid_in_reading_order() -> None:
    colours = ["red", "lime", "blue", "white"]
    picture, cells = photo_grid([Image.new("RGB", (20, 9 + n), c) for n, c in enumerate(colours)], 8)
    assert picture.size == (16, 16)
    assert cells == ((0, 0, 8, 8), (8, 0, 16, 8), (0, 8, 8, 16), (8, 8, 16, 16))
    for colour, cell in zip(colours, cells, strict=True):
        assert picture.crop(cell).getcolors() == [(64, Image.new("RGB", (1, 1), colour).getpixel((0, 0)))]


def test_a_photo_in_a_grid_is_what_the_network_sees_alone(classifier: di.Classifier) -> None:
    names = ["panda", "red_panda", "tabby", "hens"]
    picture, cells = photo_grid([di.photo(name) for name in names], 224)
    for name, (left, top, right, bottom) in zip(names, cells, strict=True):
        alone = classifier.prepare(di.photo(name))
        assert (classifier.prepare(picture, (448, 448))[:, :, top:bottom, left:right] == alone).all()


@pytest.mark.parametrize(("count", "side"), [(0, 8), (3, 8), (4, 0)])
def test_no_grid(count: int, side: int) -> None:
    with pytest.raises(ValueError, match=r"photos, got [03]\.|expected side of 1 or more, .* got 0"):
        photo_grid([Image.new("RGB", (4, 4))] * count, side)


@given(MAPS, st.data())
def test_the_share_by_loops(m: Any, data: Any) -> None:
    height, width = m.shape
    left, top = data.draw(st.integers(0, width - 1)), data.draw(st.integers(0, height - 1))
    right, bottom = data.draw(st.integers(left + 1, width)), data.draw(st.integers(top + 1, height))
    total = sum(m[i, j] for i in range(height) for j in range(width))
    inside = sum(m[i, j] for i in range(top, bottom) for j in range(left, right))
    share = grid_share(m, (left, top, right, bottom))
    assert share == pytest.approx(inside / total if total else 0)
    assert grid_share(3 * m, (left, top, right, bottom)) == pytest.approx(share)


def test_shares_of_all_cells_are_the_whole() -> None:
    m = np.random.default_rng(0).random((12, 12))
    _, cells = photo_grid([Image.new("RGB", (4, 4))] * 9, 4)
    assert sum(grid_share(m, cell) for cell in cells) == pytest.approx(1)
    assert grid_share(np.ones((12, 12), np.uint8), cells[4]) == pytest.approx(1 / 9)


@pytest.mark.parametrize(
    ("m", "cell"),
    [
        (-np.eye(4), (0, 0, 2, 2)),
        (np.eye(4), (0, 0, 5, 2)),
        (np.eye(4), (0, 0, 2, 5)),
        (np.eye(4), (-1, 0, 2, 2)),
        (np.eye(4), (0, -1, 2, 2)),
        (np.eye(4), (2, 0, 2, 2)),
        (np.eye(4), (0, 2, 2, 2)),
    ],
)
def test_no_share(m: Any, cell: Any) -> None:
    with pytest.raises(ValueError, match="a map of at least 0 and a cell inside"):
        grid_share(m, cell)


def test_large_values_do_not_overflow() -> None:
    assert grid_share(np.full((4, 4), 1e308), (0, 0, 2, 2)) == 0.25


def test_one_box_alone_is_no_list_of_boxes() -> None:
    with pytest.raises(TypeError, match="Put a box into a list"):
        pointing_game(np.eye(4), (0, 0, 1, 1))


def test_boxes_in_the_place_of_the_map_are_told() -> None:
    m = np.ones((6, 8))
    for boxes in (m, 3, [m], [(0, 0, 1)], "box"):
        with pytest.raises(TypeError, match=r"boxes \(left, top, right, bottom\) behind the map"):
            pointing_game(m, boxes)
    with pytest.raises(TypeError, match="behind the map"):
        pointing_game([(0, 0, 1, 1)], m)
    assert pointing_game(m, np.array([[0, 0, 2, 2]]))


@pytest.mark.parametrize("tolerance", ["15", None, True])
def test_a_tolerance_that_is_no_number(tolerance: object) -> None:
    with pytest.raises(TypeError, match="number for tolerance"):
        pointing_game(np.ones((3, 3)), [(0, 0, 1, 1)], tolerance)
