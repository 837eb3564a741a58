"""Which values an option of a step may have: one rule per kind, checked before anything is computed.

Each function takes the option's name and value, and returns the value as one of Python's own. NumPy's numbers and truth
values are accepted, text and arrays are not. A value of another kind raises a `TypeError`, and one that is out of range
a `ValueError`.
"""

from __future__ import annotations

import inspect
import math
import operator
from collections.abc import Callable, Iterable, Mapping
from numbers import Real
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

Function = TypeVar("Function", bound=Callable[..., Any])

LARGEST_STATE = 2**64 - 1
"""NumPy accepts any whole number from 0 on; torch accepts none that is larger than this."""


def number(name: str, value: object, least: float, most: float = math.inf, remedy: str = "") -> float:
    """Check that an option is a finite number from `least` to `most`; `remedy` is a sentence at a message's end."""
    if isinstance(value, bool) or not isinstance(value, Real):
        raise TypeError(f"expected a number for {name}, got {_show(value)}. Pass one such as 0.5, without quotes.")
    try:
        found = float(value)
    except OverflowError:  # a whole number with more than 308 digits
        found = math.inf
    if not (least <= found <= most and math.isfinite(found)):
        limits = f"from {least:.7g} to {most:.7g}" if math.isfinite(most) else f"of {least:.7g} or more"
        article = "an" if name[0] in "aeiou" else "a"
        raise ValueError(f"expected {article} {name} {limits}, got {found:.7g}.{_append(remedy)}")
    return found


def whole(name: str, value: object, least: int, most: int | None = None, remedy: str = "") -> int:
    """Check that an option is a whole number from `least` to `most`; 5.0 is refused."""
    try:
        if isinstance(value, (bool, np.bool_)):
            raise TypeError
        found = operator.index(value)  # type: ignore[arg-type]  # this is what is checked
    except TypeError:
        raise TypeError(
            f"expected a whole number for {name}, such as {least}, got {_show(value)}.{_append(remedy)}"
        ) from None
    if found < least or (most is not None and found > most):
        limits = f"of {least} or more" if most is None else f"from {least} to {most}"
        # Python cannot write a number with more than 4,300 digits.
        got = str(found) if abs(found) < 10**60 else "one of more than 60 digits"
        raise ValueError(f"expected {name} {limits}, a whole number, got {got}.{_append(remedy)}")
    return found


def flag(name: str, value: object) -> bool:
    """Check that an option is True or False; text is refused, because "no" would count as yes."""
    if not isinstance(value, (bool, np.bool_)):
        raise TypeError(f"expected True or False for {name}, got {_show(value)}.")
    return bool(value)


def choice(name: str, value: object, names: Iterable[str]) -> str:
    """Check that an option is one of these words."""
    known = tuple(names)
    if not isinstance(value, str) or value not in known:
        raise ValueError(f"expected the {name} {' or '.join(map(repr, known))}, got {_show(value)}.")
    return value


def random_state(value: object) -> int:
    """Check that a random state is from 0 to 2⁶⁴ − 1. None or a generator would make each call differ."""
    return whole("random_state", value, 0, LARGEST_STATE, "The same number gives the same result again.")


def crops(value: object) -> int:
    """Check that a number of crops is 1 or 10."""
    if isinstance(value, int | np.integer) and not isinstance(value, bool) and value not in (1, 10):
        raise ValueError(f"expected 1 or 10 crops, got {value}; the paper averages 10.")
    return whole("crops", value, 1)


def options_of(source: Callable[..., Any]) -> Callable[[Function], Function]:
    """Show the arguments of another function or class that have a default in the place of `**options`.

    Shift+Tab and completion then list them; the decorated function works as before.
    """
    options = [each.replace(kind=each.KEYWORD_ONLY) for each in _with_default(source)]

    def show(function: Function) -> Function:
        signature = inspect.signature(function)
        own = [each for each in signature.parameters.values() if each.kind is not each.VAR_KEYWORD]
        function.__signature__ = signature.replace(parameters=[*own, *options])  # type: ignore[attr-defined]
        return function

    return show


def options(given: Mapping[str, Any], source: Callable[..., Any]) -> dict[str, Any]:
    """Check that another function has these options, and return all that it has, with its default where none is given.

    Raises:
        TypeError: an option that the function does not have; the message lists those that it has.
    """
    known = {each.name: each.default for each in _with_default(source)}
    if unknown := ", ".join(sorted(given.keys() - known.keys())):
        raise TypeError(f"there is no option {unknown}; expected some of {', '.join(known)}.")
    return known | {**given}


def _with_default(source: Callable[..., Any]) -> list[inspect.Parameter]:
    return [each for each in inspect.signature(source).parameters.values() if each.default is not each.empty]


def real_map(values: Any) -> NDArray[Any]:
    """Check that a map holds real numbers, and return it as an array; a tensor may be on any device.

    Args:
        values: an array, a nested list, or a tensor of any precision; it is not changed.

    Returns:
        An array of the same numbers. It has the same type, or float32 if NumPy does not have it, such as bfloat16.

    Raises:
        ValueError: truth values, complex numbers, text, or rows of several lengths.
    """
    if hasattr(values, "detach"):  # a tensor; steps without torch take maps too
        values = values.detach().cpu()
        try:
            values = values.numpy()
        except TypeError:  # a type that NumPy does not have
            values = values.float().numpy()
    m = np.asarray(values)
    if m.dtype.kind == "b":
        raise ValueError("expected a map (H, W) of numbers, got truth values. Pass the map itself, not a mask of it.")
    if m.dtype.kind not in "uif":
        raise ValueError(f"expected a map (H, W) of numbers, got {m.dtype}. Pass one map, as saliency_map gives it.")
    return m


def _append(remedy: str) -> str:
    return f" {remedy}" if remedy else ""


def _show(value: object) -> str:
    """Write a value for a message: cut short, with its type."""
    words = repr(value)
    return f"{words if len(words) <= 60 else words[:57] + '…'} ({type(value).__name__})"
