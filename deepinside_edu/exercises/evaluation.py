"""Checks for lesson 6: ILSVRC's rule for one image, and the bootstrap interval of a paired difference."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from fractions import Fraction
from functools import cache
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from .verdict import Verdict, ask

Box: TypeAlias = tuple[int, int, int, int]
Guesses: TypeAlias = list[tuple[str, Box]]
Case: TypeAlias = tuple[Guesses, str, list[Box]]
Values: TypeAlias = NDArray[np.float64]
Ends: TypeAlias = tuple[float, float]

DRAWS = 10_000
"""With so many the ends of two right answers differ by some 0.03 standard errors."""

TOLERANCE = 0.15
"""Of an interval's end, in standard errors; 90 % instead of 95 % moves it by 0.3."""


def check_rule(function: Callable[[Guesses, str, list[Box]], Any]) -> Verdict:
    """Check ILSVRC's rule for one image: one of five guesses has the right class and IoU ≥ 0.5 with an instance of it.

    Args:
        function: from guesses (name, box), best first, the true class's name and the boxes of all its instances to
            whether the image is right. Boxes are (left, top, right, bottom), right and bottom exclusive.

    Returns:
        A `Verdict` that names the mistake.
    """
    answers = []
    for guesses, name, boxes in _CASES:
        answer = ask(function, list(guesses), name, list(boxes))
        if isinstance(answer, Verdict):
            stopped = answer.message.startswith("Your function stopped")
            given = f" It was given {guesses}, {name!r} and {boxes}." if stopped else ""
            return Verdict(False, answer.message.rstrip(".") + "." + given)
        if not isinstance(answer, bool | np.bool_) and not (isinstance(answer, int) and answer in (0, 1)):
            return Verdict(False, f"You returned {answer!r:.80}; expected True or False for the image as a whole.")
        answers.append(bool(answer))
    expected = [_rule(case) for case in _CASES]
    if answers == expected:
        return Verdict(True, "Five guesses, class and box of the same guess, any instance, 0.5 itself a hit.")
    if answers == [not each for each in expected]:
        return Verdict(False, "this is turned round: it says whether the image is wrong, the error. Return the hit.")
    mistakes = sorted(itertools.product(_GUESSES, _JOIN, _INSTANCES, _RIGHT_BOX), key=lambda said: sum(map(bool, said)))
    for said in mistakes:
        if answers == [_rule(case, *said) for case in _CASES]:
            return Verdict(False, " And ".join(each.strip() for each in said if each))
    (guesses, name, boxes), answer = next(
        (case, answer) for case, answer, right in zip(_CASES, answers, expected, strict=True) if answer != right
    )
    return Verdict(
        False, f"for the guesses {guesses}, the class {name!r} and its boxes {boxes} you returned {answer}, and the "
        f"rule says {not answer}."
    )  # fmt: skip


_HEN: Box = (0, 0, 10, 10)
_FAR: Box = (50, 50, 60, 60)
_CASES: tuple[Case, ...] = (
    ([("hen", (0, 0, 10, 9)), ("cock", _FAR)], "hen", [_HEN]),
    ([("cock", _FAR), ("kite", _FAR), ("jay", _FAR), ("quail", _FAR), ("hen", _HEN)], "hen", [_HEN]),  # the fifth
    ([("cock", _FAR), ("kite", _FAR), ("jay", _FAR), ("quail", _FAR), ("coot", _FAR), ("hen", _HEN)], "hen", [_HEN]),
    ([("hen", _FAR), ("cock", _HEN)], "hen", [_HEN]),  # the class in one guess, the box in another
    ([("hen", _FAR), ("cock", _FAR)], "hen", [_HEN]),  # the class alone
    ([("cock", _HEN), ("kite", _HEN)], "hen", [_HEN]),  # the box alone
    ([("hen", (30, 0, 40, 9))], "hen", [_HEN, (30, 0, 40, 10), _FAR]),  # neither the first instance nor the last
    ([("hen", (0, 1, 10, 10))], "hen", [_HEN, (30, 0, 40, 10)]),  # the first one
    ([("hen", (30, 1, 40, 10))], "hen", [_HEN, (30, 0, 40, 10)]),  # the last one
    ([("hen", (0, 0, 10, 5))], "hen", [_HEN]),  # exactly 0.5
    ([("hen", (2, 2, 12, 12))], "hen", [_HEN]),  # 0.47, and more than 0.5 if both corners count
    ([("hen", (0, 0, 20, 20))], "hen", [_HEN]),  # all of the object, and much else
    ([("hen", (2, 2, 8, 8))], "hen", [_HEN]),  # nothing but the object, too little of it
    ([("hen", (0, 0, 3, 3))], "hen", [(0, 0, 4, 4)]),  # 0.56, and less than 0.5 if sides are a pixel shorter
)


def _iou(one: Box, other: Box) -> Fraction:
    """The oracle: each box is the set of its pixels."""
    a, b = (set(itertools.product(range(box[0], box[2]), range(box[1], box[3]))) for box in (one, other))
    return Fraction(len(a & b), len(a | b))


def _grown(box: Box, by: int = 1) -> Box:
    return box[0], box[1], box[2] + by, box[3] + by


def _covered(one: Box, other: Box) -> Fraction:
    """How much of the first box lies in the second."""
    a, b = (set(itertools.product(range(box[0], box[2]), range(box[1], box[3]))) for box in (one, other))
    return Fraction(len(a & b), len(a))


def _shared_of_sum(one: Box, other: Box) -> Fraction:
    """IoU is shared / (sum − shared), so that shared / sum is IoU / (1 + IoU)."""
    return _iou(one, other) / (1 + _iou(one, other))


_GUESSES: dict[str, int | None] = {
    "": 5,
    "you look at the first guess alone: that is top-1. Here one of five may be right.": 1,
    "you look at more than five guesses. Take guesses[:5]: with enough guesses anything is found.": None,
}
_JOIN: dict[str, Callable[[list[bool], list[bool]], bool]] = {
    "": lambda names, boxes: any(name and box for name, box in zip(names, boxes, strict=True)),
    "you let one guess bring the class and another the box. Both must be right in the same guess.": (
        lambda names, boxes: any(names) and any(boxes)
    ),
    "you never look at the box: this is the class error. The same guess must have IoU ≥ 0.5 too.": (
        lambda names, _: any(names)
    ),
    "you never look at the class. A right box under a wrong name is a miss.": lambda _, boxes: any(boxes),
    "you ask that every guess be right. One of them is enough.": (
        lambda names, boxes: all(name and box for name, box in zip(names, boxes, strict=True))
    ),
}
_INSTANCES: dict[str, Callable[[list[bool]], bool]] = {
    "": any,
    "you compare with the first instance alone (does a return in the loop end it too early?). Any instance of the "
    "class will do.": lambda hits: hits[0],
    "you compare with the last instance alone (is a return or a variable overwritten in the loop?). "
    "Any instance of the class will do.": lambda hits: hits[-1],
    "you ask for IoU ≥ 0.5 with every instance. Any one will do.": all,
}
_RIGHT_BOX: dict[str, Callable[[Box, Box], bool]] = {
    "": lambda guess, true: _iou(guess, true) >= Fraction(1, 2),
    "an IoU of exactly 0.5 is a hit: >=, not >.": lambda guess, true: _iou(guess, true) > Fraction(1, 2),
    "you added 1 to each width and height, as for inclusive corners. Right and bottom are exclusive here.": (
        lambda guess, true: _iou(_grown(guess), _grown(true)) >= Fraction(1, 2)
    ),
    "you took 1 from each width and height. Right and bottom are exclusive here: right - left is the width.": (
        lambda guess, true: _iou(_grown(guess, -1), _grown(true, -1)) >= Fraction(1, 2)
    ),
    "you divide by the sum of both areas, which has the shared pixels twice. The union is the sum less the shared.": (
        lambda guess, true: _shared_of_sum(guess, true) >= Fraction(1, 2)
    ),
    "you divide by the true box's area, so a box around everything hits. Divide by the area of the union.": (
        lambda guess, true: _covered(true, guess) >= Fraction(1, 2)
    ),
    "you divide by the guessed box's area, so one pixel of the object hits. Divide by the area of the union.": (
        lambda guess, true: _covered(guess, true) >= Fraction(1, 2)
    ),
    "any overlap is enough for you. IoU must be at least 0.5.": lambda guess, true: _iou(guess, true) > 0,
}


def _rule(case: Case, guesses: str = "", join: str = "", instances: str = "", right_box: str = "") -> bool:
    """ILSVRC's rule, with the mistakes that the words name."""
    given, name, boxes = case
    looked_at = given[: _GUESSES[guesses]]
    names = [guess == name for guess, _ in looked_at]
    hits = [_INSTANCES[instances]([_RIGHT_BOX[right_box](box, true) for true in boxes]) for _, box in looked_at]
    return _JOIN[join](names, hits)


def check_paired_interval(function: Callable[[Values, Values, int], Any]) -> Verdict:
    """Check the 95 % percentile bootstrap interval of a paired difference: of mean(ours − theirs) over images.

    Args:
        function: from two arrays `(N,)`, one value for each image in the same order, and the number of bootstrap
            samples to (low, high).

    Returns:
        A `Verdict` that names the mistake.
    """
    answers = []
    for ours, theirs in _PAIRS:
        answer = ask(function, ours.copy(), theirs.copy(), DRAWS)
        if isinstance(answer, Verdict):
            return answer
        try:
            ends = np.asarray(answer, float)
        except (TypeError, ValueError):
            ends = np.empty(0)
        if ends.shape != (2,):
            shape = f" of shape {ends.shape}" if ends.size else ""
            return Verdict(False, f"You returned {type(answer).__name__}{shape}; expected two numbers (low, high).")
        if not np.isfinite(ends).all():
            return Verdict(False, f"You returned {tuple(ends.tolist())}; expected two finite numbers (low, high).")
        answers.append((float(ends[0]), float(ends[1])))
    if _alike(answers, [_interval(*pair) for pair in _PAIRS]):
        return Verdict(True, "Whole images were drawn, each with both its values, and 95 % of the means lie inside.")
    known = sorted(itertools.product(_SIGN, _DRAWN, _OF, _ENDS), key=lambda said: sum(map(bool, said)))
    for said in known:
        if _alike(answers, [_interval(*pair, *said) for pair in _PAIRS]):
            return Verdict(False, " And ".join(each.strip() for each in said if each))
    if _alike(answers, [_normal(*pair) for pair in _PAIRS]):
        return Verdict(
            False, "this is mean ± 1.96 standard errors, as far up as down. Draw images; take quantiles of the means."
        )
    (ours, theirs), (low, high) = _PAIRS[0], answers[0]
    right = _interval(ours, theirs)
    return Verdict(
        False, f"for ours = {ours.tolist()} and theirs = {theirs.tolist()} you returned ({low:.3f}, {high:.3f}). Of "
        f"all {len(ours) ** len(ours)} draws 95 % have a mean in ({right[0]:.3f}, {right[1]:.3f}). Do you use draws?",
    )  # fmt: skip


# Six images: hard ones are hard for both, and the differences are skewed, so that each mistake shows.
_PAIRS: tuple[tuple[Values, Values], ...] = tuple(
    (np.add(theirs, differences).round(2), np.array(theirs))
    for theirs, differences in (
        ((0.12, 0.25, 0.41, 0.48, 0.33, 0.05), (0.02, -0.03, 0.05, 0.01, 0.08, 0.47)),
        ((0.62, 0.15, 0.34, 0.88, 0.51, 0.73), (-0.04, 0.03, 0.33, 0.06, 0.01, -0.07)),
    )
)


def _every_draw(count: int) -> NDArray[np.intp]:
    """The oracle: all N^N ways to draw N images with replacement, each as likely as any other."""
    return np.indices((count,) * count).reshape(count, -1).T


def _together(ours: Values, theirs: Values) -> Values:
    return (ours - theirs)[_every_draw(len(ours))]


def _apart(ours: Values, theirs: Values) -> Values:
    every = _every_draw(len(ours))
    other = np.random.default_rng(0).permutation(len(every))
    return np.asarray(ours[every] - theirs[every[other]])


def _without_replacement(ours: Values, theirs: Values) -> Values:
    return (ours - theirs)[None]


def _never_the_last(ours: Values, theirs: Values) -> Values:
    count = len(ours)
    return (ours - theirs)[np.indices((count - 1,) * count).reshape(count, -1).T]


_NO_MEANS = (
    "these are quantiles of the differences themselves, which say how much images differ. Draw samples and take the "
    "mean of each first."
)
_SIGN = {
    "": 1,
    "the sign is turned round: ours − theirs, so that above 0 ours is better.": -1,
}
_DRAWN: dict[str, Callable[[Values, Values], Values]] = {
    "": _together,
    "you draw images for ours and other images for theirs. Draw once and take both values of each image: what is "
    "hard for one is hard for the other, and in the difference that falls out.": _apart,
    "all your means are the same. Either each sample holds every image once: draw with replacement. Or they are means "
    "over the draws: take the mean of each draw's images, along the other axis.": _without_replacement,
    "the last image is never drawn: rng.integers(0, n) leaves n itself out already.": _never_the_last,
    _NO_MEANS: lambda ours, theirs: (ours - theirs)[:, None],
}
_OF: dict[str, Callable[[Values], Values]] = {
    "": lambda drawn: drawn.mean(1),
    f"{_NO_MEANS} ": lambda drawn: drawn.ravel(),
    "you take each sample's median; the table has means.": lambda drawn: np.asarray(np.median(drawn, 1)),
    "you take each sample's sum; divide by the number of images: the mean.": lambda drawn: drawn.sum(1),
}
_ENDS: dict[str, Callable[[Values], Ends]] = {
    "": lambda means: _quantiles(means, 0.025, 0.975),
    "this is a 90 % interval: 5 % are left out on each side. For 95 % leave out 2.5 % on each.": (
        lambda means: _quantiles(means, 0.05, 0.95)
    ),
    "only one end leaves 2.5 % out: the interval runs from the 2.5 % to the 97.5 % quantile.": (
        lambda means: _quantiles(means, 0.025, 0.95)
    ),
    "the ends are exchanged: (low, high).": lambda means: _quantiles(means, 0.975, 0.025),
    "np.percentile counts from 0 to 100: 2.5 and 97.5. For shares take np.quantile.": (
        lambda means: _quantiles(means, 0.00025, 0.00975)
    ),
    "this is the mean ± one standard error, which holds 68 %.": (
        lambda means: (float(means.mean() - means.std()), float(means.mean() + means.std()))
    ),
}


def _quantiles(means: Values, low: float, high: float) -> Ends:
    return float(np.quantile(means, low)), float(np.quantile(means, high))


def _interval(ours: Values, theirs: Values, sign: str = "", drawn: str = "", of: str = "", ends: str = "") -> Ends:
    """The interval, with the mistakes that the words name."""
    return _ENDS[ends](_SIGN[sign] * _means(tuple(ours), tuple(theirs), drawn, of))


@cache
def _means(ours: tuple[float, ...], theirs: tuple[float, ...], drawn: str, of: str) -> Values:
    return _OF[of](_DRAWN[drawn](np.array(ours), np.array(theirs)))


def _normal(ours: Values, theirs: Values) -> Ends:
    differences = ours - theirs
    half = 1.96 * float(differences.std()) / len(differences) ** 0.5
    return float(differences.mean()) - half, float(differences.mean()) + half


def _alike(answers: Sequence[Ends], expected: Sequence[Ends]) -> bool:
    """Up to the luck of the draws, which is a share of the right interval's standard error."""
    return all(
        abs(a - b) <= TOLERANCE * float((ours - theirs).std()) / len(ours) ** 0.5
        for (ours, theirs), answer, right in zip(_PAIRS, answers, expected, strict=True)
        for a, b in zip(answer, right, strict=True)
    )
