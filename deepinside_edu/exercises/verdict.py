"""What a check says of an answer, and how it runs a learner's function without falling over."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Verdict:
    """Whether an answer is right, and one or two sentences on why.

    Attributes:
        right: true only for a right answer.
        message: what is right about it, or which mistake it is and where to look.
    """

    right: bool
    message: str

    def __bool__(self) -> bool:
        return self.right

    def __repr__(self) -> str:
        return f"{'✔ Right.' if self.right else '✘ Not yet.'} {self.message[:1].upper()}{self.message[1:]}"


def ask(function: Callable[..., Any], *arguments: Any) -> Any:
    """Call a learner's function; an unanswered or failing one becomes a `Verdict` instead of a traceback.

    Args:
        function: the learner's.
        arguments: for it.

    Returns:
        What the function returns, or a `Verdict` that says what stopped it.
    """
    try:
        answer = function(*arguments)
    except Exception as error:
        return Verdict(False, f"Your function stopped with {type(error).__name__}: {error}")
    if answer is None or answer is ...:
        return Verdict(False, "Nothing to check yet: replace the ... by your own line and return its value.")
    return answer
