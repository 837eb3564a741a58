"""What a check says about an answer."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Verdict:
    """Whether an answer is right, and one or two sentences on why.

    Attributes:
        right: true only for a right answer.
        message: what is right about it, or which mistake was made and where to look.
    """

    right: bool
    message: str

    def __bool__(self) -> bool:
        return self.right

    def __repr__(self) -> str:
        return f"{'✔ Right.' if self.right else '✘ Not yet.'} {self.message}"
