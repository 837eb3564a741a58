"""What the tests of several modules share."""

import os

# One thread: two of them wait for each other beside other work, and a sum keeps its order. Before torch is imported.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest
from hypothesis import settings

# The same examples on every run and no clock: a test fails because of the code and of nothing else.
settings.register_profile("deepinside", derandomize=True, deadline=None, max_examples=40)
settings.load_profile("deepinside")


@pytest.fixture(scope="session")
def classifier():
    from deepinside_edu import load_classifier

    return load_classifier(device="cpu")
