"""The ascent against paper and pencil, closed forms, finite differences and slow loops of our own."""

import io
import itertools
import math
import threading
from collections.abc import Callable, Sequence
from dataclasses import FrozenInstanceError
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from no_trace import no_trace
from PIL import Image
from scipy.ndimage import gaussian_filter
from small_networks import MEAN, STD, kinked_network, small, smooth_network
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from deepinside_edu import Classifier, DivergedError, Step, class_model, load_classifier, photo
from deepinside_edu.class_model import PRESETS, Recipe
from deepinside_edu.classifier import NotFiniteError

FIXED: dict[str, Any] = {"step_rule": "fixed", "momentum": 0.0}
UNIT: dict[str, Any] = {"step_rule": "unit", "momentum": 0.0}
REGULARISED: dict[str, Any] = UNIT | {
    "jitter": 2, "mirror": True, "samples": 2, "exponent": 0.7, "blur": 0.7, "last_blur": 0.4, "blur_every": 2,
}  # fmt: skip


def linear(
    weights: Sequence[Sequence[float]], bias: Sequence[float] = (), size: tuple[int, int] = (1, 2), dtype=torch.float32
) -> Classifier:
    """S_c = wᵀI + b with a row of weights for each class, on a picture of one channel."""
    network = nn.Sequential(nn.Flatten(), nn.Linear(size[0] * size[1], len(weights))).to(dtype).eval()
    with torch.no_grad():
        network[1].weight[:] = torch.as_tensor(weights, dtype=dtype)
        network[1].bias[:] = torch.as_tensor(bias or [0.0] * len(weights), dtype=dtype)
    return Classifier(network, [f"class {c}" for c in range(len(weights))], (), size, (0.4,), (0.25,))


def normal(*shape: int, seed: int = 1, dtype=torch.float64) -> Tensor:
    return torch.from_numpy(np.random.default_rng(seed).normal(size=shape)).to(dtype)


def climb(classifier: Classifier, classes: Any, preset: str = "paper", **options: Any) -> list[Any]:
    return list(class_model(classifier, classes, preset, **options))


def objective_of(classifier: Classifier, image: Tensor, c: int, weight: float, objective: str = "score") -> float:
    """J of one image, from the network itself: no function of the package takes part."""
    with torch.no_grad():
        scores = classifier.network(image.clone())[0].double().tolist()
    value = scores[c]
    if objective == "probability":
        value = 1 / sum(math.exp(other - scores[c]) for other in scores)
    return value - weight * sum(v * v for v in image.double().flatten().tolist())


def gradient_of(classifier: Classifier, image: Tensor, c: int, weight: float) -> Tensor:
    leaf = image.detach().clone().requires_grad_()
    score = classifier.network(leaf.clone())[0, c]
    return torch.autograd.grad(score, leaf)[0] - 2 * weight * image


def bits(steps: Sequence[Any]) -> list[Any]:
    """Everything that a step tells, to the bit."""
    if steps and isinstance(steps[0], tuple):
        return [bits(step) for step in steps]
    return [
        (s.number, s.class_index, s.image.numpy().tobytes(), s.scores.numpy().tobytes(), s.score, s.probability,
         s.objective) for s in steps
    ]  # fmt: skip


# Worked out on paper: S_0 = 3 x + 4 y + 1, S_1 = −x + 2 y, λ = ½, so ∇J = (3, 4) − I. Every number is exact in binary.


def on_paper(dtype=torch.float32) -> Classifier:
    return linear([[3, 4], [-1, 2]], [1, 0], dtype=dtype)


PAPER: dict[str, Any] = {"regularisation": 0.5}


def test_one_fixed_step_worked_out_on_paper() -> None:
    (step,) = climb(on_paper(), 0, steps=1, step_size=0.5, **FIXED, **PAPER)
    assert isinstance(step, Step)
    assert (step.number, step.class_index) == (1, 0)
    assert step.image.tolist() == [[[[1.5, 2]]]]
    assert step.scores.tolist() == [13.5, 2.5]
    assert step.score == 13.5
    assert step.objective == 10.375  # 13.5 − ½ · 6.25; with the norm itself 12.25, and with λ‖I‖²/2 11.9375
    assert step.probability == pytest.approx(1 / (1 + math.exp(2.5 - 13.5)), rel=1e-6)


def test_three_fixed_steps_worked_out_on_paper() -> None:
    steps = climb(on_paper(), 0, steps=3, step_size=0.5, **FIXED, **PAPER)
    assert [s.image.flatten().tolist() for s in steps] == [[1.5, 2], [2.25, 3], [2.625, 3.5]]
    assert [s.scores.tolist() for s in steps] == [[13.5, 2.5], [19.75, 3.75], [22.875, 4.375]]
    assert [s.objective for s in steps] == [10.375, 12.71875, 13.3046875]


def test_three_steps_with_momentum_worked_out_on_paper() -> None:
    """With w = (3, 4): d = w, 1.4 w, 1.06 w, so I = 0.5 w, 1.2 w, 1.73 w; without a memory 0.5, 0.75, 0.875."""
    steps = climb(on_paper(torch.float64), 0, steps=3, step_size=0.5, step_rule="fixed", momentum=0.9, **PAPER)
    for step, share in zip(steps, (0.5, 1.2, 1.73), strict=True):
        np.testing.assert_allclose(step.image.flatten(), [3 * share, 4 * share], rtol=1e-12)


def test_fixed_steps_from_another_start_worked_out_on_paper() -> None:
    start = torch.tensor([[[[7.0, -4.0]]]])
    (step,) = climb(on_paper(), 0, start=start, steps=1, step_size=0.25, **FIXED, **PAPER)
    assert step.image.tolist() == [[[[6, -2]]]]  # ∇J = (−4, 8)
    assert step.objective == 18 - 8 + 1 - 20


def test_unit_steps_worked_out_on_paper() -> None:
    """Along w/‖w‖ = (0.6, 0.8) by 2.5, 2, 1.5, and then back by 1, as the peak at 5 has been passed."""
    steps = climb(on_paper(torch.float64), 0, steps=4, step_size=2.5, last_step_size=1.0, **UNIT, **PAPER)
    for step, way in zip(steps, (2.5, 4.5, 6.0, 5.0), strict=True):
        np.testing.assert_allclose(step.image.flatten(), [0.6 * way, 0.8 * way], rtol=1e-12)


def test_rising_steps_worked_out_on_paper() -> None:
    """Along w at a distance t from zero J = 5 t + 1 − t²/2, and t = 1 at the start, where J = 5.5.

    10 is too long (J = −4.5), 5 leads to t = 6, J = 13. Then 5.25 back is too long (4.5), 2.625 too (12.2), 1.3125
    leads to 4.6875, J = 13.451. Then 1.378125 (12.93) and half of it (13.429) are too long, 0.34453125 leads to
    5.03203125.
    """
    start = torch.tensor([[[[0.0, 1.0]]]], dtype=torch.float64)  # along w, so that every length is exact
    along = linear([[0, 5], [-1, 2]], [1, 0], dtype=torch.float64)
    steps = climb(along, 0, start=start, steps=3, step_size=10.0, momentum=0.0, **PAPER)
    for step, way in zip(steps, (6, 4.6875, 5.03203125), strict=True):
        np.testing.assert_allclose(step.image.flatten(), [0, way], rtol=1e-12)
        assert step.objective == pytest.approx(5 * way + 1 - way * way / 2, rel=1e-12)


def test_the_score_is_climbed_and_not_the_probability_unless_it_is_asked_for() -> None:
    """From the same start: S_0 rises along (3, 4); P_0 along that less the rival's (−1, 2), so it goes (4, 2)'s way."""
    by_score, by_probability = (
        climb(on_paper(torch.float64), 0, steps=1, step_size=1, objective=objective, regularisation=0, **UNIT)[
            0
        ].image.flatten()
        for objective in ("score", "probability")
    )
    np.testing.assert_allclose(by_score, [0.6, 0.8], rtol=1e-12)
    np.testing.assert_allclose(by_probability, np.array([4, 2]) / math.sqrt(20), rtol=1e-12)


# Closed form: on a linear network the optimum is w / 2λ, and J* = ‖w‖² / 4λ + b

weights = st.lists(st.floats(-4, 4, width=16), min_size=6, max_size=6).filter(lambda w: max(map(abs, w)) > 0.1)


@given(weights, st.floats(-3, 3), st.sampled_from([0.02, 0.1, 0.5, 2.0]), st.sampled_from(["zero", "noise"]))
def test_both_rules_find_the_optimum_of_a_linear_network(w: list[float], b: float, weight: float, start: str) -> None:
    classifier = linear([[1, 1, 1, 1, 1, 1], w], [0, b], (2, 3), torch.float64)
    best, peak = np.array(w) / (2 * weight), sum(v * v for v in w) / (4 * weight) + b
    for options in (FIXED | {"step_size": 0.35 / weight, "steps": 30}, {"steps": 150}):
        for step in class_model(classifier, 1, start=start, regularisation=weight, **options):
            # J falls short of its peak by λ times the squared distance from the optimum.
            distance = float(np.linalg.norm(step.image.numpy().ravel() - best))
            assert peak - step.objective == pytest.approx(weight * distance**2, rel=1e-9, abs=1e-9 * (1 + abs(peak)))
            if distance < 1e-3 * np.linalg.norm(best) + 1e-3:
                break  # to make sure that nothing is higher still takes a thousand passes
        else:
            pytest.fail(f"the ascent ended {distance} from the optimum")


def test_without_a_regularisation_the_image_grows_without_end() -> None:
    steps = climb(on_paper(torch.float64), 0, steps=50, regularisation=0, start=torch.ones(1, 1, 1, 2))
    lengths = [float(s.image.norm()) for s in steps]
    assert lengths[-1] > 500
    assert all(s.objective == s.score for s in steps)


def test_usual_penalties_are_those_that_the_recipe_documents() -> None:
    for objective, weight in (("score", 0.03), ("probability", 0.001)):
        assert Recipe(objective=objective).penalty == weight
        step = climb(on_paper(torch.float64), 0, objective=objective, steps=1, step_size=7.0)[0]
        value = step.score if objective == "score" else step.probability
        assert step.objective == pytest.approx(value - weight * float(step.image.square().sum()), rel=1e-12)
    assert Recipe(regularisation=0).penalty == 0
    assert Recipe(regularisation=0.3, objective="probability").penalty == 0.3


# ∇J = ∂S_c/∂I − 2λI against finite differences of J


@pytest.mark.parametrize("objective", ["score", "probability"])
@pytest.mark.parametrize("build", [smooth_network, kinked_network])
@pytest.mark.parametrize("c", range(3))
def test_the_gradient_equals_central_differences(build: Callable[..., Classifier], objective: str, c: int) -> None:
    classifier, x, weight, shift = build(seed=2), 0.5 * normal(1, 3, 6, 8, seed=3), 0.37, 1e-5
    options = FIXED | {"objective": objective, "regularisation": weight}
    (step,) = climb(classifier, c, start=x, steps=1, step_size=0.125, **options)
    found = ((step.image - x) / 0.125).flatten().numpy()
    expected = np.zeros(x.numel())
    for i in range(x.numel()):
        ahead, behind = x.clone(), x.clone()
        ahead.view(-1)[i] += shift
        behind.view(-1)[i] -= shift
        values = [objective_of(classifier, each, c, weight, objective) for each in (ahead, behind)]
        expected[i] = (values[0] - values[1]) / (2 * shift)
    assert np.linalg.norm(found - expected) <= 1e-6 * np.linalg.norm(expected)


# Loops of our own


def test_fixed_steps_on_the_shipped_network_equal_three_lines(classifier: Classifier) -> None:
    x, c = classifier.prepare(photo("panda")), 130
    steps = class_model(classifier, c, start=x, steps=3, regularisation=0.01, step_size=10.0, **FIXED)
    for step in steps:
        leaf = x.clone().requires_grad_()
        (w,) = torch.autograd.grad(classifier.network(leaf)[0, c], leaf)
        x = x + 10 * (w - 2 * 0.01 * x)
        torch.testing.assert_close(step.image, x, rtol=1e-6, atol=1e-6)
    assert step.number == 3


def slow_rise(classifier: Classifier, x: Tensor, c: int, size: float, weight: float, momentum: float) -> Any:
    """The rule as the recipe documents it, one image, plain numbers: what happened, and where it led."""
    here, d = objective_of(classifier, x, c, weight), torch.zeros_like(x)
    g = gradient_of(classifier, x, c, weight)
    while True:
        d = momentum * d + g
        failed = 0
        while True:
            if failed == 3:
                d = g
            ahead = x + size * d / float(d.square().sum()) ** 0.5
            there = objective_of(classifier, ahead, c, weight)
            if there > here:
                break
            failed += 1
            size = size / 2
        x, here, size = ahead, there, size * 1.05
        g = gradient_of(classifier, x, c, weight)
        yield x, here, failed


def slow_walk(classifier: Classifier, c: int, x: Tensor, size: float, weight: float, exponent: float = 1) -> Any:
    """The whole rule, with its walks, in plain steps: what the tries of each step were, and where they led."""
    best, height, slope, held = x, objective_of(classifier, x, c, weight), gradient_of(classifier, x, c, weight), 0 * x
    length = size
    for number in itertools.count(1):
        here, g, d = best, slope, held
        for trial in itertools.count(1 if number > 1 else 13):
            d = 0.9 * d + g
            way = d.sign() * d.abs() ** exponent
            here = here + length * way / float(way.square().sum()) ** 0.5
            there, g = objective_of(classifier, here, c, weight), gradient_of(classifier, here, c, weight)
            if there > height:
                best, height, slope, held = here, there, g, d
                break
            if trial <= 12 or trial in range(32, 10_000, 20):
                here, g, d, length = best, slope, held, length / 2
            if trial == 3:
                held = d = 0 * x
            if trial == 12:
                length = size
            if length <= 2.0**-52 * max(1.0, float(best.square().sum()) ** 0.5):
                return
        length *= 1.05
        yield trial, best, height


@pytest.mark.parametrize(
    ("seed", "size", "weight", "exponent", "first"),
    [(1, 60.0, 0.1, 1, 35), (10, 10.0, 0.02, 1, 28), (8, 200.0, 0.5, 1, 100), (5, 4.0, 0.02, 0.5, 13)],
)  # fmt: skip
def test_walks_equal_a_loop_of_our_own(seed: int, size: float, weight: float, exponent: float, first: int) -> None:
    classifier, c, steps = kinked_network(seed=seed), 1, 40
    options = {"step_size": size, "regularisation": weight, "exponent": exponent}
    ours = class_model(classifier, c, start="noise", steps=steps, **options)
    start = (0.1 * torch.randn(3, 6, 8, generator=torch.Generator().manual_seed(0))).double()[None]
    tries = []
    theirs = slow_walk(classifier, c, start, size, weight, exponent)
    for step, (trial, image, height) in zip(ours, theirs, strict=False):
        tries.append(trial)
        torch.testing.assert_close(step.image, image, rtol=1e-6, atol=1e-8)
        assert step.objective == pytest.approx(height, rel=1e-8)
    assert len(tries) == steps
    assert tries[0] >= first  # the first step walks from its 13th try on, and turns back after 20 strides
    assert max(tries[1:]) >= 3


@pytest.mark.parametrize("size", [1e-30, 1.0, 1e30])
def test_a_slope_of_any_size_has_a_direction(size: float) -> None:
    """Squares of 1e30 are infinite in float32, those of 1e-30 are 0."""
    classifier = linear([[3 * size, 4 * size], [0, 0]])
    (step,) = climb(classifier, 0, steps=1, step_size=1.0, regularisation=0)
    np.testing.assert_allclose(step.image.flatten(), [0.6, 0.8], rtol=1e-6)


@pytest.mark.parametrize("momentum", [0.0, 0.9])
@pytest.mark.parametrize("build", [smooth_network, kinked_network])
def test_rising_steps_equal_a_loop_of_our_own(build: Callable[..., Classifier], momentum: float) -> None:
    classifier, x = build(seed=5), 0.1 * normal(1, 3, 6, 8)
    steps = climb(classifier, "bee", start=x, steps=25, step_size=8.0, regularisation=0.1, momentum=momentum)
    assert len(steps) == 25
    failures = []
    for step, (image, objective, failed) in zip(steps, slow_rise(classifier, x, 1, 8.0, 0.1, momentum), strict=False):
        failures.append(failed)
        torch.testing.assert_close(step.image, image, rtol=1e-7, atol=1e-9)
        assert step.objective == pytest.approx(objective, rel=1e-9)
    assert 0 in failures
    assert max(failures) >= (3 if momentum else 1), "no step failed; choose a longer one"


# Rising


def rises(objectives: Sequence[float]) -> bool:
    return all(one < other for one, other in itertools.pairwise(objectives))


@pytest.mark.parametrize("start", ["zero", "noise", "photo"])
def test_on_the_shipped_network_each_class_rises_in_every_step(classifier: Classifier, start: str) -> None:
    classes = [130, 8, 806]
    begin: Any = photo("macaw") if start == "photo" else start
    steps = climb(classifier, classes, start=begin, steps=5)
    assert len(steps) == 5
    for i, c in enumerate(classes):
        assert rises([step[i].objective for step in steps])
        if start != "noise":
            x = classifier.prepare(begin) if start == "photo" else torch.zeros(1, 3, 224, 224)
            assert steps[0][i].objective > objective_of(classifier, x, c, 0.03)


@given(
    st.integers(0, 999),
    st.sampled_from([0.01, 1.0, 30.0, 1e8]),
    st.sampled_from([0.0, 0.5, 0.9, 0.99]),
    st.sampled_from([0.0, 0.01, 0.5]),
    st.sampled_from(["score", "probability"]),
    st.sampled_from(["zero", "noise", "far"]),
)
def test_the_objective_rises_in_every_step_of_any_network(
    seed: int, step_size: float, momentum: float, weight: float, objective: str, start: str
) -> None:
    classifier = kinked_network(seed=seed)
    begin: Any = 3 * normal(1, 3, 6, 8, seed=seed) if start == "far" else start
    options: dict[str, Any] = {"step_size": step_size, "momentum": momentum, "objective": objective}
    try:
        steps = climb(classifier, range(3), start=begin, steps=8, regularisation=weight, **options)
    except ValueError as error:
        if "does not change with the image" not in str(error):
            raise
        assume(False)  # a class that is dead at this start
    for i in range(3):
        different = list(dict.fromkeys(step[i] for step in steps))
        assert rises([step.objective for step in different])
        for step in different:
            if step.number:
                expected = objective_of(classifier, step.image, i, weight, objective)
                assert step.objective == pytest.approx(expected, rel=1e-9, abs=1e-9)


def test_an_ascent_that_has_arrived_ends_early_with_its_best_image() -> None:
    steps = climb(on_paper(), 0, steps=500, start=torch.tensor([[[[1.0, 0.0]]]]), **PAPER)
    assert 1 < len(steps) < 400
    assert [s.number for s in steps] == list(range(1, len(steps) + 1))
    assert rises([s.objective for s in steps])
    np.testing.assert_allclose(steps[-1].image.flatten(), [3, 4], atol=1e-2)


def test_a_class_that_has_arrived_keeps_its_last_step_while_others_go_on() -> None:
    near, far = [3.0, 4.001], [400.0, -300.0]
    start = torch.tensor([near, far]).view(2, 1, 1, 2)
    classifier = on_paper()
    alone = [climb(classifier, c, start=start[c : c + 1], steps=500, **PAPER) for c in (0, 1)]
    together = climb(classifier, [0, 1], start=start, steps=500, **PAPER)
    assert len(alone[0]) + 5 < len(alone[1]) == len(together)
    for c in (0, 1):
        assert bits(list(dict.fromkeys(step[c] for step in together))) == bits(alone[c])
    for step in together[len(alone[0]) :]:
        assert step[0] is together[len(alone[0]) - 1][0]


def test_a_start_at_the_peak_is_told() -> None:
    peak = torch.tensor([[[[3.0, 4.0]]]])
    steps = class_model(on_paper(), 0, start=peak, **PAPER)
    with pytest.raises(ValueError, match=r"start is a peak already.*Pass start='noise', or a photo"):
        next(steps)
    with pytest.raises(ValueError, match="peak already"):
        climb(on_paper(), [0, 0], start=peak, **PAPER)


class LowerOfTwo(nn.Module):
    """S = −max(x, y): where they tie, the gradient names one of them, and moving that one alone changes nothing."""

    def forward(self, x: Tensor) -> Tensor:
        score = -nn.functional.max_pool2d(x, 2).flatten(1)
        return torch.cat([score, 0 * score], 1)


def test_a_rising_ascent_leaves_the_kink_of_a_flat_start() -> None:
    classifier = Classifier(LowerOfTwo().eval(), ["low", "none"], (), (2, 2), (0.5,), (0.25,))
    for start in ("zero", torch.zeros(1, 1, 2, 2), Image.new("L", (2, 2), 100)):
        assert len(climb(classifier, 0, start=start, steps=5, regularisation=0)) == 5


def test_a_first_step_far_beyond_all_numbers_is_halved_until_it_fits() -> None:
    steps = climb(kinked_network(), 1, steps=5, step_size=1e200)
    assert len(steps) == 5
    assert rises([step.objective for step in steps])


@pytest.mark.parametrize("step_size", [1e4, 1e10])
def test_a_rising_ascent_does_not_diverge_however_long_its_first_step(step_size: float) -> None:
    steps = climb(on_paper(), 0, steps=60, step_size=step_size, **PAPER)
    assert steps[-1].objective == pytest.approx(13.5, rel=1e-4)


class Steep(nn.Module):
    """S_0 = Σ exp I, infinite in float32 from I = 89 on; S_1 = Σ I; S_2 = 5."""

    def forward(self, x: Tensor) -> Tensor:
        total = x.sum((1, 2, 3))
        return torch.stack([x.exp().sum((1, 2, 3)), total, torch.full_like(total, 5)], 1)


def steep() -> Classifier:
    return Classifier(Steep().eval(), ["a", "b", "c"], (), (2, 2), (0.5,), (0.25,))


def test_a_rising_ascent_halves_a_step_whose_scores_are_infinite() -> None:
    classifier = steep()
    steps = climb(classifier, 0, start="noise", steps=5, step_size=1000.0)
    assert rises([s.objective for s in steps])


# Steps of a set length


@pytest.mark.parametrize(("first", "last", "steps"), [(3.0, None, 4), (3.0, 0.5, 6), (0.5, 2.0, 3), (2.0, 9.0, 1)])
@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_a_unit_step_has_exactly_its_length(first: float, last: float | None, steps: int, momentum: float) -> None:
    classifier, x = kinked_network(), normal(1, 3, 6, 8)
    options: dict[str, Any] = {"step_rule": "unit", "momentum": momentum, "jitter": 3, "mirror": True}
    for step in class_model(classifier, 2, start=x, steps=steps, step_size=first, last_step_size=last, **options):
        share = (step.number - 1) / (steps - 1) if steps > 1 else 0
        expected = first if last is None else first * (1 - share) + last * share
        assert float((step.image - x).norm()) == pytest.approx(expected, rel=1e-12)
        x = step.image


def test_a_unit_step_goes_along_the_gradient_and_the_last_direction() -> None:
    classifier, x, d = kinked_network(), normal(1, 3, 6, 8), 0
    for step in class_model(
        classifier, 2, start=x, steps=6, step_rule="unit", step_size=1, momentum=0.6, regularisation=0.2
    ):
        d = 0.6 * d + gradient_of(classifier, x, 2, 0.2)
        x = x + d / float(d.square().sum()) ** 0.5
        torch.testing.assert_close(step.image, x, rtol=1e-9, atol=1e-9)


# Later work's regularisers


def blurred(image: Tensor, sigma: float) -> Tensor:
    _, _, height, width = image.shape
    radius = min(math.ceil(3 * sigma), height - 1, width - 1)
    planes = [gaussian_filter(plane, sigma, mode="mirror", radius=radius) for plane in image[0].numpy()]
    return torch.from_numpy(np.stack(planes))[None]


@pytest.mark.parametrize(("first", "last", "every"), [
    (1.0, None, 1), (0.8, 2.0, 1), (1.5, 0.5, 2), (0.3, 0.3, 3), (4.0, None, 4), (1.0, 0.0, 1),
])  # fmt: skip
@pytest.mark.parametrize("rule", ["unit", "fixed"])
def test_the_blur_is_scipys_when_and_as_wide_as_the_recipe_says(
    first: float, last: float | None, every: int, rule: str
) -> None:
    classifier, x, count = kinked_network(size=(7, 9)), normal(1, 3, 7, 9), 7
    options: dict[str, Any] = {"step_rule": rule, "step_size": 0.5, "momentum": 0.0, "regularisation": 0.1}
    steps = climb(classifier, 1, start=x, steps=count, blur=first, last_blur=last, blur_every=every, **options)
    assert len(steps) == count
    for step in steps:
        d = gradient_of(classifier, x, 1, 0.1)
        x = x + 0.5 * (d / float(d.square().sum()) ** 0.5 if rule == "unit" else d)
        share = (step.number - 1) / (count - 1)
        sigma = first if last is None else first * (1 - share) + last * share
        if step.number % every == 0 and sigma:
            x = blurred(x, sigma)
        torch.testing.assert_close(step.image, x, rtol=1e-9, atol=1e-9)


def test_a_blur_keeps_one_colour_and_a_single_row() -> None:
    classifier = linear([[1, 1, 1, 1, 1], [0, 0, 0, 0, 0]], size=(1, 5), dtype=torch.float64)
    (step,) = climb(classifier, 0, steps=1, step_size=0.5, blur=2.0, regularisation=0, **FIXED)
    np.testing.assert_allclose(step.image.flatten(), 0.5, rtol=1e-12)


def views(x: np.ndarray, jitter: int, mirror: bool) -> Any:
    """Each way to see an image, as the index of the pixel that stands at each place: `(shift, mirrored, index)`."""
    _, height, width = x.shape
    for mirrored in (False, True)[: 1 + mirror]:
        for down, right in itertools.product(range(-jitter, jitter + 1), repeat=2):
            index = np.zeros((height, width, 2), int)
            for i in range(height):
                for j in range(width):
                    column = (j - right) % width
                    index[i, j] = (i - down) % height, (width - 1 - column if mirrored else column)
            yield (down, right), mirrored, index


def gradient_through(classifier: Classifier, image: np.ndarray, index: np.ndarray, c: int) -> np.ndarray:
    """∂S_c/∂I where the network sees another view of I: each gradient goes back to the pixel that it came from."""
    seen = torch.from_numpy(image[:, index[..., 0], index[..., 1]])[None].requires_grad_()
    (w,) = torch.autograd.grad(classifier.network(seen.clone())[0, c], seen)
    result = np.full_like(image, np.nan)
    result[:, index[..., 0], index[..., 1]] = w[0].numpy()
    return result


@pytest.mark.parametrize(("jitter", "mirror"), [(1, False), (0, True), (1, True)])
def test_each_gradient_is_that_of_a_rolled_or_mirrored_view_brought_back(jitter: int, mirror: bool) -> None:
    classifier, weight, used = kinked_network(size=(6, 7)), 0.05, []
    before = normal(1, 3, 6, 7)
    ways = list(views(before[0].numpy(), jitter, mirror))
    options = UNIT | {"steps": 50, "step_size": 0.5, "regularisation": weight, "jitter": jitter, "mirror": mirror}
    for step in class_model(classifier, 0, start=before, **options):
        image, moved = before[0].numpy(), (step.image - before)[0].numpy() / 0.5
        errors = []
        for _, _, index in ways:
            g = gradient_through(classifier, image, index, 0) - 2 * weight * image
            errors.append(float(np.abs(g / math.sqrt((g * g).sum()) - moved).max()))
        assert min(errors) < 1e-9
        used.append(ways[int(np.argmin(errors))][:2])
        before = step.image
    assert {shift for shift, _ in used} == {shift for shift, _, _ in ways}
    assert {mirrored for _, mirrored in used} == {False, True}.intersection({mirrored for _, mirrored, _ in ways})
    assert len(set(itertools.pairwise(used))) > len(ways), "the views follow a pattern"


@pytest.mark.parametrize(("jitter", "mirror", "samples"), [(1, False, 2), (0, True, 3)])
def test_samples_give_the_mean_gradient_of_views_drawn_one_by_one(jitter: int, mirror: bool, samples: int) -> None:
    classifier, weight, used = kinked_network(size=(6, 7)), 0.05, []
    before = normal(1, 3, 6, 7)
    ways = list(views(before[0].numpy(), jitter, mirror))
    sets = list(itertools.combinations_with_replacement(range(len(ways)), samples))
    options = FIXED | {"steps": 20, "step_size": 0.05, "regularisation": weight, "jitter": jitter, "mirror": mirror}
    for step in class_model(classifier, 0, start=before, samples=samples, **options):
        image, moved = before[0].numpy(), (step.image - before)[0].numpy() / 0.05
        slopes = np.array([gradient_through(classifier, image, index, 0) for _, _, index in ways])
        means = np.array([slopes[list(chosen)].mean(0) - 2 * weight * image for chosen in sets])
        errors = np.abs(means - moved).max((1, 2, 3))
        assert errors.min() < 1e-9
        used.append(sets[int(errors.argmin())])
        before = step.image
    assert sum(len(set(chosen)) > 1 for chosen in used) >= 10
    assert len(set(used)) >= 3


def test_an_exponent_worked_out_on_paper() -> None:
    """Of w = (4, −9) the root with its sign is (2, −3), of length √13."""
    classifier = linear([[4, -9], [0, 0]], dtype=torch.float64)
    steps = climb(classifier, 0, steps=2, step_size=math.sqrt(13), exponent=0.5, regularisation=0.5, **UNIT)
    np.testing.assert_allclose(steps[0].image.flatten(), [2, -3], rtol=1e-12)
    d = np.array([math.sqrt(4 - 2), -math.sqrt(9 - 3)])
    np.testing.assert_allclose(steps[1].image.flatten(), [2, -3] + d * math.sqrt(13 / 8), rtol=1e-12)
    steps = climb(classifier, 0, steps=2, step_size=1.0, exponent=0.5, regularisation=0.5, **UNIT | {"momentum": 0.5})
    x = np.array([2, -3]) / math.sqrt(13)
    d = 1.5 * np.array([4, -9]) - x  # what is remembered is the direction itself
    d = np.sign(d) * np.sqrt(np.abs(d))
    np.testing.assert_allclose(steps[1].image.flatten(), x + d / math.sqrt((d * d).sum()), rtol=1e-12)


def test_no_regulariser_is_on_unless_it_is_asked_for() -> None:
    recipe = PRESETS["paper"]
    assert recipe == Recipe()
    assert (recipe.objective, recipe.step_rule) == ("score", "rising")
    assert (recipe.jitter, recipe.mirror, recipe.blur, recipe.last_blur) == (0, False, 0, None)
    assert set(PRESETS) == {"paper", "readable"}
    readable = PRESETS["readable"]
    assert readable.objective == "score"
    assert readable.jitter
    assert readable.step_rule == "unit"


# What a step tells


@pytest.mark.parametrize("preset", ["paper", "readable"])
def test_a_step_tells_of_its_own_image_whatever_the_network_saw(classifier: Classifier, preset: str) -> None:
    weight = PRESETS[preset].weight
    steps = climb(classifier, 130, preset, steps=4)
    assert [s.number for s in steps] == [1, 2, 3, 4]
    for step in steps:
        assert step.class_index == 130
        assert step.image.shape == (1, 3, 224, 224)
        assert step.scores.shape == (1000,)
        assert not step.image.requires_grad
        assert not step.scores.requires_grad
        torch.testing.assert_close(step.scores, classifier.scores(step.image)[0], rtol=1e-6, atol=1e-5)
        scores = step.scores.double().tolist()
        assert step.score == scores[130]
        assert step.probability == pytest.approx(1 / sum(math.exp(s - scores[130]) for s in scores), rel=1e-4)
        penalty = weight * float(step.image.double().square().sum())
        assert step.objective == pytest.approx(step.score - penalty, rel=1e-5, abs=1e-4)
        assert all(type(v) is float for v in (step.score, step.probability, step.objective))
        assert step.classifier is classifier


@pytest.mark.parametrize("options", [{}, FIXED | {"step_size": 0.1}, REGULARISED])
@pytest.mark.parametrize("objective", ["score", "probability"])
def test_steps_of_a_batch_tell_each_of_its_own_image(options: dict[str, Any], objective: str) -> None:
    classifier, classes = kinked_network(seed=3), [2, 0, 1, 2]
    start = normal(4, 3, 6, 8)
    steps = climb(classifier, classes, start=start, steps=6, regularisation=0.3, objective=objective, **options)
    assert len(steps) == 6
    for number, step in enumerate(steps, 1):
        assert isinstance(step, tuple)
        assert [s.class_index for s in step] == classes
        for s in step:
            assert s.number == number
            assert s.image.shape == (1, 3, 6, 8)
            expected = classifier.network(s.image.clone())[0].detach()
            torch.testing.assert_close(s.scores, expected, rtol=1e-9, atol=1e-9)
            assert s.score == float(s.scores[s.class_index])
            odds = [math.exp(v - s.score) for v in s.scores.tolist()]
            assert s.probability == pytest.approx(1 / sum(odds), rel=1e-9)
            value = objective_of(classifier, s.image, s.class_index, 0.3, objective)
            assert s.objective == pytest.approx(value, rel=1e-9)


def test_a_step_is_frozen_and_says_where_it_is_in_one_line() -> None:
    (step,) = climb(on_paper(), 0, steps=1, step_size=0.5, **FIXED, **PAPER)
    assert repr(step) == "Step(1, class 0, S_c 13.5, P_c 1, J 10.38)"
    with pytest.raises(FrozenInstanceError):
        step.number = 2
    assert step in {step}


@pytest.mark.parametrize("steps", [1, 2, 5])
@pytest.mark.parametrize("options", [{}, FIXED, UNIT, REGULARISED])
def test_there_are_as_many_steps_as_asked_for_numbered_from_one(steps: int, options: dict[str, Any]) -> None:
    for classes in (1, [1], [0, 1]):
        numbers = [
            {s.number for s in step} if isinstance(step, tuple) else {step.number}
            for step in class_model(kinked_network(), classes, start="noise", steps=steps, **options)
        ]
        assert numbers == [{number} for number in range(1, steps + 1)]


def a_step(classifier: Classifier, image: Tensor) -> Step:
    return Step(1, 0, image, classifier.scores(image)[0], 0.0, 0.0, 0.0, classifier)


def test_the_picture_of_the_zero_image_is_the_mean_colour_once(classifier: Classifier) -> None:
    picture = a_step(classifier, torch.zeros(1, 3, 224, 224)).picture
    assert (picture.mode, picture.size) == ("RGB", (224, 224))
    assert set(picture.get_flattened_data() if hasattr(picture, "get_flattened_data") else picture.getdata()) == {
        (124, 116, 104)  # 0.485, 0.456 and 0.406 of 255; twice it would be (247, 233, 207)
    }


def test_the_picture_is_255_times_std_x_plus_mean_clipped() -> None:
    classifier = kinked_network()
    image = 4 * normal(1, 3, 6, 8)
    levels = np.asarray(a_step(classifier, image).picture)
    assert levels.dtype == np.uint8
    assert levels.min() == 0
    assert levels.max() == 255
    for i, j, channel in itertools.product(range(6), range(8), range(3)):
        exact = 255 * (STD[channel] * float(image[0, channel, i, j]) + MEAN[channel])
        assert abs(levels[i, j, channel] - min(max(exact, 0), 255)) <= 0.5 + 1e-9


def test_the_picture_comes_back_through_png_as_the_same_image_but_for_rounding(classifier: Classifier) -> None:
    step = climb(classifier, 292, steps=3)[-1]
    stream = io.BytesIO()
    step.picture.save(stream, "PNG")
    again = Image.open(io.BytesIO(stream.getvalue()))
    assert np.array_equal(again, step.picture)
    std, mean = np.array(classifier.std)[:, None, None], np.array(classifier.mean)[:, None, None]
    inside = np.clip(step.image[0].numpy(), -mean / std, (1 - mean) / std)
    assert np.abs(classifier.prepare(again)[0].numpy() - inside).max() <= 0.5 / 255 / min(classifier.std) + 1e-6


# Nothing before it is asked for, nothing after


class Counted(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, counter: Any) -> Tensor:
        ctx.counter = counter
        return x.clone()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        ctx.counter["backward"] += 1
        return gradients[0], None


class Counting(nn.Module):
    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network, self.runs = network, {"forward": 0, "backward": 0}

    def forward(self, x: Tensor) -> Tensor:
        self.runs["forward"] += 1
        return self.network(Counted.apply(x, self.runs))


def counted() -> tuple[Classifier, dict[str, int]]:
    inner = kinked_network()
    network = Counting(inner.network).eval()
    classifier = Classifier(network, inner.labels, (), inner.size, MEAN, STD)
    network.runs.update(forward=0, backward=0)
    return classifier, network.runs


@pytest.mark.parametrize("classes", [1, [1], [0, 1, 2]])
@pytest.mark.parametrize("options", [{}, FIXED | {"step_size": 0.1}, UNIT, REGULARISED])
def test_nothing_runs_before_it_is_asked_for_nor_after_the_last(classes: Any, options: dict[str, Any]) -> None:
    classifier, runs = counted()
    steps = class_model(classifier, classes, steps=4, start="noise", **options)
    assert iter(steps) is steps
    assert runs == {"forward": 0, "backward": 0}
    for asked in range(1, 5):
        next(steps)
        if "step_rule" not in options:  # a rising step may try several times
            assert asked < runs["forward"] <= 1 + 40 * asked
        else:
            samples = 2 * asked if "jitter" in options else 0
            assert runs["forward"] == 1 + asked + samples
            assert runs["backward"] == (1 + samples if samples else asked)
    before = dict(runs)
    assert list(steps) == []
    assert runs == before


@pytest.mark.parametrize("options", [{}, FIXED, REGULARISED])
def test_an_ascent_that_is_abandoned_leaves_nothing(options: dict[str, Any]) -> None:
    classifier, start = kinked_network(), normal(1, 3, 6, 8)
    with no_trace(classifier.network, start):
        steps = class_model(classifier, 1, start=start, **options)
        next(steps)
        next(steps)
        steps.close()
        assert list(steps) == []
        class_model(classifier, 1, start=start, **options)  # never asked for a step


# The same call, the same bits


def test_the_same_call_gives_the_same_bits_on_the_shipped_network(classifier: Classifier) -> None:
    for preset, start in (("paper", "zero"), ("readable", "zero"), ("readable", "noise")):
        first, again, other = (
            climb(classifier, [8, 130], preset, start=start, steps=2, random_state=seed) for seed in (7, 7, 8)
        )
        assert bits(first) == bits(again)
        assert (bits(first) == bits(other)) is (preset == "paper")  # where nothing is random


@pytest.mark.parametrize("options", [{}, FIXED, UNIT, REGULARISED])
def test_random_state_decides_all_that_is_random_and_nothing_else(options: dict[str, Any]) -> None:
    classifier, start = kinked_network(), normal(1, 3, 6, 8)

    def run(begin: Any, **seed: int) -> Any:
        return bits(climb(classifier, 2, start=begin, steps=5, **options, **seed))

    assert run("noise", random_state=3) == run("noise", random_state=3)
    assert run("noise", random_state=0) == run("noise")
    assert run("noise", random_state=3) != run("noise", random_state=4)
    random = bool(options.get("jitter"))
    assert (run(start, random_state=3) != run(start, random_state=4)) == random
    torch.manual_seed(5)
    expected = run("noise")
    torch.manual_seed(6)
    assert run("noise") == expected


def test_noise_is_normal_with_a_tenth_of_a_standard_deviation() -> None:
    classifier = linear(np.zeros((2, 2500)).tolist(), size=(50, 50))
    with torch.no_grad():
        classifier.network[1].weight[0, 0] = 1.0
    images = [
        climb(classifier, 0, start="noise", steps=1, step_size=1e-7, regularisation=0, random_state=r, **UNIT)[0].image
        for r in (0, 1)
    ]
    for image in images:
        assert abs(float(image.mean())) < 0.01
        assert float(image.std()) == pytest.approx(0.1, rel=0.05)
        assert float((image.abs() < 0.1).double().mean()) == pytest.approx(0.683, abs=0.03)
    assert abs(np.corrcoef(images[0].flatten(), images[1].flatten())[0, 1]) < 0.1
    (pair,) = climb(classifier, [0, 0], start="noise", steps=1, step_size=1e-7, regularisation=0, **UNIT)
    assert torch.equal(pair[0].image, pair[1].image)  # a class climbs in a batch as it does alone


@pytest.mark.parametrize("options", [{}, FIXED | {"step_size": 0.1}, UNIT, REGULARISED])
@pytest.mark.parametrize("start", ["zero", "own"])
def test_a_batch_of_classes_gives_what_each_alone_gives(options: dict[str, Any], start: str) -> None:
    """In float64, where a sum in another order does not matter, as it may in float32 at a kink."""
    classifier, classes = kinked_network(seed=4), [2, 0, 1]
    begin: Any = normal(3, 3, 6, 8) if start == "own" else start
    together = climb(classifier, classes, start=begin, steps=12, regularisation=0.1, **options)
    for i, c in enumerate(classes):
        mine = begin[i : i + 1] if start == "own" else begin
        alone = climb(classifier, c, start=mine, steps=12, regularisation=0.1, **options)
        for step, one in zip(together, alone, strict=True):
            torch.testing.assert_close(step[i].image, one.image, rtol=1e-7, atol=1e-9)
            torch.testing.assert_close(step[i].scores, one.scores, rtol=1e-7, atol=1e-9)
            assert step[i].objective == pytest.approx(one.objective, rel=1e-7)
            assert step[i].number == one.number


def test_several_classes_may_begin_at_one_image() -> None:
    classifier, start = kinked_network(), normal(1, 3, 6, 8)
    with no_trace(start):
        (together,) = climb(classifier, [0, 1], start=start, steps=1, step_size=0.1, **FIXED)
    for c in (0, 1):
        (alone,) = climb(classifier, c, start=start, steps=1, step_size=0.1, **FIXED)
        torch.testing.assert_close(together[c].image, alone.image, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("classes", [1, [0, 1]])
@pytest.mark.parametrize("options", [{}, FIXED | {"step_size": 0.1}, UNIT, REGULARISED, {"steps": 300}])
def test_later_steps_change_neither_earlier_ones_nor_the_start(classes: Any, options: dict[str, Any]) -> None:
    classifier, start = kinked_network(), normal(1, 3, 6, 8)
    given_away, kept = [], []
    with no_trace(start):
        for step in class_model(classifier, classes, start=start, **{"steps": 10, **options}):
            given_away.append(step)
            kept.append(bits([step]))
    assert [bits([step]) for step in given_away] == kept
    images = [s.image for step in given_away for s in (step if isinstance(step, tuple) else (step,))]
    assert start.data_ptr() not in {image.data_ptr() for image in images}


def test_a_class_whose_step_overflows_does_not_shorten_those_of_others() -> None:
    classifier = steep()
    near, far = torch.tensor([[[[0.0, 1.0], [2.0, 3.0]]]]), torch.tensor([[[[-2001.0, -2000.0], [-2000.0, -2000.0]]]])
    options: dict[str, Any] = {"steps": 1, "step_size": 1000.0, "regularisation": 0}
    (alone,) = climb(classifier, 1, start=far, **options)
    (both,) = climb(classifier, [0, 1], start=torch.cat([near, far]), **options)
    assert torch.equal(both[1].image, alone.image)


# No trace


@pytest.mark.parametrize("preset", ["paper", "readable"])
def test_leaves_no_trace_on_the_shipped_network(preset: str) -> None:
    classifier = load_classifier(device="cpu")  # one of its own: the shared one may bear traces of earlier tests
    x, picture = classifier.prepare(photo("tabby")), photo("tabby").image
    with no_trace(classifier.network, x, picture):
        for start in ("noise", x, picture):
            for step in class_model(classifier, [281, 8], preset, start=start, steps=2):
                assert step[0].picture


def test_weights_that_ask_for_gradients_get_none_and_those_that_had_them_keep_them() -> None:
    classifier, x = kinked_network(), normal(1, 3, 6, 8)
    climb(classifier, 1, steps=3, start=x)
    climb(classifier, 1, "readable", steps=3, start=x)
    assert all(p.requires_grad and p.grad is None for p in classifier.network.parameters())
    x.requires_grad_()
    (classifier.network(x)[0, 0] ** 2).backward()
    with no_trace(classifier.network, x):
        steps = climb(classifier, 1, steps=3, start=x)
    assert not steps[0].image.requires_grad


class FailsLater(torch.autograd.Function):
    """The third way back fails."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, runs: list[int]) -> Tensor:
        ctx.runs = runs
        return x.clone()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        ctx.runs.append(1)
        if len(ctx.runs) >= 3:
            raise RuntimeError("no way back")
        return gradients[0], None


class OneWay(nn.Module):
    runs: tuple[list[int], ...] = ([],)  # of the class: not a trace in the network

    def forward(self, x: Tensor) -> Tensor:
        return FailsLater.apply(x, self.runs[0])


@pytest.mark.parametrize("options", [{}, FIXED | {"step_size": 0.01}, REGULARISED])
def test_leaves_no_trace_when_it_raises(options: dict[str, Any]) -> None:
    classifier, x = small(OneWay()), normal(1, 3, 6, 8)
    OneWay.runs[0].clear()
    with pytest.raises(RuntimeError, match="no way back"), no_trace(classifier.network, x):
        climb(classifier, 1, start=x, **options)
    with pytest.raises(ValueError, match="out of range"), no_trace(classifier.network, x):
        class_model(classifier, 3, start=x, **options)
    network = on_paper()
    with pytest.raises(DivergedError), no_trace(network.network):
        climb(network, 0, step_size=1e12, **FIXED)


@pytest.mark.parametrize("preset", ["paper", "readable"])
@pytest.mark.parametrize("mode", [
    torch.no_grad, torch.enable_grad, torch.inference_mode,
])  # fmt: skip
def test_gives_the_same_within_any_gradient_mode(mode: Callable[[], Any], preset: str) -> None:
    classifier, x = kinked_network(), normal(1, 3, 6, 8)
    for start in ("zero", "noise", x):
        expected = bits(climb(classifier, [0, 1], preset, start=start, steps=4))
        with mode():
            flags = torch.is_grad_enabled(), torch.is_inference_mode_enabled()
            found = []
            for step in class_model(classifier, [0, 1], preset, start=start, steps=4):
                assert (torch.is_grad_enabled(), torch.is_inference_mode_enabled()) == flags
                found.append(step)
            made_inside = x.clone()
        assert bits(found) == expected
        assert not any(s.image.is_inference() or s.image.requires_grad for step in found for s in step)
    assert bits(climb(classifier, [0, 1], preset, start=made_inside, steps=4)) == expected


@pytest.mark.parametrize("options", [{}, REGULARISED])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_autocast_around_it_changes_no_bit(dtype: torch.dtype, options: dict[str, Any]) -> None:
    """Also where it is switched on between two steps, which blur and score by themselves."""
    classifier = kinked_network()
    classifier = Classifier(classifier.network.float(), classifier.labels, (), (6, 8), MEAN, STD)
    expected = bits(climb(classifier, 1, steps=4, **options))
    with torch.autocast("cpu", dtype=dtype):
        assert bits(climb(classifier, 1, steps=4, **options)) == expected
        assert torch.is_autocast_enabled("cpu")
    steps = class_model(classifier, 1, steps=4, **options)
    first = [next(steps), next(steps)]
    with torch.autocast("cpu", dtype=dtype):
        assert bits(first + list(steps)) == expected


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_a_network_of_half_precision_has_j_in_float32(dtype: torch.dtype) -> None:
    """‖I‖² = 90,000 and λ‖I‖² = 900 are beyond what float16 holds and what bfloat16 can tell apart from 901."""
    classifier = linear([[3, 4], [0, 1]], [1, 0], dtype=dtype)
    start = torch.tensor([[[[180.0, 240.0]]]])
    (step,) = climb(classifier, 0, start=start, steps=1, step_size=5.0, regularisation=0.01, momentum=0.0)
    x, y = step.image.double().flatten().tolist()
    assert step.image.dtype == dtype
    assert step.objective == pytest.approx(float(step.scores[0]) - 0.01 * (x * x + y * y), rel=1e-5)
    assert step.objective > float(torch.tensor(3 * 180 + 4 * 240 + 1.0).to(dtype)) - 900


def test_a_mode_that_changes_between_steps_changes_nothing() -> None:
    classifier, x = kinked_network(), normal(1, 3, 6, 8)
    expected = bits(climb(classifier, 0, start=x, steps=6))
    steps, found = class_model(classifier, 0, start=x, steps=6), []
    for mode in (torch.no_grad, torch.inference_mode, torch.enable_grad) * 2:
        with mode():
            found.append(next(steps))
    assert bits(found) == expected


def test_two_threads_may_climb_with_one_classifier(classifier: Classifier) -> None:
    jobs: list[tuple[int, str]] = [(130, "paper"), (8, "readable")]
    expected = [bits(climb(classifier, c, preset, steps=3)) for c, preset in jobs]
    found: list[Any] = [None, None]

    def work(i: int) -> None:
        c, preset = jobs[i]
        found[i] = bits(climb(classifier, c, preset, steps=3))

    with no_trace(classifier.network):
        threads = [threading.Thread(target=work, args=(i,)) for i in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert found == expected


def test_two_ascents_may_take_turns() -> None:
    classifier = kinked_network()
    expected = [bits(climb(classifier, c, "readable", start="noise", steps=5)) for c in (0, 1)]
    pairs = list(zip(*(class_model(classifier, c, "readable", start="noise", steps=5) for c in (0, 1)), strict=True))
    assert [bits([pair[c] for pair in pairs]) for c in (0, 1)] == expected


# Networks, classes and starts of every kind


@pytest.mark.parametrize("preset", ["paper", "readable"])
@pytest.mark.parametrize(("channels", "size"), [(1, (9, 9)), (3, (12, 7)), (1, (6, 20))])
def test_climbs_on_networks_of_another_size_and_on_grey_ones(channels: int, size: tuple[int, int], preset: str) -> None:
    classifier = kinked_network(channels=channels, size=size, seed=1)
    steps = climb(classifier, "cat", preset, start="noise", steps=3)
    assert len(steps) == 3
    assert steps[0].image.shape == (1, channels, *size)
    assert steps[0].image.dtype == torch.float64
    assert (steps[0].picture.mode, steps[0].picture.size) == ("RGB", (size[1], size[0]))
    if channels == 1:
        r, g, b = np.asarray(steps[-1].picture).transpose(2, 0, 1)
        assert np.array_equal(r, g)
        assert np.array_equal(g, b)


def test_a_class_may_be_named_in_any_way_that_finds_it(classifier: Classifier) -> None:
    own = kinked_network()
    expected = bits(climb(own, 2, steps=2))
    for name in ("cat", "ca", "2", "CAT", np.int64(2), np.uint8(2), torch.tensor([2])[0].item()):
        assert bits(climb(own, name, steps=2)) == expected
    (step,) = climb(classifier, "giant panda", steps=1, step_size=1.0, **UNIT)
    assert step.class_index == 388


@pytest.mark.parametrize("classes", [
    [2, 0], (2, 0), range(2, -1, -2), np.array([2, 0]), torch.tensor([2, 0]), (c for c in (2, 0)),
    ["cat", "ape"], {2: "cat", 0: "ape"}, iter([np.int8(2), "0"]),
], ids=lambda c: type(c).__name__)  # fmt: skip
def test_several_classes_may_come_in_any_iterable(classes: Any) -> None:
    steps = climb(kinked_network(), classes, steps=2)
    assert [[s.class_index for s in step] for step in steps] == [[2, 0], [2, 0]]
    assert bits(steps) == bits(climb(kinked_network(), [2, 0], steps=2))


@pytest.mark.parametrize("one", [torch.tensor(1), np.array(1), np.int64(1), torch.tensor(1, dtype=torch.int32)])
def test_a_class_may_be_what_argmax_gives(one: Any) -> None:
    """A tensor or an array of no dimensions is one class, not a list of them."""
    assert bits(climb(kinked_network(), one, steps=2)) == bits(climb(kinked_network(), 1, steps=2))


@pytest.mark.parametrize("several", [torch.tensor([2, 0]), np.array([2, 0]), torch.tensor([2, 0], dtype=torch.uint8)])
def test_several_classes_may_be_a_tensor(several: Any) -> None:
    assert bits(climb(kinked_network(), several, steps=2)) == bits(climb(kinked_network(), [2, 0], steps=2))


@pytest.mark.parametrize("text", [b"\x00\x01", bytearray(b"\x01")])
def test_bytes_are_no_list_of_classes(text: Any) -> None:
    with pytest.raises(TypeError, match="expected a list of classes, got byte"):
        class_model(kinked_network(), text)


def test_a_list_of_one_class_gives_tuples_of_one() -> None:
    alone, listed = climb(kinked_network(), 1, steps=3), climb(kinked_network(), [1], steps=3)
    assert all(isinstance(step, tuple) and len(step) == 1 for step in listed)
    assert bits([step for (step,) in listed]) == bits(alone)


def test_numbers_may_be_numpys() -> None:
    options: dict[str, Any] = {"steps": np.int64(3), "step_size": np.float32(0.5), "jitter": np.int32(1)}
    found = climb(kinked_network(), 1, start="noise", regularisation=np.float64(0.25), **UNIT | options)
    options = {"steps": 3, "step_size": 0.5, "jitter": 1}
    assert bits(found) == bits(climb(kinked_network(), 1, start="noise", regularisation=0.25, **UNIT | options))


@pytest.mark.parametrize(("state", "error"), [
    (2**64, ValueError), (-1, ValueError), (1.5, TypeError), ("1", TypeError), (None, TypeError), (True, TypeError),
])  # fmt: skip
def test_a_random_state_that_is_none(state: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match=r"random_state.*The same number gives the same result again"):
        climb(kinked_network(), 1, start="noise", steps=1, random_state=state)


def test_random_state_may_be_numpys() -> None:
    found = climb(kinked_network(), 1, start="noise", steps=2, random_state=np.int64(7))
    assert bits(found) == bits(climb(kinked_network(), 1, start="noise", steps=2, random_state=7))


def test_a_photo_may_come_in_any_form_that_can_be_opened() -> None:
    classifier = kinked_network(size=(14, 14))
    source = photo("espresso")
    expected = bits(climb(classifier, 0, start=classifier.prepare(source), steps=2))
    data = source.path.read_bytes()
    for form in (source, source.path, str(source.path), data, io.BytesIO(data), source.image, np.asarray(source.image)):
        assert bits(climb(classifier, 0, start=form, steps=2)) == expected, type(form)
    single = classifier.prepare(source).float()
    assert climb(classifier, 0, start=single, steps=1)[0].image.dtype == torch.float64


# What cannot be climbed


@pytest.mark.parametrize(("classes", "message"), [
    (3, r"class index 3 is out of range; there are classes 0 to 2"), (-1, "out of range"), ([0, 3], "out of range"),
    ("dog", "no class is called 'dog'"), ("aqe", r"Near: 'ape' \(0\)"), ([0, "bea"], r"Near: 'bee' \(1\)"),
    ("e", "fits 2 classes"),
    ([], "at least one class, got none. Pass an index, a name, or a list"), (range(0), "at least one class"),
    ((c for c in ()), "at least one class"),
])  # fmt: skip
def test_an_unknown_class_is_refused_at_once(classes: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        class_model(kinked_network(), classes)


@pytest.mark.parametrize("classes", [True, 1.0, None, [None], [[0]], [0.5]])
def test_what_names_no_class_is_refused(classes: Any) -> None:
    with pytest.raises(TypeError, match="expected a class index, a WordNet id or a name"):
        class_model(kinked_network(), classes)


@pytest.mark.parametrize(("options", "message"), [
    ({"preset": "papper"}, "expected the preset 'paper' or 'readable', got 'papper'"),
    ({"preset": None}, "expected the preset 'paper' or 'readable', got None"),
    ({"preset": ["paper"]}, r"expected the preset 'paper' or 'readable', got \['paper'\]"),
    ({"objective": "logit"}, "expected the objective 'score' or 'probability', got 'logit'"),
    ({"objective": np.array(["score"])}, "expected the objective 'score' or 'probability', got array"),
    ({"step_rule": "adam"}, "expected the step rule 'rising' or 'fixed' or 'unit', got 'adam'"),
    ({"regularisation": -0.1}, "a regularisation from 0 to 1000000, got -0.1. Below 0 it would reward"),
    ({"regularisation": math.nan}, "expected a regularisation .*got nan"),
    ({"regularisation": math.inf}, "expected a regularisation .*got inf"),
    ({"regularisation": 1e308}, "expected a regularisation .*got 1e"),
    ({"steps": 0}, "expected steps of 1 or more.*, got 0. 150 are a good start"), ({"steps": -3}, "got -3"),
    ({"step_size": 0}, "expected step_size above 0, got 0"), ({"step_size": -1}, "would be a descent"),
    ({"step_size": math.nan}, "step_size of 0 or more, got nan"), ({"step_size": math.inf}, "step_size .*, got inf"),
    ({"step_size": 10**400}, "step_size .*, got inf"),
    ({"last_step_size": math.nan} | UNIT, "last_step_size .*got nan"),
    ({"last_step_size": 0, "step_rule": "unit"}, "expected last_step_size above 0, got 0"),
    ({"momentum": 1}, "expected a momentum below 1, got 1.*0 leaves it out"),
    ({"momentum": 1.5}, "from 0 to 1, got 1.5"),
    ({"momentum": -0.1}, "momentum from 0 to 1"), ({"momentum": math.nan}, "momentum from 0 to 1, got nan"),
    ({"jitter": -1}, "expected jitter from 0 to 10000"), ({"blur": -1}, "expected a blur from 0 to 10000, got -1"),
    ({"jitter": 10**30} | UNIT, "jitter from 0 to 10000"), ({"samples": 10**9, "mirror": True} | UNIT, "backward pass"),
    ({"blur": math.inf}, "expected a blur from 0"), ({"last_blur": -1}, "expected a last_blur from 0"),
    ({"blur": 1e9} | UNIT, "expected a blur from 0 to 10000, got 1e"),
    ({"exponent": 0, "step_rule": "unit"}, "expected exponent above 0, got 0"),
    ({"exponent": 1.5, "step_rule": "unit"}, "an exponent from 0 to 1, got 1.5"),
    ({"exponent": math.nan}, "exponent from 0 to 1"),
    ({"contrast": 0} | UNIT, "expected contrast above 0"), ({"contrast": math.nan} | UNIT, "contrast .*got nan"),
    ({"exponent": 0.5, "step_rule": "fixed"}, "needs step_rule='unit'"),
    ({"samples": 0}, "expected samples from 1 to 1000, .*got 0"), ({"samples": 2} | UNIT, "all samples are the same"),
    ({"blur_every": 0}, "expected blur_every of 1 or more, .*got 0"),
    ({"jitter": 1}, r"do not ask whether J rises.*step_rule='unit' or 'fixed'.*'readable' has them all"),
    ({"mirror": True}, "do not ask whether J rises"), ({"blur": 0.5}, "do not ask whether J rises"),
    ({"preset": "readable", "step_rule": "rising"}, "step_rule='unit'"),
])  # fmt: skip
def test_a_recipe_out_of_range_is_refused_at_once(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        class_model(kinked_network(), 0, **options)


@pytest.mark.parametrize("name", ["steps", "jitter", "samples", "blur_every"])
@pytest.mark.parametrize("value", [2.0, True, "2", None, np.float64(2), np.bool_(True)])
def test_a_whole_number_has_to_be_one(name: str, value: Any) -> None:
    with pytest.raises(TypeError, match=rf"expected a whole number for {name}, such as [01], got "):
        class_model(kinked_network(), 0, **UNIT | {name: value})


@pytest.mark.parametrize("options", [
    {"momentum": None}, {"step_size": None}, {"step_size": "1"}, {"regularisation": "0.1"}, {"step_size": True},
    {"mirror": 1}, {"contrast": np.ones(2)}, {"exponent": torch.tensor(1.0)}, {"blur": [1]}, {"last_blur": "0"},
])  # fmt: skip
def test_a_number_has_to_be_one(options: dict[str, Any]) -> None:
    with pytest.raises(TypeError, match=f"expected .*{next(iter(options))}.*got"):
        class_model(kinked_network(), 0, **options)


@pytest.mark.parametrize("options", [
    {"last_blur": 2.0}, {"last_step_size": 2.0}, UNIT | {"blur": 0.0, "last_blur": 2.0},
])  # fmt: skip
def test_an_option_is_obeyed_or_refused_but_never_ignored(options: dict[str, Any]) -> None:
    without = {key: value for key, value in options.items() if not key.startswith("last")}
    start = normal(1, 3, 6, 8)
    expected = bits(climb(kinked_network(), 0, start=start, steps=5, **without))
    try:
        found = bits(climb(kinked_network(), 0, start=start, steps=5, **options))
    except ValueError:
        return
    assert found != expected


def test_a_start_too_large_to_be_squared_is_told_with_a_remedy() -> None:
    with pytest.raises(ValueError, match=r"start.*\. "):
        climb(on_paper(), 0, start=torch.full((1, 1, 1, 2), 1e25))


@pytest.mark.parametrize(("option", "near"), [
    ("step", "steps"), ("regularization", "regularisation"), ("stepsize", "step_size"), ("jiter", "jitter"),
])  # fmt: skip
def test_an_unknown_option_names_a_near_one(option: str, near: str) -> None:
    with pytest.raises(TypeError, match=rf"no option '{option}'; there are steps, .*Did you mean '{near}'\?"):
        class_model(kinked_network(), 0, **{option: 1})
    with pytest.raises(TypeError, match=r"no option 'qqq'; there are steps, regularisation, .*blur_every\.?"):
        class_model(kinked_network(), 0, qqq=1)


@pytest.mark.parametrize(("classes", "start", "message"), [
    (0, torch.zeros(1, 3, 8, 6), r"expected a start \(1, 3, 6, 8\), the network's own size, got \(1, 3, 8, 6\)"),
    (0, torch.zeros(3, 6, 8), r"\(1, 3, 6, 8\).*got \(3, 6, 8\)"), (0, torch.zeros(1, 1, 6, 8), r"got \(1, 1, 6, 8\)"),
    (0, torch.zeros(2, 3, 6, 8), r"expected a start \(1, 3, 6, 8\).*got \(2, 3, 6, 8\)"),
    ([0, 1, 2], torch.zeros(2, 3, 6, 8), r"expected a start \(1 or 3, 3, 6, 8\).*prepare\(picture\)"),
    ([0, 1], torch.zeros(0, 3, 6, 8), r"\(1 or 2, 3, 6, 8\)"),
    (0, torch.zeros(1, 3, 6, 8, dtype=torch.uint8), "finite floats in normalised space"),
    (0, torch.zeros(1, 3, 6, 8, dtype=torch.int64), "finite floats in normalised space"),
    (0, torch.full((1, 3, 6, 8), torch.nan), "finite floats"), ([0], -torch.full((1, 3, 6, 8), torch.inf), "finite"),
])  # fmt: skip
def test_a_start_of_another_kind_is_refused_at_once(classes: Any, start: Tensor, message: str) -> None:
    classifier = kinked_network()
    with pytest.raises(ValueError, match=message), no_trace(start):
        class_model(classifier, classes, start=start)


def test_a_photo_that_is_none_is_refused_at_once(tmp_path: Any) -> None:
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"no picture at all")
    with pytest.raises(ValueError, match="broken"):
        class_model(kinked_network(), 0, start=broken)
    for start in (None, 3, object()):
        with pytest.raises(TypeError, match="expected a path"):
            class_model(kinked_network(), 0, start=start)
    with pytest.raises(FileNotFoundError, match="missing"):
        class_model(kinked_network(), 0, start=tmp_path / "missing.png")
    with pytest.raises((ValueError, TypeError)):
        class_model(kinked_network(), 0, start=np.zeros((6, 8, 3), np.float32))


def gated() -> Classifier:
    """S_0 = ReLU(0.1 Σ I − 0.01) is off at the zero image; S_1 = ReLU(Σ I + 1) is on."""
    network = nn.Sequential(nn.Flatten(), nn.Linear(16, 2), nn.ReLU()).eval()
    with torch.no_grad():
        network[1].weight[:] = torch.tensor([[0.1], [1.0]])
        network[1].bias[:] = torch.tensor([-0.01, 1.0])
    return Classifier(network, ["held", "free"], (), (4, 4), (0.5,), (0.25,))


def waking_noise(shape: tuple[int, ...], state: int, alive: Callable[[Tensor], bool]) -> tuple[float, Tensor]:
    """As the documentation says it, draw by draw."""
    random = torch.Generator().manual_seed(state)
    for sigma in (0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28):
        noise = sigma * torch.randn(shape, generator=random)
        if alive(noise):
            return sigma, noise
    raise AssertionError("no noise wakes it; take another state")


@pytest.mark.parametrize("options", [{}, FIXED | {"step_size": 0.01}, UNIT, REGULARISED])
@pytest.mark.parametrize("state", range(6))
def test_a_class_whose_score_a_relu_holds_begins_with_the_faintest_noise_that_wakes_it(
    options: dict[str, Any], state: int
) -> None:
    """The gate is open where Σ I > 0.1. The ascent from there is the one that begins with that very image."""
    classifier, more = gated(), {"steps": 3, "random_state": state} | options
    sigma, noise = waking_noise((1, 4, 4), state, lambda x: float(x.double().sum()) > 0.1)
    steps = climb(classifier, 0, **more)
    assert [step.noise for step in steps] == [sigma] * 3
    assert repr(steps[0]).endswith(f", noise {sigma:g} added to the start)")
    same = climb(classifier, 0, start=noise[None], **more)
    assert bits(steps) == bits(same)
    assert {step.noise for step in same} == {0}


@pytest.mark.parametrize("options", [{}, UNIT, REGULARISED])
def test_noise_is_for_the_class_that_needs_it_and_changes_no_other(options: dict[str, Any]) -> None:
    classifier, more = gated(), {"steps": 3} | options
    alone = {c: climb(classifier, c, **more) for c in (0, 1)}
    assert alone[0][0].noise > alone[1][0].noise == 0
    assert "noise" not in repr(alone[1][0])
    for place, c in enumerate((1, 0)):
        together = [step[place] for step in climb(classifier, [1, 0], **more)]
        for one, other in zip(together, alone[c], strict=True):
            assert one.noise == other.noise
            torch.testing.assert_close(one.image, other.image, rtol=1e-6, atol=1e-7)


def test_noise_is_added_to_a_start_of_ones_own() -> None:
    start = torch.full((1, 1, 4, 4), -0.02)  # Σ I = −0.32
    (step,) = climb(gated(), 0, start=start, steps=1, step_size=1e-3, **UNIT)
    sigma, noise = waking_noise((1, 4, 4), 0, lambda x: float((start + x).double().sum()) > 0.1)
    assert step.noise == sigma
    assert float((step.image - start - noise).norm()) == pytest.approx(1e-3, rel=1e-3)


@pytest.mark.parametrize("options", [{}, FIXED, UNIT])
def test_a_class_that_no_noise_wakes_is_told_with_a_remedy_that_helps(options: dict[str, Any]) -> None:
    classifier = gated()
    with torch.no_grad():
        classifier.network[1].bias[0] = -100.0  # open where Σ I > 1000
    for classes in (0, [1, 0]):
        steps = class_model(classifier, classes, steps=3, **options)
        with pytest.raises(ValueError, match=r"'held' \(0\) does not change .* up to 1.28.*with a photo") as told:
            next(steps)
    assert "start='noise'" not in str(told.value)  # which would be the same again
    assert climb(classifier, 1, steps=3, **options)
    assert climb(classifier, 0, start=torch.full((1, 1, 4, 4), 200.0), steps=1, **options)[0].score > 0


class Standardising(nn.Module):
    """Linear scores of an image that is first brought to one scale, of 1×4×4 pixels."""

    def __init__(self, scaled: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.scaled, self.linear = scaled, nn.Linear(16, 2)
        with torch.no_grad():
            self.linear.weight[:] = normal(2, 16)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(self.scaled(x.flatten(1)))


STANDARDISING: dict[str, Callable[[Tensor], Tensor]] = {
    "standardised": lambda x: (x - x.mean(1, keepdim=True)) / x.std(1, keepdim=True),
    "its gradient alone is NaN": lambda x: (x - x.mean(1, keepdim=True)) / (x.var(1, keepdim=True).sqrt() + 1e-3),
    "min-max": lambda x: (x - x.amin(1, keepdim=True)) / (x.amax(1, keepdim=True) - x.amin(1, keepdim=True)),
    "length 1": lambda x: x / x.norm(dim=1, keepdim=True),
}


@pytest.mark.parametrize("scaled", STANDARDISING.values(), ids=STANDARDISING)
@pytest.mark.parametrize("options", [{}, FIXED | {"step_size": 1e-3}, UNIT, REGULARISED])
def test_a_network_that_standardises_begins_with_the_faintest_noise(
    options: dict[str, Any], scaled: Callable[[Tensor], Tensor]
) -> None:
    """At an image of one colour it has 0 / 0; with any noise it has not, so the first is the one, whatever it is."""
    classifier = Classifier(Standardising(scaled).eval(), ["one", "other"], (), (4, 4), (0.4,), (0.25,))
    _, noise = waking_noise((1, 4, 4), 0, lambda x: True)
    steps = climb(classifier, 0, steps=3, **options)
    assert [step.noise for step in steps] == [0.01] * 3
    assert bits(steps) == bits(climb(classifier, 0, start=noise[None], steps=3, **options))
    pictures = torch.stack([normal(1, 4, 4, seed=2).float(), torch.zeros(1, 4, 4)])
    pairs = climb(classifier, [0, 1], start=pictures, steps=3, **options)
    assert [step.noise for step in pairs[0]] == [0, 0.01]
    (alone, *_) = climb(classifier, 1, start=pictures[1:] + noise, steps=3, **options)
    torch.testing.assert_close(pairs[0][1].image, alone.image, rtol=1e-4, atol=1e-5)


def test_scores_that_noise_does_not_make_finite_are_told_with_what_to_begin_with() -> None:
    steps = class_model(on_paper(), 0, start=torch.full((1, 1, 1, 2), 1e30), steps=3)
    with pytest.raises(ValueError, match=r"at the start .* not finite.* Begin with start='noise', or with a picture"):
        next(steps)


@pytest.mark.filterwarnings("ignore:None of the inputs have requires_grad")
def test_a_reentrant_checkpoint_is_told() -> None:
    class Checkpointed(nn.Module):
        def __init__(self, reentrant: bool) -> None:
            super().__init__()
            self.body, self.reentrant = nn.Sequential(nn.Flatten(), nn.Linear(16, 2)), reentrant

        def forward(self, x: Tensor) -> Tensor:
            scores: Tensor = checkpoint(self.body, x, use_reentrant=self.reentrant)
            return scores

    wrapped = [Classifier(Checkpointed(r).eval(), ["one", "other"], (), (4, 4), (0.4,), (0.25,)) for r in (True, False)]
    with pytest.raises(ValueError, match=r"reentrant checkpoint.*use_reentrant=False"):
        climb(wrapped[0], 0, steps=1)
    assert climb(wrapped[1], 0, steps=1)[0].number == 1


class Deaf(nn.Module):
    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> Tensor:
        return self.network(x.detach())


@pytest.mark.parametrize("frozen", [True, False])
@pytest.mark.parametrize("options", [{}, FIXED])
def test_scores_that_do_not_depend_on_the_image_are_told(frozen: bool, options: dict[str, Any]) -> None:
    inner = on_paper()
    network = Deaf(inner.network).eval().requires_grad_(not frozen)
    steps = class_model(Classifier(network, inner.labels, (), (1, 2), (0.5,), (0.25,)), 0, **options)
    with pytest.raises(ValueError, match=r"scores do not depend on the image.*detach"):
        next(steps)


# Divergence


def test_a_fixed_step_that_is_too_long_stops_and_keeps_the_last_good_step() -> None:
    given_away: list[Step] = []
    with pytest.raises(DivergedError, match=r"diverged in step (\d+): .*Lower step_size=1e\+08, .*'rising'") as caught:
        given_away.extend(class_model(on_paper(), 0, step_size=1e8, **FIXED, **PAPER))
    assert len(given_away) >= 1
    assert caught.value.last is given_away[-1]
    assert f"diverged in step {len(given_away) + 1}: " in str(caught.value)
    assert all(math.isfinite(s.objective) and bool(s.image.isfinite().all()) for s in given_away)
    assert isinstance(caught.value, ValueError)


def test_a_first_step_that_diverges_keeps_the_start() -> None:
    start = torch.tensor([[[[7.0, -4.0]]]])
    steps = class_model(on_paper(), 0, start=start, step_size=1e30, **FIXED, **PAPER)
    with pytest.raises(DivergedError, match="diverged in step 1: ") as caught:
        next(steps)
    last = caught.value.last
    assert isinstance(last, Step)
    assert (last.number, last.image.tolist(), last.scores.tolist()) == (0, start.tolist(), [6, -15])
    assert last.objective == 6 - 0.5 * 65
    assert list(steps) == []


def test_several_classes_that_diverge_keep_a_step_each() -> None:
    classifier = linear([[3, 4], [0, 0.001]])
    given_away: list[Any] = []
    with pytest.raises(DivergedError) as caught:
        given_away.extend(class_model(classifier, [1, 0], step_size=1e8, **FIXED, **PAPER))
    assert isinstance(caught.value.last, tuple)
    assert given_away
    assert all(kept is good for kept, good in zip(caught.value.last, given_away[-1], strict=True))
    with pytest.raises(DivergedError) as caught:
        climb(classifier, [1, 0], step_size=1e30, **FIXED, **PAPER)
    assert [s.number for s in caught.value.last] == [0, 0]


def test_scores_that_become_infinite_are_a_divergence_too() -> None:
    classifier = steep()
    with pytest.raises(DivergedError, match=r"scores are not finite.*Lower step_size=50"):
        climb(classifier, 0, step_size=50.0, regularisation=0, **FIXED)
    with pytest.raises(DivergedError, match="objective is not finite"):
        climb(on_paper(), 0, step_size=1e25, **UNIT)


def test_an_image_that_is_not_finite_is_named_by_a_kind_of_its_own(classifier: Classifier) -> None:
    with pytest.raises(NotFiniteError, match="image holds NaN"):
        classifier.scores(torch.full((1, 3, 224, 224), torch.nan))
    broken = on_paper()
    with torch.no_grad():
        broken.network[1].weight[0, 0] = 3e38
    with pytest.raises(NotFiniteError, match="scores are not finite"):
        broken.scores(torch.full((1, 1, 1, 2), 9.0))
    assert issubclass(NotFiniteError, ValueError)


# On the real network


def test_every_class_that_the_last_relu_holds_at_the_zero_image_gives_a_picture(classifier: Classifier) -> None:
    """As many steps as one needs to see that each climbs; docs/class_models.md tells of all 1,000 and of all steps."""
    zero = torch.zeros(1, 3, 224, 224)
    held = (classifier.scores(zero)[0] == 0).nonzero()[:, 0].tolist()
    assert len(held) == 8
    assert classifier.find("lorikeet") in held
    steps = climb(classifier, [*held, 99], steps=12)
    assert all(0 < step.noise <= 0.1 for step in steps[0][:8])
    assert steps[0][8].noise == 0
    for first, last in zip(steps[0][:8], steps[-1], strict=False):
        assert last.score > first.score + 1
    assert bits(climb(classifier, held[0], steps=1)) == bits(climb(classifier, held[0], steps=1))


def test_three_classes_are_certain_after_the_paper_recipe_and_a_png(classifier: Classifier) -> None:
    classes = [classifier.find(name) for name in ("goose", "ostrich", "racer")]
    for step in climb(classifier, classes, steps=30)[-1]:
        stream = io.BytesIO()
        step.picture.save(stream, "PNG")
        best = classifier.top(stream.getvalue(), 1)[0]
        assert best.class_index == step.class_index
        assert best.probability >= 0.99
