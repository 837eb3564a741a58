"""What a learner can set: each kind of setting says in one sentence what it takes and what came.

The worker thread sets none of them, because a learner may be setting the same one: `Setting.set` refuses it.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Sequence
from numbers import Integral, Real
from typing import Any

import traitlets

from ..classifier import Classifier
from .language import say


class Refused(traitlets.TraitError, ValueError):  # noqa: N818 - like `Dropped`, it says what happened
    """A value that a setting cannot have: what was expected, what came, the remedy."""


def shown(value: object) -> str:
    """A value as a message names it; an empty field of the page arrives as None."""
    text = say("settings.nothing") if value is None else repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _plain(value: Any) -> Any:
    """NumPy's single values are Python's, as everywhere in the package."""
    return value.item() if hasattr(value, "item") and getattr(value, "shape", None) == () else value


def found(classifier: Classifier, wanted: Any) -> int:
    """The index of a class that is named in any way; `Refused` if there is none, or more than one."""
    if wanted is None:
        raise Refused(say("settings.no_class"))
    try:
        return classifier.find(wanted)
    except (ValueError, TypeError) as error:
        raise Refused(str(error)) from None


class Setting(traitlets.TraitType[Any, Any]):
    """A trait that the explorer's worker cannot set, except quietly: `Explorer._settle` does so, under the lock."""

    def set(self, obj: Any, value: Any) -> None:
        """Raise `RuntimeError` in the worker."""
        if threading.current_thread() is obj._thread and not obj._quiet:
            raise RuntimeError(f"the worker cannot set {self.name}, because a learner may. Use _settle.")
        super().set(obj, value)


class Judged(Setting):
    """Whatever the explorer's own validator lets through, which says no in words of its own."""


class Number(Judged):
    """A finite number from `least` to `most`; `called` is what the page calls it."""

    kinds: Any = Real
    what = say("settings.number")

    def __init__(self, default: float, called: str, least: float = -math.inf, most: float = math.inf) -> None:
        super().__init__(default)
        self.called, self.least, self.most = called, least, most

    def validate(self, obj: Any, value: Any) -> Any:
        """Raise `Refused` in words, or return a plain Python number."""
        number: Any = _plain(value)
        fits = isinstance(number, self.kinds) and not isinstance(number, bool) and math.isfinite(number)
        words: dict[str, Any] = {"called": self.called, "what": self.what, "reach": self._reach()}
        if not fits:
            raise Refused(say("settings.of_another_kind", **words, got=shown(value)))
        if not self.least <= number <= self.most:
            raise Refused(say("settings.out_of_reach", **words, got=number))
        return int(number) if self.kinds is Integral else float(number)

    def _reach(self) -> str:
        if math.isinf(self.least):
            return ""
        name = "settings.at_least" if math.isinf(self.most) else "settings.from_to"
        return say(name, least=self.least, most=self.most)


class Whole(Number):
    """A whole number from `least` to `most`."""

    kinds: Any = Integral
    what = say("settings.whole_number")


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
        called = self.called
        raise Refused(say("settings.no_choice", others=", ".join(others), last=last, called=called, got=shown(value)))


class ClassIndex(Judged):
    """A class of the explorer's classifier, named in any way; its index."""

    def validate(self, obj: Any, value: Any) -> int:
        """Raise `Refused` if there is no such class, or more than one."""
        return found(obj.classifier, value)


class Told(Setting):
    """What the explorer tells its page, and nobody sets."""

    default_value: Any = None

    def __set__(self, obj: Any, value: Any) -> None:
        """Raise `Refused`; the explorer itself uses `set_trait`."""
        raise Refused(say("settings.told", name=self.name, got=shown(value)))
