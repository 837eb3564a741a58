"""The rule against the devkit's, written again in its own inclusive pixels; sums and shares against fractions."""

import dataclasses
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deepinside_edu.evaluation.localisation_error import (
    Counts,
    Guess,
    ImageResult,
    TrueClass,
    accumulate,
    errors_from,
    judge_image,
    missed_image,
)

# The devkit's rule, in its own convention: both corners belong to the box, and widths are xmax - xmin + 1.


def devkit_overlap(one: tuple, other: tuple) -> Fraction:
    width = min(one[2], other[2]) - max(one[0], other[0]) + 1
    height = min(one[3], other[3]) - max(one[1], other[1]) + 1
    if width <= 0 or height <= 0:
        return Fraction(0)
    union = sum((b[2] - b[0] + 1) * (b[3] - b[1] + 1) for b in (one, other)) - width * height
    return Fraction(width * height, union)


def devkit_error(guesses: list, label: int, instances: list) -> int:
    """1 if no guess is right, as eval_localization_flat.m has it: min over guesses of max(overlap < 0.5, wrong)."""
    half = Fraction(1, 2)
    errors = [
        max(int(box is None or devkit_overlap(box, instance) < half), int(guessed != label))
        for guessed, box in guesses
        for instance in instances
    ]
    return min(errors, default=1)


def exclusive(box: tuple | None) -> Any:
    return box and (box[0], box[1], box[2] + 1, box[3] + 1)


INCLUSIVE = st.tuples(*[st.integers(0, 7)] * 4).map(
    lambda b: (min(b[0], b[2]), min(b[1], b[3]), max(b[0], b[2]), max(b[1], b[3]))
)
GUESSES = st.lists(st.tuples(st.integers(0, 3), st.none() | INCLUSIVE), max_size=7)
INSTANCES = st.lists(INCLUSIVE, min_size=1, max_size=3)


def judged(guesses: list, label: int, instances: list, told: tuple | None = None) -> ImageResult:
    """`judge_image` for boxes that are written as the devkit writes them."""
    truth = TrueClass((label,), tuple(exclusive(box) for box in instances))
    return judge_image([Guess(c, exclusive(box)) for c, box in guesses], [truth], [exclusive(told)])


@pytest.mark.slow
@settings(max_examples=400)
@given(GUESSES, st.integers(0, 3), INSTANCES, st.none() | INCLUSIVE)
def test_a_verdict_is_the_devkits(guesses: list, label: int, instances: list, told: tuple | None) -> None:
    verdict = judged(guesses, label, instances, told)
    assert verdict.top_1 is not bool(devkit_error(guesses[:1], label, instances))
    assert verdict.top_5 is not bool(devkit_error(guesses[:5], label, instances))
    assert verdict.true_class_hits == 1 - devkit_error([(label, told)], label, instances)
    assert verdict.named_1 == (label in [c for c, _ in guesses[:1]])
    assert verdict.named_5 == (label in [c for c, _ in guesses[:5]])
    assert verdict.without_box == len([box for _, box in guesses[:5] if box is None])
    assert (verdict.true_classes, verdict.unusable) == (1, False)


@pytest.mark.parametrize(
    ("box", "instance", "hit"),
    [
        ((0, 0, 9, 9), (0, 0, 9, 9), True),
        ((0, 0, 9, 4), (0, 0, 9, 9), True),  # 50 of 100 pixels; without the +1 it would be 36 of 81
        ((0, 0, 9, 3), (0, 0, 9, 9), False),  # 40 of 100
        ((0, 0, 2, 0), (1, 0, 3, 0), True),  # 2 of 4; without the +1 nothing at all
        ((0, 0, 1, 0), (1, 0, 2, 0), False),  # 1 of 3
        ((0, 0, 98, 98), (0, 0, 98, 49), True),  # 4950 of 9801 is 0.50505
        ((0, 0, 98, 98), (0, 0, 98, 48), False),  # 4851 of 9801 is 0.49495
        ((0, 0, 9, 9), (10, 0, 19, 9), False),
        ((10, 20, 29, 59), (20, 10, 59, 29), False),  # with x for y, it would hit neither
        ((5, 5, 5, 5), (5, 5, 5, 5), True),  # one pixel
    ],
)
def test_hits_worked_out_on_paper(box: tuple, instance: tuple, hit: bool) -> None:
    verdict = judged([(3, box)], 3, [instance], box)
    assert (verdict.top_1, verdict.top_5, verdict.true_class_hits) == (hit, hit, int(hit))
    assert judged([(3, instance)], 3, [box]).top_5 is hit


def test_any_instance_of_the_class_will_do_and_no_other_class() -> None:
    far, near = (0, 0, 9, 9), (50, 50, 69, 69)
    assert judged([(1, near)], 1, [far, near]).top_1
    truth = [TrueClass((1,), (far,)), TrueClass((2,), (near,))]
    assert not judge_image([Guess(1, near)], truth, [None, None]).top_5  # the box of the other class
    assert judge_image([Guess(2, near)], truth, [None, None]).top_1
    assert judge_image([Guess(1, near)], truth, [None, None]).named_1


def test_five_guesses_count_and_the_sixth_does_not() -> None:
    box = (0, 0, 9, 9)
    for place in range(7):
        verdict = judged([(1 if n == place else 0, box) for n in range(7)], 1, [box])
        assert (verdict.top_1, verdict.top_5) == (place == 0, place < 5)


def test_several_true_classes_and_several_that_mean_one() -> None:
    truth = [TrueClass((4, 5), ((0, 0, 10, 10),)), TrueClass((7,), ((50, 0, 60, 10), (0, 50, 10, 60)))]
    verdict = judge_image([Guess(5, (0, 0, 10, 10)), Guess(9, None)], truth, [(0, 0, 10, 9), (0, 50, 10, 58)])
    assert verdict == ImageResult(True, True, True, True, true_classes=2, true_class_hits=2, without_box=1)
    assert judge_image([], truth, [None, (50, 0, 60, 10)]) == ImageResult(False, False, False, False, 2, 1)


@given(GUESSES, st.integers(0, 3), INSTANCES, st.randoms())
def test_what_a_verdict_can_never_be(guesses: list, label: int, instances: list, random: Any) -> None:
    verdict = judged(guesses, label, instances)
    assert verdict.top_1 <= verdict.top_5 <= verdict.named_5
    assert verdict.top_1 <= verdict.named_1 <= verdict.named_5
    shuffled = guesses[:5]
    random.shuffle(shuffled)
    assert judged(shuffled, label, instances).top_5 == verdict.top_5
    assert judged(guesses, label, instances[::-1]) == verdict
    assert judged(guesses, label, [*instances, (0, 0, 7, 7)]).top_5 >= verdict.top_5
    moved = [(c, box and tuple(edge + 100 for edge in box)) for c, box in guesses]
    assert judged(moved, label, [tuple(edge + 100 for edge in box) for box in instances]) == verdict


def test_what_cannot_be_judged_is_refused() -> None:
    true = TrueClass((1,), ((0, 0, 5, 5),))
    for truth, told in (([], []), ([TrueClass((1,), ())], [None])):
        with pytest.raises(ValueError, match=r"at least one box. Use missed_image\(\)"):
            judge_image([], truth, told)
    with pytest.raises(ValueError, match="each of 1 true classes, got 2"):
        judge_image([], [true], [None, None])
    with pytest.raises(ValueError, match="left < right"):
        judge_image([Guess(1, (5, 0, 5, 5))], [true], [None])


# Sums and shares

VERDICTS = st.lists(
    st.builds(ImageResult, *[st.booleans()] * 4, true_classes=st.just(3), true_class_hits=st.integers(0, 3),
              without_box=st.integers(0, 5)) | st.builds(missed_image, st.integers(0, 4)),
    min_size=1, max_size=30,
)  # fmt: skip


@given(VERDICTS, st.randoms())
def test_counts_are_sums_and_errors_are_shares_of_all_images(verdicts: list[ImageResult], random: Any) -> None:
    counts = Counts()
    for verdict in verdicts:
        counts = accumulate(counts, verdict)
    assert counts.images == len(verdicts)
    for each in dataclasses.fields(ImageResult):
        value = getattr(counts, each.name)
        assert type(value) is int
        assert value == sum(int(getattr(verdict, each.name)) for verdict in verdicts)
    error = errors_from(counts)
    for share, name in ((error.top_1, "top_1"), (error.top_5, "top_5"), (error.class_top_1, "named_1"),
                        (error.class_top_5, "named_5")):  # fmt: skip
        misses = len([v for v in verdicts if not getattr(v, name)])
        assert share == pytest.approx(float(Fraction(misses, len(verdicts))), abs=1e-15)
    hits, pairs = sum(v.true_class_hits for v in verdicts), sum(v.true_classes for v in verdicts)
    assert error.true_class == pytest.approx(1 - hits / pairs, abs=1e-15)
    assert error.images == len(verdicts)
    random.shuffle(verdicts)
    again = Counts()
    for verdict in verdicts:
        again = accumulate(again, verdict)
    assert again == counts


def test_an_unusable_image_is_wrong_in_every_figure_and_stays_in_the_denominator() -> None:
    right = ImageResult(True, True, True, True, 1, 1)
    error = errors_from(accumulate(accumulate(Counts(), right), missed_image(0)))
    shares = (error.top_1, error.top_5, error.true_class, error.class_top_1, error.class_top_5)
    assert shares == (0.5,) * 5
    assert (error.images, error.counts.unusable) == (2, 1)
    assert missed_image(3).true_classes == 3


def test_the_table_has_the_figures_and_what_stands_behind_them() -> None:
    counts = Counts(images=8, top_1=2, top_5=3, named_1=4, named_5=6, true_classes=9, true_class_hits=6, without_box=5,
                    unusable=1)  # fmt: skip
    said = str(errors_from(counts, left_out=4)).splitlines()
    assert [line.split() for line in said[:5]] == [
        ["localisation", "error,", "top-5", "62.50%", "3", "of", "8", "images", "right"],
        ["localisation", "error,", "top-1", "75.00%", "2", "of", "8", "images", "right"],
        ["if", "the", "class", "is", "given", "33.33%", "6", "of", "9", "true", "classes", "right"],
        ["class", "error,", "top-5", "25.00%", "6", "of", "8", "images", "right"],
        ["class", "error,", "top-1", "50.00%", "4", "of", "8", "images", "right"],
    ]
    assert (
        said[5] == "8 images, 1 of them unusable and counted as misses; 4 left out on request; 5 guesses without a box"
    )


def test_counts_that_are_none_are_refused() -> None:
    with pytest.raises(ValueError, match="no image"):
        errors_from(Counts())
    for wrong in ({"top_5": 3}, {"top_1": -1}, {"true_class_hits": 5}, {"unusable": 3}):
        with pytest.raises(ValueError, match="sums of image results"):
            errors_from(dataclasses.replace(Counts(images=2, true_classes=2), **wrong))
