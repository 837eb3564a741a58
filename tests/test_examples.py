"""Each public name shows how it is used: its docstring ends with an example, and the example is true."""

import doctest
from operator import attrgetter

import numpy as np
import pytest
import torch

import deepinside_edu as di

METHODS = [f"Classifier.{name}" for name in ("prepare", "picture", "scores", "top", "find", "layers")]
ALIKE = doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS


@pytest.mark.parametrize("name", [*di.__all__, *METHODS])
def test_the_docstring_has_an_example_that_is_true(name, classifier):
    names = {"di": di, "classifier": classifier, "np": np, "torch": torch}
    found = doctest.DocTestFinder(recurse=False).find(attrgetter(name)(di), name, module=False, globs=names)
    assert any(each.examples for each in found), f"{name} has no example. End its docstring with 'Example:' and a >>>."
    told = []
    for each in found:
        doctest.DocTestRunner(optionflags=ALIKE).run(each, out=told.append)
    assert not told, "".join(told)
