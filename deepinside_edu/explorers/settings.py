"""What a learner can set: each kind of setting says in one sentence what it takes and what came."""

from __future__ import annotations

import math
from collections.abc import Sequence
from numbers import Integral, Real
from typing import Any

import traitlets

from ..classifier import Classifier


class Refused(traitlets.TraitError, ValueError):  # noqa: N818 - like `Dropped`, it says what happened
    """A value that a setting cannot have: what was expected, what came, the remedy."""


def shown(value: object) -> str:
    """A value as a message names it; an empty field of the page arrives as None."""
    text = "nothing" if value is None else repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _plain(value: Any) -> Any:
    """NumPy's single values are Python's, as everywhere in the package."""
    return value.item() if hasattr(value, "item") and getattr(value, "shape", None) == () else value


def found(classifier: Classifier, wanted: Any) -> int:
    """The index of a class that is named in any way; `Refused` if there is none, or more than one."""
    if wanted is None:
        raise Refused("expected a class, by its index, its WordNet id or its name, got nothing.")
    try:
        return classifier.find(wanted)
    except (ValueError, TypeError) as error:
        raise Refused(str(error)) from None


class Judged(traitlets.TraitType[Any, Any]):
    """Whatever the explorer's own validator lets through, which says no in words of its own."""


class Number(Judged):
    """A finite number from `least` to `most`; `called` is what the page calls it."""

    kinds: Any = Real
    what = "a number"

    def __init__(self, default: float, called: str, least: float = -math.inf, most: float = math.inf) -> None:
        super().__init__(default)
        self.called, self.least, self.most = called, least, most

    def validate(self, obj: Any, value: Any) -> Any:
        """Raise `Refused` in words, or return a plain Python number."""
        number: Any = _plain(value)
        fits = isinstance(number, self.kinds) and not isinstance(number, bool) and math.isfinite(number)
        if not fits:
            raise Refused(f"expected {self.what}{self._reach()} for {self.called}, got {shown(value)}.")
        if not self.least <= number <= self.most:
            raise Refused(f"expected {self.called}{self._reach()}, got {number}.")
        return int(number) if self.kinds is Integral else float(number)

    def _reach(self) -> str:
        if math.isinf(self.least):
            return ""
        return f" of at least {self.least}" if math.isinf(self.most) else f" from {self.least} to {self.most}"


class Whole(Number):
    """A whole number from `least` to `most`."""

    kinds: Any = Integral
    what = "a whole number"


class Choice(Judged):
    """One of a few values."""

    def __init__(self, values: Sequence[Any], default: Any, called: str) -> None:
        super().__init__(default)
        self.values, self.called = values, called

    def validate(self, obj: Any, value: Any) -> Any:
        """Raise `Refused` with all that there is to choose from; True is no 1."""
        chosen = _plain(value)
        for each in self.values:
            if type(each) is type(chosen) and each == chosen:
                return each
        *others, last = map(repr, self.values)
        raise Refused(f"expected {', '.join(others)} or {last} for {self.called}, got {shown(value)}.")


class Told(traitlets.Any):
    """What the explorer tells its page, and nobody sets."""

    def __set__(self, obj: Any, value: Any) -> None:
        """Raise `Refused`; the explorer itself uses `set_trait`."""
        raise Refused(f"{self.name} says what there is and cannot be set; got {shown(value)}.")
