"""How every check works: it tries inputs with known answers, and names a mistake by its answers to all of them."""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from .answer import Answer, Array, Read, Stop, ask, numbers
from .verdict import Verdict

TOLERANCE = 1e-4
"""The share of the right answer's largest number, and of each number, by which an answer may be off.

float32 is finer, and every known mistake is far coarser.
"""

ANYTHING = float(np.finfo(np.float64).max)
"""Stands in a mistake's answer for a number on which processors do not agree, so it is not compared."""


@dataclass(frozen=True)
class Probe:
    """One input on which a learner's function is tried.

    Attributes:
        given: the arguments; each call gets copies of its own.
        right: the right answer, worked out independently.
        words: the input in words, as part of a sentence: "the boxes (0, 0, 4, 4) and (2, 1, 6, 4)".
        slack: how far each number may be off beyond `TOLERANCE`, because chance and rounding are not mistakes.
    """

    given: tuple[Any, ...]
    right: Array
    words: str
    slack: float = 0.0


Answered = Sequence[tuple[Probe, Answer]]
Knob = Mapping[str, Any]
"""A choice in an answer. The right option has the key "", and the key of each mistake is the sentence that names it."""


def _of_size_one(right: Array) -> Array:
    scaled: Array = right / np.abs(right).max()
    return scaled


FORMS: dict[str, Callable[[Array], Array]] = {
    "The sign is reversed: each number is minus the right one.": lambda right: -right,
    "The size of each number is right, but signs are lost: there is one abs too many.": np.abs,
    "Numbers below 0 have become 0: there is one ReLU or clip too many.": lambda right: right.clip(min=0),
    "Numbers above 0 have become 0: the clip is the wrong way round.": lambda right: right.clip(max=0),
    "The digits after the point are cut off: you work with whole numbers (int, or // where / is meant).": np.trunc,
    "The digits after the point are cut off: you work with whole numbers (int, or // where / is meant). ": np.floor,
    "You scaled the answer so that its largest number is 1: leave the numbers as they are.": _of_size_one,
    "You scaled the answer so that it runs from 0 to 1: leave the numbers as they are.": (
        lambda right: (right - right.min()) / np.ptp(right)
    ),
    "You scaled the answer so that it adds up to 1: leave the numbers as they are.": lambda right: right / right.sum(),
    "Each number is squared: leave that out.": np.square,
    "Each number is the square root of the right one: leave the root out.": np.sqrt,
    "These are logarithms of the right numbers: leave the log out.": np.log,
    "These are exponentials of the right numbers: leave the exp out.": np.exp,
    "The rows are in reverse order: the answer stands upside down.": lambda right: right[::-1],
    "The columns are in reverse order: the answer is mirrored.": lambda right: right[..., ::-1],
    "Rows and columns are swapped: the answer is transposed.": lambda right: right.T,
}
"""What the last line may do to an answer that was right before it."""


def _numbers_differ(probe: Probe, at: tuple[int, ...]) -> str:
    return ""


@dataclass(frozen=True)
class Exercise:
    """A check: its inputs, the praise for a right answer, and the mistakes that it can distinguish.

    A mistake is named if it gives the learner's answer on *every* input. The smallest set of mistakes that explains an
    answer is named. If no set does, the message shows the first number that differs.

    Attributes:
        probes: the inputs, easy ones first.
        praise: the message for a right answer.
        expected: what the function should return, in words: "one number".
        knobs: the choices in an answer.
        mistaken: from a probe and one value of each knob to the answer with these choices.
        forms: what the last line may have done to an answer that was right before it.
        remark: from a probe and the place of the first wrong number to a sentence that helps there.
        about_shape: from a wrong shape and a probe to a sentence that helps.
        symptom: a sentence about all answers, which is tried before any mistake; "" if it does not apply.
        dtype: the type that the answer's numbers must have, and the message if they have another; "" if any will do.
        untouched: the message if a function writes into its arguments; "" if it may.
        hints: remedies, by a part of the exception's message.
        read: turns what a function returns into numbers.
        ways: the forms in which arguments are given; a function needs to understand only one.
        most: the largest number of mistakes at once that is searched for.
    """

    probes: Sequence[Probe]
    praise: str
    expected: str
    knobs: Sequence[Knob]
    mistaken: Callable[..., ArrayLike]
    forms: Mapping[str, Callable[[Array], Array]] = field(default_factory=lambda: FORMS)
    remark: Callable[[Probe, tuple[int, ...]], str] = _numbers_differ
    about_shape: Callable[[tuple[int, ...], Probe], str] = lambda got, probe: ""
    symptom: Callable[[Answered], str] = lambda answered: ""
    dtype: tuple[str, str] = ("", "")
    untouched: str = ""
    hints: Mapping[str, str] = field(default_factory=dict)
    read: Read = numbers
    ways: Sequence[Callable[[Any], Any]] = (deepcopy,)
    most: int = 2

    def check(self, function: Any) -> Verdict:
        """Try a learner's function on every probe and say what is right or wrong about it."""
        outcomes: list[Answer | Stop] = []
        for way in self.ways:
            tried: list[Answer | Stop] = []
            for probe in self.probes:
                given = tuple(way(each) for each in probe.given)
                tried.append(_scalar(ask(function, given, self.read), probe))
                if self.untouched and not all(map(_unchanged, probe.given, given)):
                    return Verdict(False, self.untouched)
            if not outcomes or _better(tried, outcomes):
                outcomes = tried
        return self._judge(outcomes)

    def _judge(self, outcomes: Sequence[Answer | Stop]) -> Verdict:
        pairs = list(zip(self.probes, outcomes, strict=True))
        answered = [(probe, each) for probe, each in pairs if isinstance(each, Answer)]
        stops = [(probe, each) for probe, each in pairs if isinstance(each, Stop)]
        wrong = [(probe, each) for probe, each in answered if not _same(each.values, probe.right, probe, each.grain)]
        wanted, about_dtype = self.dtype
        dtypes = {each.dtype for _, each in answered} - {wanted} if wanted else set()
        if not wrong and not stops:
            return Verdict(False, f"The numbers are right, but {about_dtype}") if dtypes else Verdict(True, self.praise)
        if not answered:
            return Verdict(False, self._explain_stop(*stops[0], whole=True))
        if not wrong:
            return Verdict(False, f"{_right_for(answered)}{self._explain_stop(*stops[0], whole=False)}")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # such as the mean of nothing, from mistakes that are tried out
            message = self._name(answered, whole=not stops) or self._show(answered, wrong)
        if dtypes:
            message = f"{message} Besides, {about_dtype}"
        if stops:
            message = f"{message} {self._explain_stop(*stops[0], whole=False)}"
        return Verdict(False, message)

    def _explain_stop(self, probe: Probe, stop: Stop, *, whole: bool) -> str:
        if stop.kind == "stub":
            return "Nothing to check yet: replace the ... by your own line and return its value."
        if stop.kind == "odd":
            given = "" if whole else f" It was given {probe.words}."
            if stop.reason.endswith("expected numbers"):
                return f"{stop.reason.removesuffix('numbers')}{self.expected}.{given}"
            return f"{stop.reason}{given}"
        if stop.kind == "none":
            if whole:
                return f"Your function returned None: end it with return and {self.expected} (print returns nothing)."
            return (
                f"For {probe.words} your function returned None: one of its branches ends without return "
                f"(expected {self.expected})."
            )
        hint = next((f" {remedy}" for part, remedy in self.hints.items() if part in stop.reason), "")
        return f"Your function {stop.reason}. It was given {probe.words}.{hint}"

    def _name(self, answered: Answered, *, whole: bool) -> str:
        """The mistakes that explain every answer, in sentences; "" if none do."""
        seen = (_always(answered) if whole else "") or self.symptom(answered)
        if seen:
            return seen
        answered, extra = _without_axes_of_one(answered)
        if extra and _all_same(answered, [probe.right for probe, _ in answered]):
            return f"The numbers are right, but {extra}"
        said = (
            self._explain(answered, 1, 1) or self._explain_form(answered) or self._explain(answered, 2, self.most)
        )
        return f"{said} Besides, {extra}" if said and extra else said

    def _explain(self, answered: Answered, fewest: int, most: int) -> str:
        for choice in _choices(self.knobs, fewest, most):
            values = [knob[said] for knob, said in zip(self.knobs, choice, strict=True)]
            if _all_same(answered, (self._mistaken(probe, values) for probe, _ in answered)):
                sentences = [said.strip() for said in choice if said]
                return _at_once(sentences)
        return ""

    def _mistaken(self, probe: Probe, values: Sequence[Any]) -> Array | None:
        try:
            with np.errstate(all="ignore"):
                return np.asarray(self.mistaken(probe, *values), np.float64)
        except (ValueError, IndexError, TypeError, ZeroDivisionError, RuntimeError, StopIteration):
            return None  # a mistake that raises an error gives no numbers to compare

    def _explain_form(self, answered: Answered) -> str:
        for name in _names(answered):
            return name
        if not self.forms:
            return ""
        with np.errstate(all="ignore"):
            for said, form in self.forms.items():
                if _all_same(answered, (form(probe.right) for probe, _ in answered)):
                    return said.strip()
            for digits in (3, 2, 1, 0):
                if _all_same(answered, (probe.right.round(digits) for probe, _ in answered)):
                    return "The numbers are right except for rounding: return them unrounded, and round only to print."
            return _factor(answered) or _offset(answered)

    def _show(self, answered: Answered, wrong: Answered) -> str:
        probe, answer = wrong[0]
        got, right = answer.values, probe.right
        said = _right_for([(p, a) for p, a in answered if not any(p is q for q, _ in wrong)])
        if got.shape != right.shape:
            hint = self.about_shape(got.shape, probe)
            came = f"an array of shape {got.shape}" if got.shape else f"one number, {_digits(float(got), np.inf)}"
            wanted = f"expected {self.expected}, of shape {right.shape}" if right.shape else f"expected {self.expected}"
            return f"{said}For {probe.words} you returned {came}; {wanted}.{' ' if hint else ''}{hint}"
        at = tuple(int(i) for i in np.argwhere(~_close(got, right, probe, answer.grain))[0])
        one, other = float(got[at]), float(right[at])
        where = f"number [{', '.join(map(str, at))}] of your answer" if at else "your answer"
        if answer.dtype == "bool":
            truth = f"{bool(one)}; expected {bool(other)}. {self.remark(probe, at)}".rstrip()
            return f"{said}For {probe.words}, {where} is {truth}"
        remark = self.remark(probe, at)
        if not np.isfinite(one):
            remark = f"Somewhere you divide by 0, or a number grows too large. {remark}".rstrip()
        return (
            f"{said}For {probe.words}, {where} is {_digits(one, other)}; expected {_digits(other, one)}."
            f"{' ' if remark else ''}{remark}"
        )


def _better(tried: Sequence[Answer | Stop], before: Sequence[Answer | Stop]) -> bool:
    """Whether a function understood its arguments better in this form than in the one before."""
    now, then = (sum(isinstance(each, Answer) for each in outcomes) for outcomes in (tried, before))
    if now or then:
        return now > then
    # A learner who wrote for tensors is not helped by a list of what NumPy's arrays lack.
    return isinstance(before[0], Stop) and "numpy" in before[0].reason


def _scalar(outcome: Answer | Stop, probe: Probe) -> Answer | Stop:
    """One number in brackets is one number."""
    if isinstance(outcome, Stop) or probe.right.shape or outcome.values.size != 1:
        return outcome
    return replace(outcome, values=outcome.values.reshape(()))


def _unchanged(before: Any, after: Any) -> bool:
    import torch

    if isinstance(before, torch.Tensor):
        return torch.equal(before.detach(), after.detach())
    return not isinstance(before, np.ndarray) or np.array_equal(before, after)


def _close(got: Array, expected: Array, probe: Probe, grain: float = 0.0) -> Any:
    """Where two answers of one shape agree; NaN agrees with NaN, and infinity with infinity."""
    share = max(TOLERANCE, 4 * grain)
    size = float(np.abs(probe.right).max())
    usual = np.abs(expected[np.isfinite(expected) & (expected != ANYTHING)])
    # Chance moves a right answer a little, and an answer that is several times as large by more.
    near = share * size + probe.slack * max(1.0, float(usual.max()) / size / 2 if usual.size and size else 1.0)
    with np.errstate(all="ignore"):
        close = np.abs(got - expected) <= near + share * np.abs(expected)
    special = ~np.isfinite(got) | ~np.isfinite(expected)
    return np.where(special, (got == expected) | (np.isnan(got) & np.isnan(expected)), close) | (expected == ANYTHING)


def _same(got: Array, expected: Array | None, probe: Probe, grain: float = 0.0) -> bool:
    return expected is not None and got.shape == expected.shape and bool(np.all(_close(got, expected, probe, grain)))


def _all_same(answered: Answered, expected: Iterator[Array | None] | Sequence[Array]) -> bool:
    return all(
        _same(answer.values, wrong, probe, answer.grain)
        for (probe, answer), wrong in zip(answered, expected, strict=False)
    )


def _choices(knobs: Sequence[Knob], fewest: int, most: int) -> Iterator[tuple[str, ...]]:
    """Every choice with `fewest` to `most` mistakes, the fewest first, because the simplest are the likeliest."""
    for count in range(fewest, min(most, len(knobs)) + 1):
        for turned in itertools.combinations(range(len(knobs)), count):
            yield from itertools.product(
                *([said for said in knob if said] if i in turned else [""] for i, knob in enumerate(knobs))
            )


def _at_once(sentences: Sequence[str]) -> str:
    if len(sentences) == 1:
        return sentences[0]
    return f"{('Two', 'Three', 'Four')[len(sentences) - 2]} mistakes at once. {' '.join(sentences)}"


def _always(answered: Answered) -> str:
    """A sentence if all answers are the same although the right ones differ, else ""."""
    first = answered[0][1].values
    if not first.size or (len(answered) < 2 and first.size < 4):
        return ""
    values = np.unique(np.concatenate([answer.values.ravel() for _, answer in answered]))
    if len(values) == 1:
        boolean = all(answer.dtype == "bool" for _, answer in answered)
        what = str(bool(values[0])) if boolean else _digits(float(values[0]), np.inf)
        return f"Your answer is always {what}, whatever the input."
    alike = all(np.array_equal(answer.values, first) for _, answer in answered)
    if alike and len(answered) > 1:
        what = f" ({', '.join(f'{value:g}' for value in first)})" if first.ndim == 1 and first.size < 5 else ""
        return f"Your answer is always the same{what}, whatever the input."
    return ""


def _names(answered: Answered) -> Iterator[str]:
    """Arguments that come back as they are."""
    for n in range(len(answered[0][0].given)):
        given = [_as_numbers(probe.given[n]) for probe, _ in answered]
        if all(each is not None for each in given) and _all_same(answered, given):  # type: ignore[arg-type]
            order = ("first", "second", "third", "fourth", "fifth")[n]
            yield f"You return the {order} argument as it came: nothing has been done to it."


def _as_numbers(argument: Any) -> Array | None:
    answer = None if callable(argument) or isinstance(argument, str) else numbers(argument)
    return answer.values if isinstance(answer, Answer) else None


def _without_axes_of_one(answered: Answered) -> tuple[Answered, str]:
    """The answers without superfluous axes of length 1, and a sentence if there were any."""
    shapes = [(answer.values.shape, probe.right.shape) for probe, answer in answered]
    if all(got == right for got, right in shapes) or any(
        [n for n in got if n != 1] != [n for n in right if n != 1] for got, right in shapes
    ):
        return answered, ""
    got, right = next((got, right) for got, right in shapes if got != right)
    reshaped = [
        (probe, Answer(answer.values.reshape(probe.right.shape), answer.dtype, answer.grain))
        for probe, answer in answered
    ]
    remedy = "take [0], or leave out keepdim" if len(got) > len(right) else "keep the axes of length 1"
    return reshaped, f"the shape must be {right or '(), one number'}; yours is {got}: {remedy}."


def _factor(answered: Answered) -> str:
    """A sentence if every number is the right one times the same factor, else ""."""
    if any(answer.values.shape != probe.right.shape for probe, answer in answered):
        return ""
    got = np.concatenate([answer.values.ravel() for _, answer in answered])
    right = np.concatenate([probe.right.ravel() for probe, _ in answered])
    factor = float(got @ right / (right @ right)) if np.isfinite(got).all() and right.any() else 0.0
    if abs(factor) < 1e-6 or not _all_same(answered, (factor * probe.right for probe, _ in answered)):
        return ""
    return f"Each number is {_digits(factor, 1.0)} times the right one: a factor is missing, or there is one too many."


def _offset(answered: Answered) -> str:
    """A sentence if every number is off by the same amount, else ""."""
    if any(answer.values.shape != probe.right.shape for probe, answer in answered):
        return ""
    off = float(np.mean(np.concatenate([(answer.values - probe.right).ravel() for probe, answer in answered])))
    if not np.isfinite(off) or not _all_same(answered, (probe.right + off for probe, _ in answered)):
        return ""
    return f"Each number is {_digits(abs(off), 0.0)} too {'large' if off > 0 else 'small'}."


def _right_for(right: Answered) -> str:
    return f"Right for {right[0][0].words}. " if right else ""


def _digits(number: float, other: float) -> str:
    """A number with enough digits to distinguish it from the other, so that a sentence never shows two equal ones."""
    if not np.isfinite(number):
        return str(number)
    if number == round(number) and abs(number) < 1e6:
        return f"{number:.0f}" if number else "0"
    return next((f"{number:.{n}g}" for n in range(3, 17) if f"{number:.{n}g}" != f"{other:.{n}g}"), f"{number!r}")
