"""What tests ask of an exercise's check."""

import re

from deepinside_edu.exercises.verdict import Verdict


def accepted(check, answer):
    """The check finds an answer right."""
    verdict = check(answer)
    assert verdict, verdict
    assert verdict.right is True
    assert repr(verdict).startswith("✔ Right.")


def refused(check, answer, *words, never=()):
    """The check finds an answer wrong, and its message has all of some regular expressions and none of the others."""
    verdict = check(answer)
    assert isinstance(verdict, Verdict)
    assert not verdict
    assert repr(verdict).startswith("✘ Not yet.")
    for each in words:
        assert re.search(each, verdict.message, re.DOTALL), verdict.message
    assert not [other for other in never if other not in words and re.search(other, verdict.message)], verdict.message
