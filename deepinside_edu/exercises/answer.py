"""What a learner's function returns for one input: numbers in any form, or the reason why there are none."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from inspect import unwrap
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Answer:
    """Numbers that a learner's function returned.

    Attributes:
        values: the numbers, of any shape, float64.
        dtype: the name of their type, such as "float32", "uint8" or "bool".
        grain: the gap between neighbouring numbers of that type, as a share of their size; 0 for whole numbers.
    """

    values: Array
    dtype: str = "float64"
    grain: float = 0.0


@dataclass(frozen=True)
class Stop:
    """Why a function gave no numbers.

    Attributes:
        kind: "stub" (not written yet), "none" (it returned nothing), "error" (it raised), "odd" (not numbers).
        reason: the rest of a sentence that begins "Your function …"; a whole sentence if the kind is "odd".
    """

    kind: str
    reason: str


Read = Callable[[Any], Answer | Stop]


def _empty() -> None: ...


def _is_empty(function: Any) -> bool:
    """Whether a function's body is ... alone, with or without a docstring."""
    code = getattr(function, "__code__", None)
    if code is None:
        return False
    return len(code.co_code) == len(_empty.__code__.co_code) and set(code.co_consts) <= {None, function.__doc__}


def ask(function: Any, arguments: tuple[Any, ...], read: Read) -> Answer | Stop:
    """Call a learner's function. Its result becomes an `Answer`, and an exception becomes a `Stop`, not a traceback.

    Args:
        function: the learner's function.
        arguments: its arguments.
        read: turns its result into numbers.

    Returns:
        The numbers, or why there are none.
    """
    if not callable(function):
        return Stop("odd", f"Give the check the function itself: its name, without (…). You gave {_kind(function)}.")
    try:
        with np.errstate(all="ignore"):  # a warning on stderr says less than the verdict
            answer = function(*arguments)
    except Exception as error:
        first = (str(error).strip().splitlines() or [""])[0].rstrip(" .")
        return Stop("error", f"stopped with {type(error).__name__}{': ' if first else ''}{first}")
    if answer is ...:
        return Stop("stub", "")
    if answer is None:
        return Stop("stub" if _is_empty(unwrap(function)) else "none", "returned None")
    return read(answer)


def numbers(answer: Any) -> Answer | Stop:
    """Read numbers from a tensor (with or without its gradient), an array, a scalar, or lists of any of them.

    Args:
        answer: what a learner's function returned.

    Returns:
        The numbers, or a sentence that says what was returned instead.
    """
    if isinstance(answer, tuple) and hasattr(answer, "indices") and hasattr(answer, "values"):
        return Stop("odd", "With an axis, torch's .max returns values and places: take .values, or use .amax(axis).")
    if isinstance(answer, tuple) and len(answer) == 1 and hasattr(answer[0], "detach"):
        return Stop("odd", "The call torch.autograd.grad gives a tuple: write (g,) = torch.autograd.grad(…).")
    if callable(answer):
        return Stop("odd", "Your function returned a function, not its value: is a pair of brackets, (), missing?")
    dtypes: set[str] = set()
    try:
        values = np.asarray(_plain(answer, dtypes))
    except (TypeError, ValueError, RuntimeError):
        values = np.empty(0, object)
    dtypes = dtypes or {str(values.dtype)}
    if values.dtype.kind not in "biuf":
        return Stop("odd", f"Your function returned {_kind(answer)}; expected numbers")
    grain = max(_GRAIN.get(name, 0.0) for name in dtypes)
    return Answer(values.astype(np.float64), "/".join(sorted(dtypes)), grain)


_GRAIN = {"float32": 2.0**-23, "float16": 2.0**-10, "bfloat16": 2.0**-7}


def _plain(answer: Any, dtypes: set[str]) -> Any:
    """The answer without tensors, because NumPy cannot read one that has a gradient, lies on a GPU or is bfloat16."""
    import torch

    if isinstance(answer, torch.Tensor):
        dtypes.add(str(answer.dtype).removeprefix("torch."))
        plain = answer.detach().cpu()
        return (plain.double() if plain.dtype == torch.bfloat16 else plain).numpy()
    if isinstance(answer, np.ndarray | np.generic):
        dtypes.add(str(answer.dtype))
        return answer.tolist() if answer.dtype == object else answer
    if isinstance(answer, list | tuple):
        return [_plain(each, dtypes) for each in answer]
    return answer


def _kind(answer: Any) -> str:
    """The answer in a few words."""
    name = type(answer).__name__
    if isinstance(answer, str):
        return f"the text {answer!r:.60}"
    if isinstance(answer, list | tuple):
        return f"a {name} of {len(answer)}, whose parts differ in shape or are not numbers"
    return f"{'an' if name[0].lower() in 'aeiou' else 'a'} {name}"
