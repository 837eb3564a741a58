"""The traits of explorers: each kind refuses a wrong value in one sentence, with what it expected and what it got.

The worker thread must not set a trait, because a learner may be setting the same one. `Setting.set` refuses it.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Sequence
from numbers import Integral, Real
from typing import Any

import traitlets

from ..classifier import Classifier
from ..images import Photo
from .language import say


class Refused(traitlets.TraitError, ValueError):  # noqa: N818 - like `Dropped`, it names what happened
    """A setting cannot have this value: the message has what was expected, what was given and the remedy."""


def quoted(value: object) -> str:
    """A value as a message quotes it; an empty field of the page arrives as None."""
    text = say("settings.nothing") if value is None else repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _plain(value: Any) -> Any:
    """A single value of NumPy as Python's own, as everywhere in the package."""
    return value.item() if hasattr(value, "item") and getattr(value, "shape", None) == () else value


def find_class(classifier: Classifier, wanted: Any) -> int:
    """The index of a class that is given in any way; `Refused` unless exactly one class fits."""
    if wanted is None:
        raise Refused(say("settings.no_class"))
    try:
        return classifier.find(wanted)
    except (ValueError, TypeError) as error:
        raise Refused(str(error)) from None


def known_name(value: Any, names: Sequence[str], refusal: str) -> str:
    """The name of a photo, which may be given itself, or another of these names; `Refused` for an unknown one."""
    name = value.name if isinstance(value, Photo) else value
    if not isinstance(name, str) or name not in names:
        raise Refused(say(refusal, got=quoted(name), names=", ".join(names)))
    return name


class Setting(traitlets.TraitType[Any, Any]):
    """A trait that the explorer's worker cannot set, except by `Explorer._settle`, which holds the lock."""

    def set(self, obj: Any, value: Any) -> None:
        """Raise `RuntimeError` in the worker."""
        if threading.current_thread() is obj._thread and not obj._quiet:
            raise RuntimeError(f"the worker cannot set {self.name}, because a learner may. Use _settle.")
        super().set(obj, value)


class Validated(Setting):
    """A value that the explorer's own validator accepts; the validator refuses in its own words."""


class Number(Validated):
    """A finite number from `least` to `most`; `called` is its name on the page."""

    kinds: Any = Real
    what = say("settings.number")

    def __init__(self, default: float, called: str, least: float = -math.inf, most: float = math.inf) -> None:
        super().__init__(default)
        self.called, self.least, self.most = called, least, most

    def validate(self, obj: Any, value: Any) -> Any:
        """Raise `Refused`, or return a plain Python number."""
        number: Any = _plain(value)
        fits = isinstance(number, self.kinds) and not isinstance(number, bool) and math.isfinite(number)
        words: dict[str, Any] = {"called": self.called, "what": self.what, "reach": self._reach()}
        if not fits:
            raise Refused(say("settings.of_another_kind", **words, got=quoted(value)))
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


class Choice(Validated):
    """One of a few values."""

    def __init__(self, values: Sequence[Any], default: Any, called: str) -> None:
        super().__init__(default)
        self.values, self.called = values, called

    def validate(self, obj: Any, value: Any) -> Any:
        """Raise `Refused` with all choices; True does not count as 1."""
        chosen = _plain(value)
        for each in self.values:
            if type(each) is type(chosen) and each == chosen:
                return each
        *others, last = map(repr, self.values)
        words = {"others": ", ".join(others), "last": last, "called": self.called}
        raise Refused(say("settings.no_choice", **words, got=quoted(value)))


class ClassIndex(Validated):
    """The index of a class of the explorer's classifier; it can be set to an index, a WordNet id or a name."""

    def validate(self, obj: Any, value: Any) -> int:
        """Raise `Refused` unless exactly one class fits."""
        return find_class(obj.classifier, value)


class ReadOnly(Setting):
    """What the explorer tells its page; no cell and no page can set it."""

    default_value: Any = None

    def __set__(self, obj: Any, value: Any) -> None:
        """Raise `Refused`; the explorer itself uses `set_trait`."""
        raise Refused(say("settings.read_only", name=self.name, got=quoted(value)))
