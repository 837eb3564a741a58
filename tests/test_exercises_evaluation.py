"""The checks of lesson 6 accept right answers however they are written, and name each known mistake."""

import re

import numpy as np
import pytest
from exercise_kit import accepted, refused
from scipy.stats import bootstrap

import deepinside_edu as di
from deepinside_edu.evaluation.localisation_error import Guess, TrueClass, judge_image
from deepinside_edu.exercises.evaluation import check_paired_interval, check_rule


def rule(guesses, name, boxes, right=lambda guess, true: di.box_iou(guess, true) >= 0.5, instances=any, count=5):
    return any(each == name and instances(right(box, true) for true in boxes) for each, box in guesses[:count])


def rule_in_loops(guesses, name, boxes):
    for each, box in guesses[:5]:
        for true in boxes:
            if each == name and di.box_iou(box, true) >= 0.5:
                return 1
    return 0


def rule_of_the_package(guesses, name, boxes):
    guessed = [Guess(int(each == name), box) for each, box in guesses]
    return judge_image(guessed, [TrueClass((1,), tuple(boxes))], [None]).top_5


@pytest.mark.parametrize("function", [rule, rule_in_loops, rule_of_the_package, lambda *a: np.bool_(rule(*a))])
def test_right_rules_are_accepted(function):
    accepted(check_rule, function)


def shared(one, other):
    width = max(0, min(one[2], other[2]) - max(one[0], other[0]))
    return width * max(0, min(one[3], other[3]) - max(one[1], other[1]))


def area(box):
    return (box[2] - box[0]) * (box[3] - box[1])


def inclusive_iou(one, other):
    return di.box_iou((*one[:2], one[2] + 1, one[3] + 1), (*other[:2], other[2] + 1, other[3] + 1))


def shorter_iou(one, other):
    return di.box_iou((*one[:2], one[2] - 1, one[3] - 1), (*other[:2], other[2] - 1, other[3] - 1))


def shared_of_both_areas(one, other):
    return shared(one, other) / (area(one) + area(other)) >= 0.5


def overwritten(guesses, name, boxes):
    """Each instance sets the flag anew."""
    right = False
    for each, box in guesses[:5]:
        if each == name:
            for true in boxes:
                right = di.box_iou(box, true) >= 0.5
    return right


def apart(guesses, name, boxes):
    best = guesses[:5]
    return any(n == name for n, _ in best) and any(di.box_iou(b, t) >= 0.5 for _, b in best for t in boxes)


RULE_MISTAKES = [
    (lambda *a: rule(*a, count=1), "first guess alone"),
    (lambda *a: rule(*a, count=None), "more than five guesses"),
    (apart, "one guess bring the class and another the box"),
    (lambda g, name, boxes: any(n == name for n, _ in g[:5]), "never look at the box"),
    (lambda g, name, boxes: any(di.box_iou(b, t) >= 0.5 for _, b in g[:5] for t in boxes), "never look at the class"),
    (lambda g, name, boxes: all(rule([each], name, boxes) for each in g[:5]), "every guess be right"),
    (lambda g, name, boxes: rule(g, name, boxes[:1]), "first instance alone"),
    (lambda g, name, boxes: rule(g, name, boxes[-1:]), "last instance alone"),
    (lambda *a: rule(*a, instances=all), "with every instance"),
    (lambda *a: rule(*a, right=lambda guess, true: di.box_iou(guess, true) > 0.5), "exactly 0.5 is a hit"),
    (lambda *a: rule(*a, right=lambda guess, true: inclusive_iou(guess, true) >= 0.5), "You added 1"),
    (lambda *a: rule(*a, right=lambda guess, true: shorter_iou(guess, true) >= 0.5), "You subtracted 1"),
    (lambda *a: rule(*a, right=shared_of_both_areas), "the sum of both areas"),
    (lambda *a: rule(*a, right=lambda guess, true: shared(guess, true) / area(true) >= 0.5), "the true box's area"),
    (lambda *a: rule(*a, right=lambda guess, true: shared(guess, true) / area(guess) >= 0.5), "the guessed box's area"),
    (lambda *a: rule(*a, right=lambda guess, true: shared(guess, true) > 0), "Any overlap is enough"),
    (lambda *a: not rule(*a), "This is reversed"),
    (lambda g, *_: [True for _ in g], "for the image as a whole"),
    (lambda *a: "yes", "returned the text 'yes'; expected True or False"),
    (lambda *a: 0.7, "returned 0.7; expected True or False"),
    (lambda g, name, boxes: len(g) == 2, "For the guesses [('hen'"),
    (lambda g, name, boxes: len(g) == 2, "your answer is True; expected False."),
]


@pytest.mark.parametrize(("function", "words"), RULE_MISTAKES, ids=lambda each: each if isinstance(each, str) else "")
def test_wrong_rules_are_named(function, words):
    refused(check_rule, function, re.escape(words), never=["mistakes at once"])


def test_a_flag_that_is_overwritten_forgets_earlier_guesses_and_instances():
    words = "Two mistakes at once", "one guess per class, the last", "last instance alone"
    refused(check_rule, overwritten, *words)


def test_two_mistakes_at_once_are_both_named():
    refused(
        check_rule, lambda *a: rule(*a, count=1, right=lambda guess, true: di.box_iou(guess, true) > 0.5),
        "first guess alone", "exactly 0.5",
    )  # fmt: skip


def interval(ours, theirs, draws, ends=(0.025, 0.975), of=lambda drawn: drawn.mean(1), seed=3):
    chosen = np.random.default_rng(seed).integers(0, len(ours), (draws, len(ours)))
    return np.quantile(of((ours - theirs)[chosen]), ends)


def interval_in_a_loop(ours, theirs, draws):
    rng, means = np.random.default_rng(), []
    for _ in range(draws):
        chosen = rng.choice(len(ours), len(ours))
        means.append(ours[chosen].mean() - theirs[chosen].mean())
    return tuple(np.percentile(means, [2.5, 97.5]))


def interval_by_scipy(ours, theirs, draws):
    ends = bootstrap((ours - theirs,), np.mean, n_resamples=draws, method="percentile").confidence_interval
    return [ends.low, ends.high]


@pytest.mark.parametrize("function", [interval, interval_in_a_loop, interval_by_scipy])
def test_right_intervals_are_accepted(function):
    accepted(check_paired_interval, function)


@pytest.mark.parametrize("seed", range(20))
def test_the_luck_of_the_draws_makes_no_answer_wrong(seed):
    accepted(check_paired_interval, lambda *a: interval(*a, seed=seed))


def unpaired(ours, theirs, draws):
    rng = np.random.default_rng(0)
    first, second = rng.integers(0, len(ours), (2, draws, len(ours)))
    return np.quantile(ours[first].mean(1) - theirs[second].mean(1), (0.025, 0.975))


def shuffled(ours, theirs, draws):
    rng = np.random.default_rng(0)
    return np.quantile([rng.permutation(ours - theirs).mean() for _ in range(draws)], (0.025, 0.975))


def never_the_last(ours, theirs, draws):
    chosen = np.random.default_rng(0).integers(0, len(ours) - 1, (draws, len(ours)))
    return np.quantile((ours - theirs)[chosen].mean(1), (0.025, 0.975))


def one_standard_error(ours, theirs, draws):
    mean, error = (ours - theirs).mean(), (ours - theirs).std() / len(ours) ** 0.5
    return mean - error, mean + error


def normal(ours, theirs, draws):
    mean, error = (ours - theirs).mean(), (ours - theirs).std() / len(ours) ** 0.5
    return mean - 1.96 * error, mean + 1.96 * error


INTERVAL_MISTAKES = [
    (lambda o, t, n: interval(t, o, n), "sign is reversed"),
    (unpaired, "other images for theirs"),
    (shuffled, "draw with replacement"),
    (lambda *a: interval(*a, of=lambda drawn: drawn.mean(0)), "along the other axis"),
    (never_the_last, "The last image is never drawn"),
    (lambda o, t, n: np.quantile(o - t, (0.025, 0.975)), "quantiles of the differences themselves"),
    (lambda *a: interval(*a, of=np.ravel), "quantiles of the differences themselves"),
    (lambda *a: interval(*a, of=lambda drawn: np.median(drawn, 1)), "median"),
    (lambda *a: interval(*a, of=lambda drawn: drawn.sum(1)), "sum"),
    (lambda *a: interval(*a, ends=(0.05, 0.95)), "90 % interval"),
    (lambda *a: interval(*a, ends=(0.025, 0.95)), "Only one end"),
    (lambda *a: interval(*a)[::-1], "exchanged"),
    (lambda *a: interval(*a, ends=(0.00025, 0.00975)), "np.percentile counts from 0 to 100"),
    (one_standard_error, "holds 68 %"),
    (normal, "1.96 standard errors"),
    (lambda o, t, n: (o - t).mean(), "one number, 0.1; expected two numbers"),
    (lambda o, t, n: interval(o, t, n)[:1], "of shape (1,); expected two numbers"),
    (lambda *_: "wide", "the text 'wide'"),
    (lambda *_: (0.0, np.nan), "is nan; expected 0.253"),
    (lambda *_: (0.0, 9.0), "always the same (0, 9)"),
    (lambda o, t, n: interval(o, t, n) * 3, "95 % have a mean in (0.003, 0.253)"),
]


@pytest.mark.parametrize(
    ("function", "words"), INTERVAL_MISTAKES, ids=lambda value: value if isinstance(value, str) else ""
)
def test_wrong_intervals_are_named(function, words):
    refused(check_paired_interval, function, re.escape(words), never=["mistakes at once"])


def test_two_mistakes_of_an_interval_are_both_named():
    answer = lambda o, t, n: interval(t, o, n, ends=(0.05, 0.95))  # noqa: E731
    refused(check_paired_interval, answer, "sign is reversed", "90 % interval")


def test_an_error_in_a_rule_is_shown_with_its_input():
    refused(check_rule, lambda *_: [][1], re.escape("It was given the guesses [('hen', (0, 0, 10, 9))"))


def test_the_learners_function_may_write_into_what_it_is_given():
    def careless(ours, theirs, draws):
        ours -= theirs
        return interval(ours, 0, draws)

    def emptying(guesses, name, boxes):
        answer = rule(guesses, name, boxes)
        guesses.clear()
        boxes.clear()
        return answer

    accepted(check_paired_interval, careless)
    accepted(check_rule, emptying)
