"""Curves of a linear network, whose every point can be worked out on paper."""

import math
from collections.abc import Callable
from itertools import permutations
from typing import Any

import numpy as np
import pytest
import torch
from no_trace import no_trace
from small_networks import kinked_network
from torch import Tensor, nn

from deepinside_edu import Classifier
from deepinside_edu.evaluation.deletion import Curve, deletion_curve, insertion_curve

W = np.array([[4.0, -1.0, 0.5], [1.0, 2.0, -3.0]])


class Linear(nn.Module):
    """Scores (Σ w x, 0) of a grey image of 2×3 pixels."""

    def __init__(self, weights: np.ndarray = W) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.from_numpy(weights))

    def forward(self, x: Tensor) -> Tensor:
        total = (x[:, 0] * self.w).sum((1, 2))
        return torch.stack([total, torch.zeros_like(total)], 1)


def linear(weights: np.ndarray = W) -> Classifier:
    return Classifier(Linear(weights).eval(), ("yes", "no"), (), weights.shape, (0.5,), (0.25,))


def image(values: Any) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)[None, None]


def sigmoid(t: float) -> float:
    return 1 / (1 + math.exp(-t))


X = [[1.0, 2.0, -1.0], [0.5, 1.0, 0.25]]  # contributions w·x: 4, -2, -0.5; 0.5, 2, -0.75: 3.25 in all
ORDER = [[0.9, 0.1, 0.2], [0.8, 0.2, 0.0]]  # first 4, then 0.5, then -0.5 and 2 (equal: reading order), -2, -0.75


def test_deletion_on_paper() -> None:
    curve = deletion_curve(linear(), image(X), 0, ORDER, steps=6)
    np.testing.assert_allclose(curve.shares, np.arange(7) / 6)
    left = [3.25, -0.75, -1.25, -0.75, -2.75, -0.75, 0]
    np.testing.assert_allclose(curve.probabilities, [sigmoid(t) for t in left])
    assert deletion_curve(linear(), image(X), 1, ORDER, steps=6).probabilities == pytest.approx(
        [sigmoid(-t) for t in left]
    )


def test_a_flat_image_has_nothing_to_insert() -> None:
    curve = insertion_curve(linear(), image(np.full((2, 3), 0.5)), 0, ORDER, steps=3)
    assert curve.probabilities == pytest.approx([sigmoid(0.5 * W.sum())] * 4)


def test_insertion_on_paper() -> None:
    x = np.array(X)
    radius, sigma = 3, 0.8  # scipy's Gaussian ends after 4 σ, rounded
    weights = np.exp(-(np.arange(-radius, radius + 1) ** 2) / (2 * sigma**2))
    weights /= weights.sum()

    def blurred(i: int, j: int) -> float:
        """Outside, the image goes on as in a mirror at its edge."""
        around = np.pad(x, radius, mode="symmetric")
        return float(weights @ around[i : i + 2 * radius + 1, j : j + 2 * radius + 1] @ weights)

    now = np.array([[blurred(i, j) for j in range(3)] for i in range(2)])
    expected = [sigmoid((W * now).sum())]
    for pair in ([(0, 0), (1, 0)], [(0, 2), (1, 1)], [(0, 1), (1, 2)]):
        for pixel in pair:
            now[pixel] = x[pixel]
        expected.append(sigmoid((W * now).sum()))
    curve = insertion_curve(linear(), image(X), 0, ORDER, steps=3, blur=sigma)
    np.testing.assert_allclose(curve.probabilities, expected)
    assert curve.probabilities[-1] == pytest.approx(sigmoid(3.25))


@pytest.mark.slow
def test_the_best_order_of_a_linear_network_is_by_contribution() -> None:
    """No order of all 720 has a smaller area than w x, largest first, and none has a larger one than the reverse."""
    contributions = np.array(W) * X
    areas = [
        deletion_curve(linear(), image(X), 0, np.reshape(order, (2, 3)), steps=6).area
        for order in permutations(range(6))
    ]
    assert deletion_curve(linear(), image(X), 0, contributions, steps=6).area == pytest.approx(min(areas))
    assert deletion_curve(linear(), image(X), 0, -contributions, steps=6).area == pytest.approx(max(areas))
    assert min(areas) < max(areas)


def test_equal_values_go_in_reading_order() -> None:
    flat = deletion_curve(linear(), image(X), 0, np.ones((2, 3)), steps=6)
    falling = deletion_curve(linear(), image(X), 0, np.arange(6, 0, -1).reshape(2, 3), steps=6)
    np.testing.assert_array_equal(flat.probabilities, falling.probabilities)


def test_many_equal_values_go_in_reading_order_too() -> None:
    rng = np.random.default_rng(2)
    classifier, x = linear(rng.normal(size=(12, 20)) / 5), image(rng.normal(size=(12, 20)))
    m = rng.integers(0, 3, (12, 20))
    ranks = np.empty(240)
    ranks[sorted(range(240), key=lambda pixel: -m.flat[pixel])] = np.arange(240)  # Python's sort keeps equals in order
    one, other = (deletion_curve(classifier, x, 0, each, 240) for each in (m, -ranks.reshape(12, 20)))
    np.testing.assert_array_equal(one.probabilities, other.probabilities)


def test_steps_that_do_not_divide_the_pixels() -> None:
    curve = deletion_curve(linear(), image(X), 0, ORDER, steps=4)
    np.testing.assert_allclose(curve.shares, [0, 1 / 6, 3 / 6, 4 / 6, 1])
    np.testing.assert_allclose(curve.probabilities, [sigmoid(t) for t in (3.25, -0.75, -0.75, -2.75, 0)])


def test_the_area_is_the_trapezoids() -> None:
    assert Curve(np.array([0, 0.25, 1]), np.array([1, 0.5, 0.1])).area == pytest.approx(0.25 * 0.75 + 0.75 * 0.3)
    p = np.random.default_rng(0).random(11)
    rise = (p.sum() - p[0] / 2 - p[-1] / 2) / 10  # as RISE's own code has it, for equal steps
    assert Curve(np.linspace(0, 1, 11), p).area == pytest.approx(rise)


@pytest.mark.parametrize("curve", [deletion_curve, insertion_curve])
def test_the_curve_does_not_depend_on_the_batch(curve: Any) -> None:
    rng = np.random.default_rng(1)
    classifier, x = kinked_network(), torch.from_numpy(rng.normal(size=(1, 3, 6, 8)))
    m = rng.random((6, 8), np.float32)
    one, *others = (curve(classifier, x, 1, m, 20, batch) for batch in (1, 2, 7, 21, 100))
    for other in others:
        np.testing.assert_allclose(other.probabilities, one.probabilities, rtol=1e-12)
    assert len(one.probabilities) == len(one.shares) == 21
    with torch.no_grad():
        sharp = classifier.scores(x).softmax(1)[0, 1]
    assert one.probabilities[0 if curve is deletion_curve else -1] == pytest.approx(float(sharp))


@pytest.mark.parametrize("curve", [deletion_curve, insertion_curve])
def test_without_a_class_it_is_the_first_of_the_whole_image(curve: Any) -> None:
    for sign in (1, -1):
        x = image(sign * np.array(X))
        top = 0 if sign > 0 else 1
        np.testing.assert_array_equal(
            curve(linear(), x, None, ORDER, 6).probabilities, curve(linear(), x, top, ORDER, 6).probabilities
        )


@pytest.mark.parametrize("curve", [deletion_curve, insertion_curve])
def test_a_curve_leaves_no_trace(curve: Any) -> None:
    classifier, x = kinked_network(), torch.ones(1, 3, 6, 8, dtype=torch.float64, requires_grad=True)
    m = np.random.default_rng(1).random((6, 8))
    with no_trace(classifier.network, x, m):
        curve(classifier, x, 1, m, 4)


@pytest.mark.parametrize("curve", [deletion_curve, insertion_curve])
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"saliency": np.ones((3, 2))}, r"a map of 2×3 like the prepared image, got 3×2"),
        ({"saliency": np.full((2, 3), np.nan)}, "NaN"),
        ({"steps": 0}, "steps from 1 to 6"),
        ({"steps": 7}, "steps from 1 to 6"),
        ({"batch_size": 0}, "batch_size of 1 or more"),
        ({"class_index": 2}, "class index 2"),
    ],
)
def test_bad_input(curve: Any, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        curve(linear(), image(X), **({"class_index": 0, "saliency": ORDER, "steps": 6} | options))


@pytest.mark.parametrize("blur", [0, -1, float("nan")])
def test_without_a_blur_nothing_can_be_inserted(blur: float) -> None:
    with pytest.raises(ValueError, match=r"blur of more than 0|blur from 0 to"):
        insertion_curve(linear(), image(X), 0, ORDER, blur=blur)


def test_steps_are_whole_numbers() -> None:
    with pytest.raises(TypeError, match="float"):
        deletion_curve(linear(), image(X), 0, ORDER, steps=2.5)


@pytest.mark.parametrize("curve", [deletion_curve, insertion_curve])
def test_a_map_in_the_place_of_the_class_is_told(curve: Callable[..., object]) -> None:
    for swapped in (ORDER, torch.from_numpy(np.asarray(ORDER, float))):
        with pytest.raises(TypeError, match=r"class before the map.*Turn the two round"):
            curve(linear(), image(X), swapped, 0)


@pytest.mark.parametrize("option", ["steps", "batch_size", "blur"])
@pytest.mark.parametrize("value", ["5", None, True, [5]])
def test_an_option_of_another_kind_is_named(option: str, value: object) -> None:
    with pytest.raises(TypeError, match=rf"expected a .*number for {option}"):
        insertion_curve(linear(), image(X), 0, ORDER, **{"steps": 2, option: value})


def test_an_image_smaller_than_the_usual_blur_has_a_curve() -> None:
    assert len(insertion_curve(linear(), image(X), 0, ORDER, steps=2).shares) == 3
