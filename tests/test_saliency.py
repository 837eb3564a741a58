"""The straight line that touches a score, its map, and the average over ten crops, against slow answers of our own."""

import copy
import io
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from no_trace import no_trace
from PIL import Image
from small_networks import MEAN, STD, kinked_network, small, smooth_network
from torch import Tensor, nn

from deepinside_edu import (
    Classifier,
    Linearisation,
    backward_ladder,
    class_model,
    linearise,
    load_classifier,
    max_abs,
    photo,
    saliency_map,
    saliency_maps,
)
from deepinside_edu.saliency import forward_pass, linearise_classes, saliency_maps_of_batch


def normal(*shape: int, seed: int = 1) -> Tensor:
    return torch.from_numpy(np.random.default_rng(seed).normal(size=shape))


def differences(score: Callable[[Tensor], Tensor], x: Tensor, coordinates: np.ndarray, step: float) -> np.ndarray:
    """One-sided differences (forwards, backwards) of the score along each coordinate: two columns."""
    steps = torch.zeros(len(coordinates), x.numel(), dtype=x.dtype)
    steps[torch.arange(len(coordinates)), torch.from_numpy(coordinates)] = step
    result = []
    with torch.no_grad():
        here = score(x)[0]
        for shift in steps.view(-1, *x.shape[1:]).split(8):
            ahead, behind = score(x + shift), score(x - shift)
            result.append(torch.stack([ahead - here, here - behind], 1) / step)
    return torch.cat(result).numpy()


def relative_error(found: np.ndarray, expected: np.ndarray) -> float:
    return float(np.linalg.norm(found - expected) / np.linalg.norm(expected))


# w against finite differences


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("class_index", range(3))
def test_w_equals_central_differences_of_a_smooth_network_in_every_coordinate(seed: int, class_index: int) -> None:
    classifier, x = smooth_network(seed=seed), normal(1, 3, 6, 8, seed=seed)
    both = differences(lambda b: classifier.network(b)[:, class_index], x, np.arange(x.numel()), 1e-4)
    w = linearise(classifier, x, class_index).w.flatten().numpy()
    assert np.abs(w).min() > 0
    assert relative_error(both.mean(1), w) <= 1e-6


@pytest.mark.parametrize("class_index", range(3))
def test_w_equals_central_differences_of_a_network_with_kinks(class_index: int) -> None:
    classifier, x = kinked_network(), normal(1, 3, 6, 8)
    both = differences(lambda b: classifier.network(b)[:, class_index], x, np.arange(x.numel()), 1e-6)
    w = linearise(classifier, x, class_index).w.flatten().numpy()
    assert relative_error(both[:, 0], both[:, 1]) < 1e-7, "the step crosses a kink; choose another image"
    assert relative_error(both.mean(1), w) <= 1e-6


@pytest.fixture(scope="module")
def double(classifier: Classifier) -> Classifier:
    """The shipped network in float64."""
    return Classifier(copy.deepcopy(classifier.network).double(), classifier.labels, classifier.wordnet_ids)


@pytest.mark.slow
def test_w_equals_central_differences_of_squeezenet_in_float64(double: Classifier) -> None:
    x = double.prepare(photo("panda"))
    c = double.find("giant panda")
    coordinates = np.random.default_rng(0).choice(x.numel(), 24, replace=False)
    both = differences(lambda b: double.network(b)[:, c], x, coordinates, 1e-5)
    w = linearise(double, x, c).w.reshape(-1).numpy()[coordinates]
    # If a step crosses a kink of a ReLU or of a pool, the two sides differ, so no slope can be measured there.
    straight = np.abs(both[:, 0] - both[:, 1]) < 1e-6 * np.abs(w).max()
    assert straight.sum() >= 20
    assert relative_error(both.mean(1)[straight], w[straight]) <= 1e-6


# The line


@pytest.mark.parametrize("distance", [1e-3, 1.0, 1e3])
def test_the_line_is_exact_on_an_affine_network_however_far(distance: float) -> None:
    affine = small(nn.AvgPool2d(2), nn.Conv2d(4, 2, 1))
    x = normal(1, 3, 6, 8)
    for c in range(3):
        line = linearise(affine, x, c)
        for seed in range(5):
            far = x + distance * normal(1, 3, 6, 8, seed=seed + 10)
            torch.testing.assert_close(line(far), affine.scores(far)[:, c], rtol=1e-12, atol=1e-12 * max(1, distance))


def test_the_line_of_a_curved_network_is_not_exact_far_away() -> None:
    curved, x = smooth_network(), normal(1, 3, 6, 8)
    far = x + normal(1, 3, 6, 8, seed=5)
    assert (linearise(curved, x, 0)(far) - curved.scores(far)[:, 0]).abs() > 1e-2


@pytest.mark.parametrize("build", [smooth_network, kinked_network])
def test_b_is_the_score_less_w_times_x(build: Callable[[], Classifier]) -> None:
    classifier, x = build(), normal(2, 3, 6, 8)
    line = linearise(classifier, x, 1)
    assert isinstance(line, Linearisation)
    assert line.w.shape == x.shape
    for n in range(2):
        score = float(classifier.network(x)[n, 1].detach())
        product = sum(float(a) * float(b) for a, b in zip(line.w[n].flatten(), x[n].flatten(), strict=True))
        assert float(line.score[n]) == pytest.approx(score, rel=1e-12)
        assert float(line.b[n]) == pytest.approx(score - product, rel=1e-10)
    torch.testing.assert_close(line(x), line.score)


def test_the_line_refuses_images_of_another_shape() -> None:
    line = linearise(smooth_network(), normal(1, 3, 6, 8), 0)
    with pytest.raises(ValueError, match=r"\(1, 3, 6, 8\).*\(2, 3, 6, 8\)"):
        line(normal(2, 3, 6, 8))


# Worked out on paper


def by_hand() -> tuple[Classifier, Tensor]:
    """Kernel [[1, −2], [3, 0]], ReLU, then scores [1, 2, −1, 1]·h + 5 and [2, 1, 1, 1]·h; h = [1, 0 (was −1), 4, 2]."""
    network = nn.Sequential(nn.Conv2d(1, 1, 2, bias=False), nn.ReLU(), nn.Flatten(), nn.Linear(4, 2)).eval()
    with torch.no_grad():
        network[0].weight[:] = torch.tensor([[[[1.0, -2.0], [3.0, 0.0]]]])
        network[3].weight[:] = torch.tensor([[1.0, 2.0, -1.0, 1.0], [2.0, 1.0, 1.0, 1.0]])
        network[3].bias[:] = torch.tensor([5.0, 0.0])
    x = torch.tensor([[[[1.0, 0.0, 2.0], [0.0, 1.0, 1.0], [2.0, 1.0, 0.0]]]])
    return Classifier(network, ("five", "zero"), (), (3, 3), (0.5,), (0.5,)), x


def test_single_channel_network_worked_out_on_paper() -> None:
    classifier, x = by_hand()
    first, second = linearise(classifier, x, 0), linearise(classifier, x, 1)
    assert first.w.tolist() == [[[[1, -2, 0], [2, 3, -2], [-3, 3, 0]]]]
    assert (first.score.tolist(), first.b.tolist()) == ([4], [5])
    assert second.w.tolist() == [[[[2, -4, 0], [7, -1, -2], [3, 3, 0]]]]
    assert (second.score.tolist(), second.b.tolist()) == ([8], [0])
    assert saliency_map(classifier, x, 0).tolist() == [[1, 2, 0], [2, 3, 2], [3, 3, 0]]


def test_the_target_class_counts_and_a_missing_one_is_the_predicted() -> None:
    classifier, x = by_hand()
    predicted = [[2, 4, 0], [7, 1, 2], [3, 3, 0]]
    assert saliency_map(classifier, x).tolist() == predicted
    assert saliency_map(classifier, x, 1).tolist() == predicted
    assert saliency_map(classifier, x, 0).tolist() != predicted


def test_three_channel_network_worked_out_on_paper() -> None:
    """One unit per pixel, h = ReLU(r − 3 g + 2 b); the score is 1·h₀₀ + 1·h₀₁ − 1·h₁₀ + ½·h₁₁, and h₀₁ is off."""
    network = nn.Sequential(nn.Conv2d(3, 1, 1, bias=False), nn.ReLU(), nn.Flatten(), nn.Linear(4, 2)).eval()
    with torch.no_grad():
        network[0].weight[:] = torch.tensor([1.0, -3.0, 2.0]).view(1, 3, 1, 1)
        network[3].weight[:] = torch.tensor([[1.0, 1.0, -1.0, 0.5]])
        network[3].bias[:] = 0.25
    x = torch.tensor([[[[1.0, 0.0], [2.0, 3.0]], [[0.0, 1.0], [0.0, 1.0]], [[1.0, 1.0], [1.0, 1.0]]]])
    classifier = Classifier(network, ("one", "like it"), (), (2, 2), MEAN, STD)
    line = linearise(classifier, x, 0)
    assert line.w.tolist() == [[[[1, 0], [-1, 0.5]], [[-3, 0], [3, -1.5]], [[2, 0], [-2, 1]]]]
    assert line.score.tolist() == [3 - 4 + 1 + 0.25]
    assert line.b.tolist() == [0.25]
    # A signed maximum gives [[2, 0], [3, 1]]; |sum| over the channels 0, 0; the sum of |w| 6, 0, 6, 3.
    assert saliency_map(classifier, x, 0).tolist() == [[3, 0], [3, 1.5]]


# max_abs


def test_max_abs_takes_the_absolute_value_first() -> None:
    w = torch.tensor([[[[1.0, -2.0]], [[-4.0, 1.5]], [[3.0, 0.0]]], [[[0.0, -1.0]], [[0.0, -3.0]], [[0.0, -2.0]]]])
    assert max_abs(w).tolist() == [[[4.0, 2.0]], [[0.0, 3.0]]]


def test_max_abs_of_one_channel_is_the_absolute_value() -> None:
    assert max_abs(torch.tensor([[[[1.0, -2.0], [-0.5, 0.0]]]])).tolist() == [[[1.0, 2.0], [0.5, 0.0]]]


@given(hnp.arrays(np.float64, hnp.array_shapes(min_dims=4, max_dims=4, max_side=4), elements=st.floats(-9, 9)))
def test_max_abs_equals_nested_loops(w: np.ndarray) -> None:
    n, channels, height, width = w.shape
    expected = np.zeros((n, height, width))
    for i in range(n):
        for y in range(height):
            for x in range(width):
                for channel in range(channels):
                    value = w[i, channel, y, x]
                    expected[i, y, x] = max(expected[i, y, x], -value if value < 0 else value)
    kept = w.copy()
    assert np.array_equal(max_abs(torch.from_numpy(w)).numpy(), expected)
    assert np.array_equal(w, kept)


@pytest.mark.parametrize("shape", [(3, 4, 5), (4, 5), (1, 1, 3, 4, 5)])
def test_max_abs_refuses_other_numbers_of_dimensions(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"\(N, C, H, W\)"):
        max_abs(torch.zeros(shape))


# Batches and several classes


@pytest.mark.parametrize("build", [smooth_network, kinked_network])
def test_in_a_batch_each_image_has_its_own_line(build: Callable[[], Classifier]) -> None:
    classifier, batch = build(), normal(4, 3, 6, 8)
    together = linearise(classifier, batch, 2)
    assert together.score.shape == together.b.shape == (4,)
    for n in range(4):
        alone = linearise(classifier, batch[n : n + 1], 2)
        torch.testing.assert_close(together.w[n : n + 1], alone.w, rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(together.b[n : n + 1], alone.b, rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(together.score[n : n + 1], alone.score, rtol=1e-12, atol=1e-12)


def test_several_classes_equal_one_by_one(classifier: Classifier) -> None:
    x = classifier.prepare(photo("macaw"))
    chosen = [p.class_index for p in classifier.top(x, 3)][::-1]
    together = linearise_classes(classifier, x, chosen)
    assert len(together) == 3
    for line, c in zip(together, chosen, strict=True):
        alone = linearise(classifier, x, c)
        assert torch.equal(line.score, alone.score)
        torch.testing.assert_close(line.w, alone.w, rtol=1e-5, atol=1e-7)
    assert not torch.equal(together[0].w, together[1].w)


def test_a_run_that_is_kept_gives_the_line_of_any_class_without_another(classifier: Classifier) -> None:
    x = classifier.prepare(photo("duck"))
    runs: list[int] = []
    hook = classifier.network.register_forward_hook(lambda *_: runs.append(1))
    run = forward_pass(classifier, x)
    lines = [run.linearise(97), run.linearise(99), run.linearise(97, keep=False)]
    hook.remove()
    assert len(runs) == 1
    torch.testing.assert_close(run.scores, classifier.scores(x))
    for line, c in zip(lines, (97, 99, 97), strict=True):
        expected = linearise(classifier, x, c)
        for name in ("w", "b", "score"):
            torch.testing.assert_close(getattr(line, name), getattr(expected, name), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("crops", [1, 10])
def test_maps_of_several_classes_equal_one_by_one(crops: int) -> None:
    classifier, x = kinked_network(), normal(1, 3, 6, 8)
    for c, found in zip((2, 0, 1), saliency_maps(classifier, x, [2, 0, 1], crops), strict=True):
        np.testing.assert_allclose(found, saliency_map(classifier, x, c, crops), rtol=1e-6, atol=1e-7)


@pytest.mark.slow
@pytest.mark.parametrize("crops", [1, 10])
def test_maps_of_several_images_equal_one_by_one_each_of_its_own_classes(classifier: Classifier, crops: int) -> None:
    names, classes = ("duck", "panda", "koala"), ([97, 388], [388], [])
    x = torch.cat([classifier.prepare(photo(name)) for name in names])
    found = saliency_maps_of_batch(classifier, x, classes, crops)
    assert [len(maps) for maps in found] == [2, 1, 0]
    for name, some, maps in zip(names, classes, found, strict=True):
        for c, m in zip(some, maps, strict=True):
            expected = saliency_map(classifier, photo(name), c, crops)
            np.testing.assert_allclose(m, expected, rtol=1e-3, atol=1e-5 * expected.max())
    assert saliency_maps_of_batch(classifier, x, [[], [], []], crops) == ((), (), ())
    with pytest.raises(ValueError, match="classes of 3 images, got 1"):
        saliency_maps_of_batch(classifier, x, [[1]], crops)
    with pytest.raises(ValueError, match="class index 1000 is out of range"):
        saliency_maps_of_batch(classifier, x, [[1000], [], []], crops)
    with pytest.raises(TypeError, match="float"):
        saliency_maps_of_batch(classifier, x, [[2.7], [], []], crops)  # type: ignore[list-item]


def test_a_network_in_half_precision_gives_maps_of_single_precision(double: Classifier) -> None:
    half = Classifier(copy.deepcopy(double.network).to(torch.bfloat16), double.labels)
    found = saliency_map(half, photo("duck"), 97)
    assert found.dtype == np.float32
    assert np.corrcoef(found.ravel(), saliency_map(double, photo("duck"), 97).ravel())[0, 1] > 0.9


def test_the_score_is_meant_and_not_its_softmax() -> None:
    """The softmax of 1000 against 0 is flat; the score is not."""
    network = nn.Sequential(nn.Flatten(), nn.Linear(4, 2)).eval()
    with torch.no_grad():
        network[1].weight[:] = torch.tensor([[1.0, -2.0, 3.0, 4.0], [0.0, 1.0, 0.0, 0.0]])
        network[1].bias[:] = torch.tensor([1000.0, 0.0])
    classifier = Classifier(network, ("sure", "never"), (), (2, 2), (0.5,), (0.5,))
    assert linearise(classifier, torch.ones(1, 1, 2, 2), 0).w.flatten().tolist() == [1, -2, 3, 4]
    assert saliency_map(classifier, torch.ones(1, 1, 2, 2), 1).tolist() == [[0, 1], [0, 0]]


def test_w_of_one_class_ignores_its_rivals() -> None:
    classifier, x = smooth_network(), normal(1, 3, 6, 8)
    before = linearise(classifier, x, 0).w
    with torch.no_grad():
        classifier.network[-1].weight[1:] *= -3
    assert torch.equal(linearise(classifier, x, 0).w, before)


# Modes, gradients, traces


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode, torch.enable_grad])
@pytest.mark.parametrize("crops", [1, 10])
def test_gives_the_same_within_any_gradient_mode(mode: Callable[[], object], crops: int) -> None:
    classifier, x = kinked_network(), normal(1, 3, 6, 8)
    line, m = linearise(classifier, x, 1), saliency_map(classifier, x, 1, crops)
    with mode():
        inside, m_inside = linearise(classifier, x, 1), saliency_map(classifier, x, 1, crops)
        made_inside = x.clone()  # in inference mode, this is a tensor that autograd refuses
    assert torch.equal(inside.w, line.w)
    assert torch.equal(inside.b, line.b)
    assert np.array_equal(m_inside, m)
    assert torch.equal(linearise(classifier, made_inside, 1).w, line.w)
    assert not inside.w.is_inference()
    assert not inside.w.requires_grad
    assert not inside.b.requires_grad
    assert not inside.score.requires_grad


def test_weights_that_ask_for_gradients_get_none() -> None:
    classifier = kinked_network()
    assert all(parameter.requires_grad for parameter in classifier.network.parameters())
    linearise(classifier, normal(1, 3, 6, 8), 1)
    saliency_map(classifier, normal(1, 3, 6, 8), 1, 10)
    assert all(parameter.grad is None for parameter in classifier.network.parameters())


def test_gradients_that_were_there_stay_as_they_were() -> None:
    classifier, x = kinked_network(), normal(1, 3, 6, 8).requires_grad_()
    (classifier.network(x)[0, 0] ** 2).backward()
    with no_trace(classifier.network, x):
        linearise(classifier, x, 1)
        saliency_map(classifier, x, 1, 10)


@pytest.mark.slow
@pytest.mark.parametrize("crops", [1, 10])
def test_leaves_no_trace_on_the_shipped_network(crops: int) -> None:
    classifier = load_classifier(device="cpu")  # a new one: the shared one may have traces of earlier tests
    x = classifier.prepare(photo("tabby"))
    picture = photo("tabby").image
    with no_trace(classifier.network, x, picture):
        saliency_map(classifier, x, 281, crops)
        saliency_map(classifier, picture, crops=crops)
        linearise(classifier, x, 281)


class FailsOnBackward(torch.autograd.Function):
    @staticmethod
    def forward(ctx: object, x: Tensor) -> Tensor:
        return x.clone()

    @staticmethod
    def backward(ctx: object, *gradients: Tensor) -> Tensor:
        raise RuntimeError("no way back")


class OneWay(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return FailsOnBackward.apply(x)


@pytest.mark.parametrize("crops", [1, 10])
def test_leaves_no_trace_when_it_raises(crops: int) -> None:
    classifier, x = small(OneWay()), normal(1, 3, 6, 8)
    with pytest.raises(RuntimeError, match="no way back"), no_trace(classifier.network, x):
        saliency_map(classifier, x, 1, crops)
    with pytest.raises(ValueError, match="out of range"), no_trace(classifier.network, x):
        saliency_map(classifier, x, 3, crops)
    broken = x.clone()
    broken[0, 0, 0, 0] = torch.nan
    with pytest.raises(ValueError, match="NaN"), no_trace(classifier.network, broken):
        linearise(classifier, broken, 1)


def test_a_first_layer_in_place_writes_into_nobodys_image() -> None:
    network = nn.Sequential(nn.ReLU(inplace=True), nn.Flatten(), nn.Linear(12, 2)).eval()
    classifier, x = Classifier(network, ("a", "b"), (), (2, 2), MEAN, STD), -torch.ones(1, 3, 2, 2)
    with no_trace(network, x):
        line = linearise(classifier, x, 0)
    assert line.w.abs().max() == 0
    assert line.b.item() == line.score.item()


class Frozen(nn.Module):
    """Features that ask for no gradient in the way of `how`, and a head that does."""

    def __init__(self, how: Callable[[nn.Module, Tensor], Tensor]) -> None:
        super().__init__()
        self.how = how
        self.body = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.head = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.how(self.body, x))


def without(mode: Callable[[], Any]) -> Callable[[nn.Module, Tensor], Tensor]:
    def run(body: nn.Module, x: Tensor) -> Tensor:
        with mode():
            return body(x)

    return run


@pytest.mark.parametrize("trained", [True, False])
@pytest.mark.parametrize("how", [
    without(torch.no_grad), without(torch.inference_mode), lambda body, x: body(x).detach(),
    lambda body, x: body(x.detach()),
])  # fmt: skip
def test_features_that_ask_for_no_gradient_are_told_by_maps_and_ladders(
    how: Callable[[nn.Module, Tensor], Tensor], trained: bool
) -> None:
    torch.manual_seed(0)
    network = Frozen(how).eval().requires_grad_(trained)
    classifier = Classifier(network, ("a", "b", "c"), (), (8, 8))
    x = classifier.noise()
    for ask in (
        lambda: saliency_map(classifier, x, 1), lambda: saliency_map(classifier, x, 1, 10),
        lambda: linearise(classifier, x, 1), lambda: backward_ladder(classifier, x, 1),
        lambda: backward_ladder(classifier, x, 1, "gradient"), lambda: list(class_model(classifier, 1, steps=1)),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=r"not depend on the image.*no_grad\(\).*requires_grad_\(False\)"):
            ask()
    assert len(classifier.top(x)) == 3


# Ten crops


def linear_interpolation(values: np.ndarray, size: int) -> np.ndarray:
    """Enlarge along the last axis, one sample at a time: pixel centres at (i + ½) / size, edges repeated."""
    small = values.shape[-1]
    out = np.zeros((*values.shape[:-1], size))
    for i in range(size):
        place = min(max((i + 0.5) * small / size - 0.5, 0), small - 1)
        low = int(np.floor(place))
        high = min(low + 1, small - 1)
        out[..., i] = values[..., low] * (low + 1 - place) + values[..., high] * (place - low)
    return out


def slow_ten_crops(classifier: Classifier, picture: Image.Image, c: int) -> np.ndarray:
    """Crop, mirror, enlarge, differentiate, un-mirror, lay back, divide by the count: one crop at a time.

    The gradient with respect to the crop's own pixels is that of the enlarged crop times what each of its pixels
    hands to the enlarged ones: the enlargement of a picture with a single 1 in it.
    """
    height, width = classifier.size
    x = classifier.prepare(picture)[0].double().numpy()
    crop_height, crop_width = round(height * 7 / 8), round(width * 7 / 8)
    total, count = np.zeros((height, width)), np.zeros((height, width))
    bottom, right = height - crop_height, width - crop_width
    by_rows = linear_interpolation(np.eye(crop_height), height)  # row i: where crop row i goes
    by_columns = linear_interpolation(np.eye(crop_width), width)
    for top, left in ((0, 0), (0, right), (bottom, 0), (bottom, right), (bottom // 2, right // 2)):
        for mirrored in (False, True):
            crop = np.zeros((3, crop_height, crop_width))
            for i in range(crop_height):
                for j in range(crop_width):
                    crop[:, i, j] = x[:, top + i, left + (crop_width - 1 - j if mirrored else j)]
            wide = linear_interpolation(crop, width)
            large = linear_interpolation(wide.swapaxes(1, 2), height).swapaxes(1, 2)
            leaf = torch.from_numpy(np.ascontiguousarray(large))[None].requires_grad_()
            (w,) = torch.autograd.grad(classifier.network(leaf)[0, c], leaf)
            w = w[0].numpy()
            for i in range(crop_height):
                for j in range(crop_width):
                    handed = np.outer(by_rows[i], by_columns[j])
                    value = max(abs(float((w[channel] * handed).sum())) for channel in range(3))
                    total[top + i, left + (crop_width - 1 - j if mirrored else j)] += value
                    count[top + i, left + (crop_width - 1 - j if mirrored else j)] += 1
    assert count.min() >= 1
    return total / count


def noise_picture(height: int, width: int, seed: int = 0) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8))


@pytest.mark.parametrize(("size", "build"), [((14, 14), kinked_network), ((21, 15), smooth_network)])
def test_ten_crops_equal_the_slow_way(size: tuple[int, int], build: Callable[..., Classifier]) -> None:
    classifier = build(size=size)
    picture = noise_picture(40, 30)
    for c in range(3):
        found = saliency_map(classifier, picture, c, crops=10)
        expected = slow_ten_crops(classifier, picture, c)
        assert found.shape == size
        assert found.std() > 0.05 * found.mean()
        np.testing.assert_allclose(found, expected, rtol=2e-5, atol=2e-5 * expected.max())


@pytest.mark.slow
def test_ten_crops_of_a_prepared_image_enlarge_it(double: Classifier) -> None:
    """A prepared tensor is enlarged in its own precision, a picture before it is rounded: nearly the same maps."""
    picture = photo("koala").image.resize((224, 224), Image.Resampling.BICUBIC)
    from_picture = saliency_map(double, picture, 105, crops=10)
    from_tensor = saliency_map(double, double.prepare(picture), 105, crops=10)
    assert from_tensor.shape == (224, 224)
    assert np.corrcoef(from_picture.ravel(), from_tensor.ravel())[0, 1] > 0.9


def linear_classifier(weights: np.ndarray) -> Classifier:
    """S = Σ weights · x, `(H, W)` in each of three channels: the gradient is the same for every crop."""
    network = nn.Sequential(nn.Flatten(), nn.Linear(3 * weights.size, 2)).double().eval()
    with torch.no_grad():
        network[1].weight[:] = torch.from_numpy(np.stack([weights] * 3).reshape(1, -1))
    return Classifier(network, ("one", "like it"), (), weights.shape, MEAN, STD)


def test_ten_crops_of_a_constant_gradient_show_no_crop() -> None:
    """Each pixel is divided by the crops that saw it: a sum, or a tenth of it, would show the crops' outlines.

    A pixel of a crop hands on (8/7)² of the enlarged one, so the mean is that; the ripple is the interpolation's.
    """
    m = saliency_map(linear_classifier(np.full((56, 112), -0.75)), noise_picture(30, 30), 0, crops=10)
    assert abs(m.mean() / (0.75 * 64 / 49) - 1) < 0.02
    corner, middle = m[:7, :14].mean(), m[20:34, 40:70].mean()
    assert abs(corner / middle - 1) < 0.15


def test_ten_crops_are_mirrored_back() -> None:
    """A network that looks at its left column sees the left of a crop, and of a mirrored one the right."""
    weights = np.zeros((14, 14))
    weights[:, 0] = 1
    m = saliency_map(linear_classifier(weights), noise_picture(30, 30), 0, crops=10)
    np.testing.assert_allclose(m, m[:, ::-1], atol=1e-6)
    assert m[:, -1].min() > 0.1
    middle = m[:, 5:-5]
    assert middle.max() == 0


def test_ten_crops_keep_up_and_down_and_left_and_right_apart() -> None:
    weights = np.zeros((14, 14))
    weights[0] = 1  # the upper row: mirrors leave it there
    m = saliency_map(linear_classifier(weights), noise_picture(30, 30), 0, crops=10)
    assert m[:3].max() > 0.1
    assert m[6:].max() == 0


def test_one_crop_is_the_map_itself(classifier: Classifier) -> None:
    x = classifier.prepare(photo("pig"))
    expected = max_abs(linearise(classifier, x, 341).w)[0].numpy()
    assert np.array_equal(saliency_map(classifier, x, 341), expected)
    assert np.array_equal(saliency_map(classifier, x, 341, crops=1), expected)
    assert not np.array_equal(saliency_map(classifier, x, 341, crops=10), expected)


# What goes in and what comes out


@pytest.mark.parametrize("crops", [1, 10])
@pytest.mark.parametrize("size", [(6, 8), (9, 6), (17, 12)])
def test_map_of_a_network_of_another_size(size: tuple[int, int], crops: int) -> None:
    m = saliency_map(kinked_network(size=size), noise_picture(50, 31), 1, crops)
    assert (m.shape, m.dtype) == (size, np.float32)
    assert np.isfinite(m).all()
    assert m.min() >= 0
    assert m.max() > 0


def test_map_keeps_the_size_of_a_prepared_image(classifier: Classifier) -> None:
    x = classifier.prepare(photo("duck"), (160, 192))
    for crops in (1, 10):
        assert saliency_map(classifier, x, 97, crops).shape == (160, 192)


@pytest.mark.parametrize("crops", [1, 10])
def test_single_channel_network_takes_colour_and_grey_pictures(crops: int) -> None:
    classifier = kinked_network(channels=1, size=(14, 14))
    grey = noise_picture(30, 30).convert("L")
    m = saliency_map(classifier, grey, 0, crops)
    assert m.shape == (14, 14)
    assert m.max() > 0
    assert np.array_equal(m, saliency_map(classifier, grey.convert("RGB"), 0, crops))


@pytest.mark.parametrize("crops", [1, 10])
def test_every_form_of_one_picture_gives_the_same_map(crops: int) -> None:
    classifier = kinked_network(size=(14, 14))
    source = photo("espresso")
    expected = saliency_map(classifier, source, 0, crops)
    data = source.path.read_bytes()
    forms = (source.path, str(source.path), data, io.BytesIO(data), source.image, np.asarray(source.image))
    for form in forms:
        assert np.array_equal(saliency_map(classifier, form, 0, crops), expected), type(form)
    if crops == 1:
        assert np.array_equal(saliency_map(classifier, classifier.prepare(source), 0), expected)


def test_the_same_call_gives_the_same_bits(classifier: Classifier) -> None:
    for crops in (1, 10):
        first = saliency_map(classifier, photo("hens"), 8, crops)
        assert np.array_equal(saliency_map(classifier, photo("hens"), 8, crops), first)


def decisions(classifier: Classifier, x: Tensor) -> dict[str, Tensor]:
    """What a run decides: which units each ReLU lets through, and the place of the maximum in each pooling window."""
    network, found = copy.deepcopy(classifier.network), {}

    def note(name: str) -> Callable[..., None]:
        def hook(module: nn.Module, inputs: tuple[Tensor], output: Tensor) -> None:
            if isinstance(module, nn.ReLU):
                found[name] = output > 0
            else:
                found[name] = nn.functional.max_pool2d(inputs[0], 3, 2, ceil_mode=True, return_indices=True)[1]

        return hook

    for name, module in network.named_modules():
        if isinstance(module, nn.ReLU | nn.MaxPool2d):
            module.register_forward_hook(note(name))
    with torch.no_grad():
        network(x)
    return found


class Repeat(nn.Module):
    """Stands for a ReLU (its mask is boolean) or a pooling (its switches are indices) and repeats what was decided."""

    def __init__(self, decided: Tensor) -> None:
        super().__init__()
        self.decided = decided

    def forward(self, x: Tensor) -> Tensor:
        if self.decided.dtype == torch.bool:
            return x * self.decided
        return x.flatten(2).gather(2, self.decided.flatten(2)).view(self.decided.shape)


def with_decisions_of(classifier: Classifier, decided: dict[str, Tensor]) -> Classifier:
    """The same network with other decisions than its own; what is left of it is affine."""
    network = copy.deepcopy(classifier.network)
    for name, kept in decided.items():
        network.set_submodule(name, Repeat(kept))
    return Classifier(network.eval(), classifier.labels)


@pytest.mark.slow
def test_float32_agrees_with_float64(classifier: Classifier, double: Classifier) -> None:
    """A pixel's gradient depends on about a million yes-or-no decisions, and near zero rounding decides, differently on
    each processor. What holds on all of them: few decisions flip, and with the same decisions all maps agree.
    """
    for name in ("panda", "bison", "macaw", "koala", "tabby"):
        x = classifier.prepare(photo(name))
        c = classifier.top(x, 1)[0].class_index
        found, decided = saliency_map(classifier, x, c), decisions(classifier, x)
        expected = saliency_map(with_decisions_of(double, decided), x.double(), c)
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5 * expected.max())
        exact = decisions(double, x.double())
        flips = sum(int((decided[layer] != exact[layer]).sum()) for layer in exact)
        # Inputs are right to about 1e-6 of their usual size, so only few of a million lie that near to zero.
        assert flips <= 1e-4 * sum(each.numel() for each in exact.values())


@pytest.mark.parametrize("crops", [0, 2, 5, 11, -1, np.int64(9)])
def test_other_numbers_of_crops_are_refused(classifier: Classifier, crops: int) -> None:
    with pytest.raises(ValueError, match=f"1 or 10 crops, got {crops}; the paper averages 10"):
        saliency_map(classifier, photo("pig"), 341, crops)


@pytest.mark.parametrize("crops", [None, "10", 10.0, True])
def test_what_is_no_number_of_crops_is_refused(classifier: Classifier, crops: object) -> None:
    with pytest.raises(TypeError, match="whole number for crops"):
        saliency_map(classifier, photo("pig"), 341, crops)  # type: ignore[arg-type]


def test_wrong_images_and_classes_are_refused(classifier: Classifier) -> None:
    x = torch.zeros(1, 3, 224, 224)
    with pytest.raises(ValueError, match="out of range"):
        linearise(classifier, x, 1000)
    with pytest.raises(ValueError, match="out of range"):
        saliency_map(classifier, x, -1)
    with pytest.raises(ValueError, match=r"\(N, 3, H, W\)"):
        linearise(classifier, torch.zeros(3, 224, 224), 0)
    with pytest.raises(ValueError, match="one prepared image"):
        saliency_map(classifier, torch.zeros(2, 3, 224, 224), 0)
    with pytest.raises(TypeError, match="tensor"):
        linearise(classifier, np.zeros((1, 3, 224, 224), np.float32), 0)


def test_a_network_in_training_mode_is_refused() -> None:
    classifier = kinked_network()
    classifier.network.train()
    with pytest.raises(ValueError, match="training mode"):
        saliency_map(classifier, normal(1, 3, 6, 8), 0)


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_prepared_tensors_may_have_any_number_of_channels(channels: int) -> None:
    """Pictures have one or three; a network of a learner's own may take any tensor."""
    network = nn.Sequential(nn.Flatten(), nn.Linear(channels * 16, 3)).double().eval()
    x, far = torch.randn(2, 2, channels, 4, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    line = linearise(Classifier(network, ("a", "b", "c")), x, 1)
    torch.testing.assert_close(line(far), network(far)[:, 1])


def test_a_wrong_number_of_labels_is_told_at_once_also_by_a_network_of_another_size() -> None:
    network = nn.Sequential(nn.Flatten(), nn.Linear(48, 3)).eval()
    with pytest.raises(ValueError, match="gives 3 scores but there are 2 labels"):
        Classifier(network, ("a", "b"))


def test_what_no_step_can_use_is_refused_with_a_remedy(classifier: Classifier) -> None:
    with pytest.raises(TypeError, match=r"torch\.from_numpy"):
        max_abs(np.zeros((1, 3, 4, 4)))  # type: ignore[arg-type]
    line = linearise(small(), torch.zeros(2, 3, 6, 8, dtype=torch.float64), 1)
    with pytest.raises(ValueError, match="linearise again"):
        line(torch.zeros(1, 3, 6, 8))
    for size in ((0, 0), (5, -1)):
        with pytest.raises(ValueError, match="at least 1×1 pixels"):
            classifier.prepare(photo("pig"), size)


def test_a_gradient_that_float16_cannot_hold_is_refused_and_the_remedy_works() -> None:
    network = torch.nn.Sequential(torch.nn.Conv2d(3, 2, 1), torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten()).eval()
    for weight in network.parameters():
        weight.data.fill_(1e-6)
    half = Classifier(network.half(), ["a", "b"], size=(6, 8))
    with pytest.raises(ValueError, match=r"smaller than float16 can hold. Use network\.float\(\)"):
        saliency_map(half, normal(1, 3, 6, 8), 0)
    found = saliency_map(Classifier(network.float(), ["a", "b"], size=(6, 8)), normal(1, 3, 6, 8), 0)
    assert found.max() == pytest.approx(1e-6 / 48, rel=0.1)
