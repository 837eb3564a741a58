"""The ascent against paper and pencil, closed forms, finite differences and slow loops of our own."""

import itertools
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
import torch
from climbs import FIXED, PAPER, REGULARISED, UNIT, bits, climb, linear, normal, objective_of, on_paper, steep
from hypothesis import assume, given
from hypothesis import strategies as st
from PIL import Image
from scipy.ndimage import gaussian_filter
from small_networks import kinked_network, smooth_network
from torch import Tensor, nn

from deepinside_edu import Classifier, Step, class_model, photo
from deepinside_edu.class_model import PRESETS, Recipe


def gradient_of(classifier: Classifier, image: Tensor, c: int, weight: float) -> Tensor:
    leaf = image.detach().clone().requires_grad_()
    score = classifier.network(leaf.clone())[0, c]
    return torch.autograd.grad(score, leaf)[0] - 2 * weight * image


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


@pytest.mark.slow
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
                break  # it takes a thousand passes to make sure that nothing is still higher
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


@pytest.mark.slow
def test_fixed_steps_on_the_shipped_network_equal_three_lines(classifier: Classifier) -> None:
    x, c = classifier.prepare(photo("panda")), 130
    steps = class_model(classifier, c, start=x, steps=3, regularisation=0.01, step_size=10.0, **FIXED)
    for step in steps:
        leaf = x.clone().requires_grad_()
        (w,) = torch.autograd.grad(classifier.network(leaf)[0, c], leaf)
        x = x + 10 * (w - 2 * 0.01 * x)
        torch.testing.assert_close(step.image, x, rtol=1e-6, atol=1e-6)
    assert step.number == 3


def slow_rise(
    classifier: Classifier, c: int, x: Tensor, size: float, weight: float, exponent: float = 1, momentum: float = 0.9
) -> Any:
    """The rule as the recipe documents it, walks too, in plain steps: the tries of each step, and where they led."""
    best, height, slope, held = x, objective_of(classifier, x, c, weight), gradient_of(classifier, x, c, weight), 0 * x
    length = size
    for number in itertools.count(1):
        here, g, d = best, slope, held
        for trial in itertools.count(1 if number > 1 else 13):
            d = momentum * d + g
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
    theirs = slow_rise(classifier, c, start, size, weight, exponent)
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
    tries, theirs = [], slow_rise(classifier, 1, x, 8.0, 0.1, momentum=momentum)
    for step, (trial, image, objective) in zip(steps, theirs, strict=False):
        tries.append(trial)
        torch.testing.assert_close(step.image, image, rtol=1e-7, atol=1e-9)
        assert step.objective == pytest.approx(objective, rel=1e-9)
    assert 1 in tries
    assert max(tries[1:]) >= (4 if momentum else 2), "no step failed; choose a longer one"


# Rising


def rises(objectives: Sequence[float]) -> bool:
    return all(one < other for one, other in itertools.pairwise(objectives))


@pytest.mark.slow
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


@pytest.mark.slow
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


class LowerOfTwo(nn.Module):
    """S = −max(x, y): where they tie, the gradient names one of them, and moving that one alone changes nothing."""

    def forward(self, x: Tensor) -> Tensor:
        score = -nn.functional.max_pool2d(x, 2).flatten(1)
        return torch.cat([score, 0 * score], 1)


def test_a_rising_ascent_leaves_the_kink_of_a_flat_start() -> None:
    classifier = Classifier(LowerOfTwo().eval(), ["low", "none"], (), (2, 2), (0.5,), (0.25,))
    for start in ("zero", torch.zeros(1, 1, 2, 2), Image.new("L", (2, 2), 100)):
        assert len(climb(classifier, 0, start=start, steps=5, regularisation=0)) == 5


@pytest.mark.slow
def test_a_first_step_far_beyond_all_numbers_is_halved_until_it_fits() -> None:
    steps = climb(kinked_network(), 1, steps=5, step_size=1e200)
    assert len(steps) == 5
    assert rises([step.objective for step in steps])


@pytest.mark.slow
@pytest.mark.parametrize("step_size", [1e4, 1e10])
def test_a_rising_ascent_does_not_diverge_however_long_its_first_step(step_size: float) -> None:
    steps = climb(on_paper(), 0, steps=60, step_size=step_size, **PAPER)
    assert steps[-1].objective == pytest.approx(13.5, rel=1e-4)


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


# What cannot be climbed


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


# Scores without a gradient at the start


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
    assert "start='noise'" not in str(told.value)  # because it would be the same again
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
