"""Class models as a learner asks for them: what a step tells, batches, starts, no trace, and what is refused."""

import io
import itertools
import math
import threading
from collections.abc import Callable
from dataclasses import FrozenInstanceError
from typing import Any

import numpy as np
import pytest
import torch
from climbs import FIXED, PAPER, REGULARISED, UNIT, bits, climb, linear, normal, objective_of, on_paper, steep
from no_trace import no_trace
from PIL import Image
from small_networks import MEAN, STD, kinked_network, small
from torch import Tensor, nn

from deepinside_edu import Classifier, DivergedError, Step, class_model, load_classifier, photo
from deepinside_edu.class_model import PRESETS
from deepinside_edu.classifier import NotFiniteError

# What a step tells


@pytest.mark.parametrize("preset", ["paper", "readable"])
def test_a_step_tells_of_its_own_image_whatever_the_network_saw(classifier: Classifier, preset: str) -> None:
    weight = PRESETS[preset].penalty
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


# Nothing runs before it is asked for, and nothing after


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


# The same call gives the same bits


@pytest.mark.slow
def test_the_same_call_gives_the_same_bits_on_the_shipped_network(classifier: Classifier) -> None:
    for preset, start in (("paper", "zero"), ("readable", "zero"), ("readable", "noise")):
        first, again, other = (
            climb(classifier, [8, 130], preset, start=start, steps=2, random_state=seed) for seed in (7, 7, 8)
        )
        assert bits(first) == bits(again)
        assert (bits(first) == bits(other)) is (preset == "paper")  # because nothing is random there


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
    """In float64 the order of a sum does not matter, although it may in float32 at a kink."""
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


@pytest.mark.slow
@pytest.mark.parametrize("preset", ["paper", "readable"])
def test_leaves_no_trace_on_the_shipped_network(preset: str) -> None:
    classifier = load_classifier(device="cpu")  # a new one: the shared one may have traces of earlier tests
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
    """This also holds if it is switched on between two steps, which blur and score by themselves."""
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


def test_a_start_too_large_to_be_squared_is_refused_with_a_remedy() -> None:
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


def test_a_start_at_the_peak_is_reported() -> None:
    peak = torch.tensor([[[[3.0, 4.0]]]])
    steps = class_model(on_paper(), 0, start=peak, **PAPER)
    with pytest.raises(ValueError, match=r"start is a peak already.*Pass start='noise', or a photo"):
        next(steps)
    with pytest.raises(ValueError, match="peak already"):
        climb(on_paper(), [0, 0], start=peak, **PAPER)


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


@pytest.mark.slow
def test_every_class_that_the_last_relu_holds_at_the_zero_image_gives_a_picture(classifier: Classifier) -> None:
    """It runs as many steps as show that each climbs; docs/class_models.md reports all 1,000 classes and all steps."""
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


@pytest.mark.slow
def test_three_classes_are_certain_after_the_paper_recipe_and_a_png(classifier: Classifier) -> None:
    classes = [classifier.find(name) for name in ("goose", "ostrich", "racer")]
    for step in climb(classifier, classes, steps=30)[-1]:
        stream = io.BytesIO()
        step.picture.save(stream, "PNG")
        best = classifier.top(stream.getvalue(), 1)[0]
        assert best.class_index == step.class_index
        assert best.probability >= 0.99
