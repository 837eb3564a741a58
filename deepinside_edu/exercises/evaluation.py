"""Checks for lesson 6: ILSVRC's rule for one image, and the bootstrap interval of a paired difference."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from fractions import Fraction
from functools import cache
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from .answer import Answer, Stop, ask, numbers
from .exercise import Exercise, Probe
from .verdict import Verdict

Box: TypeAlias = tuple[int, int, int, int]
Guess: TypeAlias = tuple[str, Box]
Values: TypeAlias = NDArray[np.float64]
Ends: TypeAlias = tuple[float, float]
Draw: TypeAlias = Callable[[Values, Values], Values]

DRAWS = 10_000
"""With this many, the ends of two right answers differ by some 0.03 standard errors."""

LUCK = 0.15
"""How far an interval's end may be off, in standard errors; 90 % instead of 95 % moves it by 0.3."""


def check_rule(function: Callable[[list[Guess], str, list[Box]], Any]) -> Verdict:
    """Check ILSVRC's rule for one image: one of five guesses has the right class and IoU ≥ 0.5 with an instance of it.

    Args:
        function: from guesses (name, box), best first, the true class's name and the boxes of all its instances to
            whether the image is right. Boxes are (left, top, right, bottom), right and bottom exclusive.

    Returns:
        A `Verdict` that names the mistake.
    """
    return _rule_exercise().check(function)


def check_paired_interval(function: Callable[[Values, Values, int], Any]) -> Verdict:
    """Check the 95 % percentile bootstrap interval of a paired difference: of mean(ours − theirs) over images.

    Args:
        function: from two arrays `(N,)`, one value per image in the same order, and the number of bootstrap
            samples to (low, high).

    Returns:
        A `Verdict` that names the mistake.
    """
    verdict = _interval_exercise().check(function)
    if verdict or not verdict.message.startswith(("For ", "Right for ")):
        return verdict
    # An interval of one single draw has no width: a function that finds some does not use `draws`.
    ours, theirs, _ = _interval_exercise().probes[0].given
    one = ask(function, (ours.copy(), theirs.copy(), 1), numbers)
    if isinstance(one, Answer) and one.values.shape == (2,) and one.values[0] != one.values[1]:
        return Verdict(False, f"{verdict.message} Your function does not use `draws`: for one draw it gives two ends.")
    return verdict


_HEN: Box = (0, 0, 10, 10)
_FAR: Box = (50, 50, 60, 60)
_DRAWN: tuple[tuple[list[Guess], str, list[Box], str], ...] = (
    ([("hen", (0, 0, 10, 9)), ("cock", _FAR)], "hen", [_HEN], "The first guess has the class, and IoU 0.9."),
    ([("hen", _FAR), ("cock", _FAR)], "hen", [_HEN], "The class alone is right."),
    ([("cock", _HEN), ("kite", _HEN)], "hen", [_HEN], "The box alone is right."),
    ([("hen", _FAR), ("cock", _HEN)], "hen", [_HEN], "The class is right in one guess, the box in another."),
    ([("cock", _FAR), ("kite", _FAR), ("jay", _FAR), ("quail", _FAR), ("hen", _HEN)], "hen", [_HEN],
     "The fifth guess is right."),
    ([("cock", _FAR), ("kite", _FAR), ("jay", _FAR), ("quail", _FAR), ("coot", _FAR), ("hen", _HEN)], "hen", [_HEN],
     "The sixth guess is right, but only five count."),
    ([("hen", (30, 0, 40, 9))], "hen", [_HEN, (30, 0, 40, 10), _FAR], "The second of three instances is hit."),
    ([("hen", (0, 1, 10, 10))], "hen", [_HEN, (30, 0, 40, 10)], "The first instance is hit."),
    ([("hen", (30, 1, 40, 10))], "hen", [_HEN, (30, 0, 40, 10)], "The last instance is hit."),
    ([("hen", (0, 0, 10, 5))], "hen", [_HEN], "IoU is exactly 0.5."),
    ([("hen", (2, 2, 12, 12))], "hen", [_HEN], "IoU is 0.47."),  # more than 0.5 if both corners count
    ([("hen", (0, 0, 20, 20))], "hen", [_HEN], "The box has all of the object and much else: IoU is 0.25."),
    ([("hen", (2, 2, 8, 8))], "hen", [_HEN], "The box has too little of the object: IoU is 0.36."),
    ([("hen", (0, 0, 3, 3))], "hen", [(0, 0, 4, 4)], "IoU is 0.56."),  # less than 0.5 if sides are a pixel shorter
    ([("hen", _FAR), ("hen", (0, 0, 10, 9))], "hen", [_HEN], "Two guesses may share a class: the second is right."),
    ([("hen", (0, 0, 10, 9)), ("hen", _FAR)], "hen", [_HEN], "Two guesses may share a class: the first is right."),
    ([("hen", _HEN), ("hen", (0, 0, 10, 9))], "hen", [_HEN], "Two guesses are right, and the image is right once."),
    ([("hen", (0, 0, 20, 10))], "hen", [_HEN, (10, 0, 20, 10)], "Each instance has IoU 0.5."),
    ([("hen", (0, 0, 20, 10))], "hen", [(0, 0, 8, 10), (12, 0, 20, 10)],
     "IoU is 0.4 with each of two instances, and their sum does not count."),
    ([("hen", (20, 20, 30, 30))], "hen", [_HEN], "The boxes lie apart in x and in y: IoU is 0."),
    ([("moorhen", _HEN)], "hen", [_HEN], "The class is another, although its name contains 'hen'."),
    ([("fox", _HEN)], "red fox", [_HEN], "The class is another, although 'red fox' contains its name."),
    ([("Crane", _HEN)], "crane", [_HEN], "The class is another: one crane is a bird, the other a machine."),
)  # fmt: skip


def _cases() -> Iterator[tuple[list[Guess], str, list[Box], str]]:
    """Cases drawn by hand, one per mistake, and random ones, so that no two rules agree on all of them by chance."""
    yield from _DRAWN
    for width in (*range(2, 42, 2), 33, 37, 39):
        yield [("hen", (0, 0, width, 10))], "hen", [(0, 0, 40, 10)], f"IoU is {width / 40:g}."
    random = np.random.default_rng(0)

    def box() -> Box:
        left, top = (int(n) for n in random.integers(0, 9, 2))
        width, height = (int(n) for n in random.integers(2, 9, 2))
        return left, top, left + width, top + height

    def near(box: Box) -> Box:
        """The box with its sides moved a little."""
        left, top, right, bottom = (int(side + move) for side, move in zip(box, random.integers(-2, 3, 4), strict=True))
        return left, top, max(right, left + 1), max(bottom, top + 1)

    for _ in range(150):
        boxes = [box() for _ in range(random.integers(1, 4))]
        names = random.choice(["hen", "cock", "kite", "moorhen"], random.integers(2, 8), p=(0.5, 0.2, 0.2, 0.1))
        yield [
            (str(name), near(boxes[random.integers(len(boxes))]) if random.random() < 0.5 else box()) for name in names
        ], "hen", boxes, ""  # fmt: skip


@cache
def _rule_exercise() -> Exercise:
    notes: dict[str, str] = {}
    probes = []
    for guesses, name, boxes, note in _cases():
        words = f"the guesses {guesses}, the class {name!r} and its boxes {boxes}"
        notes[words] = note
        right = any(
            each == name and _iou(guessed, true) >= Fraction(1, 2) for each, guessed in guesses[:5] for true in boxes
        )
        probes.append(Probe((guesses, name, boxes), np.array(float(right)), words))
    return Exercise(
        probes=probes,
        praise="You look at five guesses, class and box of the same guess and any instance, and 0.5 itself is a hit.",
        expected="True or False for the image as a whole",
        knobs=(_WHICH, _JOIN, _NAME, _INSTANCES, _IOU, _AT_LEAST, _TURN),
        mistaken=_mistaken_rule,
        forms={},
        remark=lambda probe, at: notes[probe.words],
        read=_read_truth,
    )


def _read_truth(answer: Any) -> Answer | Stop:
    read = numbers(answer)
    if isinstance(read, Stop):
        return read
    if read.values.size != 1:
        what = f"{read.values.size} numbers: is that one per guess?"
        return Stop("odd", f"Your function returned {what} Return True or False for the image as a whole.")
    value = float(read.values.ravel()[0])
    if value not in (0, 1):
        return Stop("odd", f"Your function returned {value:g}; expected True or False for the image as a whole (a "
                    "count is neither, and any(…) makes one of many).")  # fmt: skip
    return Answer(read.values.reshape(()), "bool")


Overlap: TypeAlias = Callable[[Box, Box], Fraction]


@cache
def _pixels(box: Box) -> frozenset[tuple[int, int]]:
    return frozenset(itertools.product(range(box[0], box[2]), range(box[1], box[3])))


@cache
def _iou(one: Box, other: Box) -> Fraction:
    """The oracle: each box is the set of its pixels."""
    a, b = _pixels(one), _pixels(other)
    return Fraction(len(a & b), len(a | b) or 1)


def _grown(box: Box, by: int = 1) -> Box:
    return box[0], box[1], box[2] + by, box[3] + by


def _area(box: Box) -> int:
    return (box[2] - box[0]) * (box[3] - box[1])


def _covered(one: Box, other: Box) -> Fraction:
    """The share of the first box that lies in the second."""
    return Fraction(len(_pixels(one) & _pixels(other)), len(_pixels(one)))


def _unclipped(one: Box, other: Box) -> Fraction:
    shared = (min(one[2], other[2]) - max(one[0], other[0])) * (min(one[3], other[3]) - max(one[1], other[1]))
    return Fraction(shared, _area(one) + _area(other) - shared)


def _shared_of_sum(one: Box, other: Box) -> Fraction:
    """IoU is shared / (sum − shared), so that shared / sum is IoU / (1 + IoU)."""
    return _iou(one, other) / (1 + _iou(one, other))


def _mixed(box: Box) -> Box:
    return box[0], box[2], box[1], box[3]


_WHICH: dict[str, Callable[[list[Guess]], list[Guess]]] = {
    "": lambda guesses: guesses[:5],
    "You look at the first guess alone: that is top-1. Here one of five may be right.": lambda guesses: guesses[:1],
    "You look at more than five guesses. Take guesses[:5]: with enough guesses anything is found.": (
        lambda guesses: guesses
    ),
    "You leave the first guess out: guesses[:5] begins with it.": lambda guesses: guesses[1:5],
    "You leave the first guess out and take the sixth: guesses[:5] has the first.": lambda guesses: guesses[1:6],
    "You look at the last five guesses: the best come first, guesses[:5].": lambda guesses: guesses[-5:],
    "You look at the last guess alone (is a variable overwritten in the loop?). One of five may be right.": (
        lambda guesses: guesses[:5][-1:]
    ),
    "You look only at the first guess of the class. Two guesses may have the same class, and each of them counts.": (
        lambda guesses: _one_a_class(guesses[:5])
    ),
    "You keep one guess per class, the last (as a dict does). Two may have the same class, and each counts.": (
        lambda guesses: _one_a_class(guesses[:5][::-1])
    ),
} | {
    f"You look at {count} guesses: five count, guesses[:5].": lambda guesses, n=n: guesses[:n]
    for n, count in ((2, "two"), (3, "three"), (4, "four"), (6, "six"))
}  # fmt: skip


def _one_a_class(guesses: list[Guess]) -> list[Guess]:
    kept: dict[str, Guess] = {}
    for guess in guesses:
        kept.setdefault(guess[0], guess)
    return list(kept.values())


_JOIN: dict[str, Callable[[list[bool], list[bool]], bool]] = {
    "": lambda names, boxes: any(name and box for name, box in zip(names, boxes, strict=True)),
    "You let one guess bring the class and another the box. Both must be right in the same guess.": (
        lambda names, boxes: any(names) and any(boxes)
    ),
    "For you, class or box is enough. Both must be right in the same guess.": (
        lambda names, boxes: any(name or box for name, box in zip(names, boxes, strict=True))
    ),
    "You never look at the box: this is the class error. The same guess must have IoU ≥ 0.5 too.": (
        lambda names, _: any(names)
    ),
    "You never look at the class. A right box under a wrong name is a miss.": lambda _, boxes: any(boxes),
    "You ask that every guess be right. One of them is enough.": (
        lambda names, boxes: all(name and box for name, box in zip(names, boxes, strict=True))
    ),
    "You ask that every guess with the right class have a right box. One of them is enough.": (
        lambda names, boxes: any(names) and all(box for name, box in zip(names, boxes, strict=True) if name)
    ),
    "You look only at the best guess's box. Class and box must be right in the same guess, whichever it is.": (
        lambda names, boxes: any(names) and boxes[0]
    ),
    "You want exactly one right guess. More than one is just as good.": (
        lambda names, boxes: sum(name and box for name, box in zip(names, boxes, strict=True)) == 1
    ),
}
_NAME: dict[str, Callable[[str, str], bool]] = {
    "": lambda guess, name: guess == name,
    "You ask whether the guess's name contains the class's: 'moorhen' contains 'hen'. Compare with ==.": (
        lambda guess, name: name in guess
    ),
    "You ask whether the class's name contains the guess's: 'red fox' contains 'fox'. Compare with ==.": (
        lambda guess, name: guess in name
    ),
    "You ask whether one name contains the other: 'moorhen' contains 'hen'. Compare with ==.": (
        lambda guess, name: guess in name or name in guess
    ),
    "You ignore capitals, but two ImageNet classes differ only by one (maillot, Maillot). Compare with ==.": (
        lambda guess, name: guess.lower() == name.lower()
    ),
    "The class must be the right one, ==, not another, !=.": lambda guess, name: guess != name,
}
Several: TypeAlias = Callable[[list[Fraction]], list[Fraction]]
"""From a guess's IoU with each instance to the numbers of which one must reach 0.5."""
_INSTANCES: dict[str, Several] = {
    "": lambda ious: ious,
    "You compare with the first instance alone (does a return in the loop end it too early?). Any instance of the "
    "class will do.": lambda ious: ious[:1],
    "You compare with the last instance alone (is a return or a variable overwritten in the loop?). Any instance of "
    "the class will do.": lambda ious: ious[-1:],
    "You ask for IoU ≥ 0.5 with every instance. Any one will do.": lambda ious: [min(ious)],
    "You add up the IoU with all instances. One instance must reach 0.5 alone.": lambda ious: [sum(ious, Fraction(0))],
    "You take the mean IoU over the instances. One instance must reach 0.5 alone.": (
        lambda ious: [sum(ious, Fraction(0)) / len(ious)]
    ),
}
_IOU: dict[str, Overlap] = {
    "": _iou,
    "You added 1 to each width and height, as for inclusive corners. Right and bottom are exclusive here.": (
        lambda guess, true: _iou(_grown(guess), _grown(true))
    ),
    "You subtracted 1 from each width and height. Right and bottom are exclusive here: right - left is the width.": (
        lambda guess, true: _iou(_grown(guess, -1), _grown(true, -1))
    ),
    "For you, only equal boxes hit. Do you divide by the sum of both areas, which counts shared pixels twice? The "
    "union is the sum minus the shared pixels.": _shared_of_sum,
    "This is Dice, twice the shared pixels divided by the sum of both areas. IoU divides by the union.": (
        lambda guess, true: 2 * _shared_of_sum(guess, true)
    ),
    "You divide by the true box's area, so a box around everything hits. Divide by the area of the union.": (
        lambda guess, true: _covered(true, guess)
    ),
    "You divide by the guessed box's area, so one pixel of the object hits. Divide by the area of the union.": (
        lambda guess, true: _covered(guess, true)
    ),
    "You divide by the smaller area, so a box within the other hits. Divide by the area of the union.": (
        lambda guess, true: max(_covered(true, guess), _covered(guess, true))
    ),
    "You divide by the larger area. Divide by the area of the union.": (
        lambda guess, true: min(_covered(true, guess), _covered(guess, true))
    ),
    "You do not clip the overlap's lengths: for boxes apart in x and in y both are negative, but their product is "
    "positive. Take max(0, …) of each before you multiply.": _unclipped,
    "You read a box as (left, right, top, bottom). It is (left, top, right, bottom): two corners.": (
        lambda guess, true: _iou(_mixed(guess), _mixed(true))
    ),
}
Reach: TypeAlias = Callable[[Fraction], bool]
_AT_LEAST: dict[str, Reach] = {
    "": lambda iou: iou >= Fraction(1, 2),
    "An IoU of exactly 0.5 is a hit: >=, not >.": lambda iou: iou > Fraction(1, 2),
    "Any overlap is enough for you. IoU must be at least 0.5.": lambda iou: iou > 0,
    "Your comparison is reversed: IoU must be at least 0.5, not at most.": lambda iou: iou < Fraction(1, 2),
    "Your comparison is reversed: IoU must be at least 0.5, not at most. ": lambda iou: iou <= Fraction(1, 2),
} | {
    f"You ask for an IoU of at least {tenths / 20:g}: the rule says 0.5.": lambda iou, n=tenths: iou >= Fraction(n, 20)
    for tenths in (1, 2, 4, 5, 6, 7, 8, 9, 11, 12, 13, 14, 15, 16, 17, 18, 19)
} | {
    f"You ask for an IoU above {tenths / 20:g}: the rule says 0.5 or more.": lambda iou, n=tenths: iou > Fraction(n, 20)
    for tenths in (1, 2, 4, 5, 6, 8, 12, 14, 15, 16, 18)
}  # fmt: skip
_TURN: dict[str, Callable[[bool], bool]] = {
    "": lambda right: right,
    "This is reversed: it says whether the image is wrong. Return whether it is right.": lambda right: not right,
}


def _mistaken_rule(
    probe: Probe,
    which: Callable[[list[Guess]], list[Guess]],
    join: Callable[[list[bool], list[bool]], bool],
    same: Callable[[str, str], bool],
    instances: Several,
    iou: Overlap,
    reaches: Reach,
    turn: Callable[[bool], bool],
) -> float:
    guesses, name, boxes = probe.given
    looked_at = which(guesses)
    names = [same(guess, name) for guess, _ in looked_at]
    hits = [any(map(reaches, instances([iou(box, true) for true in boxes]))) for _, box in looked_at]
    return float(turn(bool(join(names, hits))))


@cache
def _interval_exercise() -> Exercise:
    probes = []
    for ours, theirs in _PAIRS:
        differences = ours - theirs
        slack = LUCK * float(differences.std()) / len(ours) ** 0.5
        right = np.quantile(differences[_every_draw(len(ours))].mean(1), (0.025, 0.975))
        words = f"ours = {ours.tolist()} and theirs = {theirs.tolist()}"
        probes.append(Probe((ours, theirs, DRAWS), right, words, slack))
    return Exercise(
        probes=probes,
        praise="You drew whole images, each with both of its values, and 95 % of the means lie inside.",
        expected="two numbers (low, high)",
        knobs=(_SIGN, _HOW, _OF, _ENDS),
        mistaken=_mistaken_interval,
        forms={},
        remark=lambda probe, at: (
            f"Of all {len(probe.given[0]) ** len(probe.given[0])} ways to draw {len(probe.given[0])} images, 95 % have "
            f"a mean in ({probe.right[0]:.3f}, {probe.right[1]:.3f})."
        ),
        about_shape=lambda got, probe: "Two quantiles: np.quantile(means, [0.025, 0.975])." if got == () else "",
        hints={
            "Quantiles must be in": "For shares from 0 to 1 take np.quantile, for 2.5 and 97.5 np.percentile.",
            "Percentiles must be in": "For shares from 0 to 1 take np.quantile, for 2.5 and 97.5 np.percentile.",
            "out of bounds": "The call rng.integers(0, n) leaves n itself out already.",
        },
    )  # fmt: skip


def _mistaken_interval(
    probe: Probe, sign: int, drawn: Draw, of: Callable[[Values], Values], ends: Ends | float | Callable[[Values], Ends]
) -> Ends:
    ours, theirs, _ = probe.given
    means = sign * _means(tuple(ours), tuple(theirs), drawn, of)
    if isinstance(ends, tuple):
        return _quantiles(means, *ends)
    return ends(means) if callable(ends) else _around(means, ends)


# Six images each: hard ones are hard for both, and the differences are skewed upwards, so that each mistake shows and
# the lower tail, where few draws are, hardly depends on chance.
_PAIRS: tuple[tuple[Values, Values], ...] = tuple(
    (np.add(theirs, differences).round(2), np.array(theirs))
    for theirs, differences in (
        ((0.12, 0.25, 0.41, 0.48, 0.33, 0.05), (0.02, -0.03, 0.05, 0.01, 0.08, 0.47)),
        ((0.62, 0.15, 0.34, 0.88, 0.51, 0.73), (-0.04, 0.03, 0.33, 0.06, 0.01, -0.07)),
        ((0.91, 0.22, 0.57, 0.68, 0.35, 0.49), (-0.05, 0.02, 0.04, -0.03, 0.41, 0.3)),
        ((0.18, 0.77, 0.44, 0.59, 0.81, 0.27), (0.36, 0.11, -0.02, 0.2, 0.03, 0.48)),
    )
)


def _every_draw(count: int, size: int | None = None) -> NDArray[np.intp]:
    """The oracle: all N^N ways to draw N images with replacement, each as likely as any other."""
    size = size or count
    return np.indices((count,) * size).reshape(size, -1).T


def _together(ours: Values, theirs: Values) -> Values:
    return (ours - theirs)[_every_draw(len(ours))]


def _apart(ours: Values, theirs: Values) -> Values:
    every = _every_draw(len(ours))
    other = np.random.default_rng(0).permutation(len(every))
    return np.asarray(ours[every] - theirs[every[other]])


def _never_the_last(ours: Values, theirs: Values) -> Values:
    count = len(ours)
    return (ours - theirs)[np.indices((count - 1,) * count).reshape(count, -1).T]


_NO_MEANS = (
    "These are quantiles of the differences themselves, which say how much images differ. Draw samples and take the "
    "mean of each first."
)
_SIGN = {
    "": 1,
    "The sign is reversed: take ours − theirs, so that ours is better above 0.": -1,
}
_HOW: dict[str, Draw] = {
    "": _together,
    "You draw images for ours and other images for theirs. Draw once and take both values of each image: an image "
    "that is hard for one is hard for the other, and this cancels in the difference.": _apart,
    "All your means are the same. Either each sample holds every image once: draw with replacement. Or they are means "
    "over the draws: take the mean of each draw's images, along the other axis.": (
        lambda ours, theirs: (ours - theirs)[None]
    ),
    "The last image is never drawn: rng.integers(0, n) leaves n itself out already.": _never_the_last,
    _NO_MEANS: lambda ours, theirs: (ours - theirs)[:, None],
    "Each sample has two images: draw as many as there are.": (
        lambda ours, theirs: (ours - theirs)[_every_draw(len(ours), 2)]
    ),
    "Each sample has half as many images as there are: draw as many as there are.": (
        lambda ours, theirs: (ours - theirs)[_every_draw(len(ours), len(ours) // 2)]
    ),
    "Each sample has one image too few: draw as many as there are.": (
        lambda ours, theirs: (ours - theirs)[_every_draw(len(ours), len(ours) - 1)]
    ),
    "You sort both before you take the difference, so pairs are broken up: keep each image's two values together.": (
        lambda ours, theirs: _together(np.sort(ours), np.sort(theirs))
    ),
    "You take the size of each difference, so its sign is lost: leave the abs out.": (
        lambda ours, theirs: _together(np.abs(ours - theirs), 0 * theirs)
    ),
    "You divide each difference by theirs: take the difference itself.": (
        lambda ours, theirs: _together((ours - theirs) / theirs, 0 * theirs)
    ),
    "This is an interval of ours alone: take ours − theirs.": lambda ours, theirs: _together(ours, 0 * theirs),
    "This is an interval of theirs alone: take ours − theirs.": lambda ours, theirs: _together(theirs, 0 * theirs),
    "You add ours and theirs: take ours − theirs.": lambda ours, theirs: _together(ours, -theirs),
}
_OF: dict[str, Callable[[Values], Values]] = {
    "": lambda drawn: drawn.mean(1),
    f"{_NO_MEANS} ": lambda drawn: drawn.ravel(),
    "You take each sample's median: take its mean.": lambda drawn: np.asarray(np.median(drawn, 1)),
    "You take each sample's sum: take its mean.": lambda drawn: drawn.sum(1),
    "You take each sample's largest difference: take its mean.": lambda drawn: drawn.max(1),
    "You take each sample's standard deviation: take its mean.": lambda drawn: drawn.std(1),
}


def _quantiles(means: Values, low: float, high: float) -> Ends:
    return float(np.quantile(means, low)), float(np.quantile(means, high))


def _around(means: Values, errors: float) -> Ends:
    half = errors * float(means.std())
    return float(means.mean()) - half, float(means.mean()) + half


def _reflected(means: Values) -> Ends:
    low, high = _quantiles(means, 0.025, 0.975)
    return 2 * float(means.mean()) - high, 2 * float(means.mean()) - low


_NORMAL = "This is mean ± 1.96 standard errors, as far up as down. Draw images and take quantiles of the means."
_BY_HUNDRED = "The call np.percentile counts from 0 to 100: 2.5 and 97.5. For shares take np.quantile."
_ENDS: dict[str, Ends | float | Callable[[Values], Ends]] = {
    "": (0.025, 0.975),
    "This is a 90 % interval: 5 % are left out on each side. For 95 % leave out 2.5 % on each.": (0.05, 0.95),
    "This is a 99 % interval: 0.5 % are left out on each side. For 95 % leave out 2.5 % on each.": (0.005, 0.995),
    "This is a 98 % interval: 1 % is left out on each side. For 95 % leave out 2.5 % on each.": (0.01, 0.99),
    "This is an 80 % interval: 10 % are left out on each side. For 95 % leave out 2.5 % on each.": (0.1, 0.9),
    "This is a 50 % interval, between the quartiles. For 95 % leave out 2.5 % on each side.": (0.25, 0.75),
    "These are the smallest and the largest mean: leave 2.5 % out on each side.": (1 / DRAWS, 1 - 1 / DRAWS),
    "Only one end leaves 2.5 % out: the interval runs from the 2.5 % to the 97.5 % quantile.": (0.025, 0.95),
    "Only one end leaves 2.5 % out: the interval runs from the 2.5 % to the 97.5 % quantile. ": (0.05, 0.975),
    "The low end leaves nothing out: the interval runs from the 2.5 % to the 97.5 % quantile.": (0, 0.95),
    "The high end leaves nothing out: the interval runs from the 2.5 % to the 97.5 % quantile.": (0.05, 1),
    "The ends are exchanged: return (low, high).": (0.975, 0.025),
    _BY_HUNDRED: (0.00025, 0.00975),
    "This interval holds 68 %, as the mean ± one standard error does. For 95 % leave out 2.5 % on each side.": 1,
    _NORMAL: 1.96,
    "This is mean ± 2.58 standard errors, for 99 %. Draw images and take quantiles of the means.": 2.576,
    "This is mean ± 1.64 standard errors, for 90 %. Draw images and take quantiles of the means.": 1.645,
    "The quantiles are reflected at the mean (the “basic” bootstrap): return the quantiles themselves.": _reflected,
    "You return (mean, half the width): return the two ends.": lambda means: (
        float(means.mean()), float(np.ptp(_quantiles(means, 0.025, 0.975))) / 2
    ),
}  # fmt: skip
"""The two quantiles of the means that become the ends, the standard errors around their mean, or a function of them."""


@cache
def _means(ours: tuple[float, ...], theirs: tuple[float, ...], drawn: Draw, of: Callable[[Values], Values]) -> Values:
    return of(drawn(np.array(ours), np.array(theirs)))
