"""Small pictures of random levels, as arrays."""

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

sides = st.integers(2, 12)
coloured = st.tuples(sides, sides).flatmap(lambda s: hnp.arrays(np.uint8, (*s, 3), elements=st.integers(0, 255)))
grey = st.tuples(sides, sides).flatmap(lambda s: hnp.arrays(np.uint8, s, elements=st.integers(0, 255)))


def noise(height=24, width=20, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def pixels(picture):
    return np.asarray(picture).tolist()
