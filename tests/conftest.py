"""What several test modules share."""

import os

# One thread, because two threads wait for each other on a busy machine, and because a sum then keeps its order.
# This must be set before torch is imported.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest
from hypothesis import settings

# Every run uses the same examples and no clock, so that only the code can make a test fail.
settings.register_profile("deepinside", derandomize=True, deadline=None, max_examples=40)
settings.load_profile("deepinside")


@pytest.fixture(scope="session")
def classifier():
    from deepinside_edu import load_classifier

    return load_classifier(device="cpu")
