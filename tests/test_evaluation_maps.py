"""The rules against a backward pass by hand, the baselines against loops and numbers worked out on paper."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from no_trace import no_trace
from small_networks import MEAN, STD, kinked_network, made_of, small, smooth_network
from torch import nn

import deepinside_edu as di
from deepinside_edu.evaluation.maps import BASELINES, METHODS, check_map, compute_map, compute_maps


def noise(height: int = 6, width: int = 8, seed: int = 0) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(seed).normal(size=(1, 3, height, width)))


@pytest.mark.parametrize("class_index", [0, 2, None])
def test_the_gradient_is_the_saliency_map(class_index: int | None) -> None:
    classifier, x = kinked_network(), noise()
    expected = di.saliency_map(classifier, x, class_index)
    m = compute_map(classifier, x, class_index)
    np.testing.assert_allclose(m, expected, rtol=1e-6)
    assert m.dtype == np.float32
    assert m.shape == (6, 8)
    assert m.max() > 0


def test_the_gradient_is_the_saliency_map_of_the_shipped_network(classifier: di.Classifier) -> None:
    photo = di.photo("red_panda").image
    m, expected = compute_map(classifier, photo), di.saliency_map(classifier, photo)
    assert np.abs(m - expected).max() <= 1e-5 * expected.max()


def test_the_rules_by_hand() -> None:
    """Scores = W relu(K ⋆ x + b): down through W, through the ReLU by each rule, through the flipped kernel."""
    classifier, x = small(nn.ReLU()), noise()
    kernel, bias, weights = (
        p.detach() for n, p in classifier.network.named_parameters() if n != "3.bias"
    )  # convolution, its bias, the last layer
    before = torch.nn.functional.conv2d(x, kernel, bias)
    above = weights[1].reshape(before.shape)
    masks = {"gradient": before > 0, "deconvnet": above > 0, "guided": (before > 0) & (above > 0)}
    maps = compute_maps(classifier, x, 1)
    assert list(maps) == list(METHODS)
    for rule, mask in masks.items():
        r = torch.nn.functional.conv_transpose2d(above * mask, kernel)[0].numpy()
        by_hand = [[max(abs(r[c, i, j]) for c in range(3)) for j in range(8)] for i in range(6)]
        np.testing.assert_allclose(maps[rule], by_hand, rtol=1e-5)


def test_three_rules_share_one_forward_pass() -> None:
    runs = []

    def forward(self: Any, x: torch.Tensor) -> torch.Tensor:
        runs.append(len(x))
        return self.relu(self.conv(x))

    classifier = made_of(forward, conv=nn.Conv2d(3, 2, 3), relu=nn.ReLU())
    counts = []
    for methods in (["gradient"], METHODS, BASELINES):
        runs.clear()
        compute_maps(classifier, noise(6, 6), 0, methods)
        counts.append(len(runs))
    assert counts[0] == counts[1] > 0
    assert counts[2] == 0


def test_the_centre_on_paper() -> None:
    m = compute_map(small(size=(4, 8)), noise(4, 8), None, "centre")
    assert m[0, 0] == pytest.approx(math.exp(-(1.5**2 + 1.75**2) / 2))  # 1.5 of 4 quarters down, 3.5 of 8 eighths
    assert m[1, 5] == pytest.approx(math.exp(-(0.5**2 + 0.75**2) / 2))
    np.testing.assert_array_equal(m, m[::-1, ::-1])
    assert np.unravel_index(m.argmax(), m.shape) == (1, 3)
    assert (np.diff(m[:, :4], axis=1) > 0).all()
    assert (np.diff(m[:2], axis=0) > 0).all()


def test_edges_are_sobels() -> None:
    levels = np.random.default_rng(3).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    classifier = small()
    m = compute_map(classifier, levels, 0, "edges")
    red, green, blue = (levels[..., c].astype(float) for c in range(3))
    grey = 0.299 * red + 0.587 * green + 0.114 * blue

    def at(i: int, j: int) -> float:
        return grey[min(max(i, 0), 5), min(max(j, 0), 7)]  # the border pixel goes on outside

    for i in range(6):
        for j in range(8):
            across = sum(w * (at(i + d, j + 1) - at(i + d, j - 1)) for d, w in ((-1, 1), (0, 2), (1, 1)))
            down = sum(w * (at(i + 1, j + d) - at(i - 1, j + d)) for d, w in ((-1, 1), (0, 2), (1, 1)))
            # Grey is rounded to whole levels: each of the eight pixels may be half a level off.
            assert m[i, j] == pytest.approx(math.hypot(across, down), abs=6)


def test_nothing_has_no_edges() -> None:
    assert compute_map(small(), np.full((6, 8, 3), 90, np.uint8), 0, "edges").max() == 0


def test_random_maps_follow_their_seed() -> None:
    classifier, x = small(size=(40, 50)), noise(40, 50)
    one, same, other = (compute_map(classifier, x, 0, "random", seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(one, same)
    assert abs(np.corrcoef(one.ravel(), other.ravel())[0, 1]) < 0.1
    assert one.min() >= 0
    assert one.max() < 1
    assert np.histogram(one, 4, (0, 1))[0] == pytest.approx([500] * 4, rel=0.15)


def test_baselines_ask_nothing_of_the_network() -> None:
    maps = compute_maps(smooth_network(), noise(), None, ["random", "centre", "edges"])
    assert list(maps) == ["random", "centre", "edges"]
    assert all(m.dtype == np.float32 and m.shape == (6, 8) for m in maps.values())


def test_a_map_leaves_no_trace() -> None:
    classifier, x = kinked_network(), noise()
    with no_trace(classifier.network, x):
        compute_maps(classifier, x, 1, METHODS + BASELINES)
    with no_trace(classifier.network, x), pytest.raises(ValueError, match="class index 3"):
        compute_maps(classifier, x, 3)


def test_a_picture_is_prepared() -> None:
    levels = np.random.default_rng(0).integers(0, 256, (12, 10, 3), dtype=np.uint8)
    classifier = kinked_network()
    assert (classifier.mean, classifier.std) == (MEAN, STD)
    for method, m in compute_maps(classifier, levels, 0, METHODS + BASELINES).items():
        np.testing.assert_array_equal(m, compute_map(classifier, classifier.prepare(levels), 0, method))


@pytest.mark.parametrize("methods", [[], ["saliency"], "gradient", ["centre", "centre"]])
def test_methods_that_are_none(methods: Any) -> None:
    with pytest.raises(ValueError, match="one or more of gradient, deconvnet, guided, centre, edges, random"):
        compute_maps(kinked_network(), noise(), 0, methods)


def test_an_unknown_class_is_one_for_baselines_too() -> None:
    with pytest.raises(ValueError, match="class index 9"):
        compute_map(kinked_network(), noise(), 9, "centre")


def test_rules_without_a_meaning() -> None:
    with pytest.raises(ValueError, match="rules for ReLU"):
        compute_map(smooth_network(), noise(), 0, "guided")


def test_a_tensor_is_a_map_whatever_its_precision_and_gradient() -> None:
    m = torch.tensor([[1.0, 0.5], [-2.0, 3.0]])
    for form in (m, m.bfloat16(), m.half(), m.double(), m.clone().requires_grad_(), m.clone().requires_grad_() * 1):
        found = check_map(form)  # type: ignore[arg-type]
        assert (found.dtype, found.tolist()) == (np.float64, [[1.0, 0.5], [-2.0, 3.0]])


def test_truth_values_are_no_map() -> None:
    for mask in (np.eye(2, dtype=bool), torch.eye(2, dtype=torch.bool)):
        with pytest.raises(ValueError, match=r"got truth values\. Pass the map itself"):
            check_map(mask)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "m", [np.zeros(3), np.zeros((0, 3)), np.array([[np.nan]]), np.array([[np.inf]]), np.array([["a"]]), 1j * np.eye(2)]
)
def test_what_is_no_map(m: Any) -> None:
    with pytest.raises(ValueError, match="expected a map"):
        check_map(m)
