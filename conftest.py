"""nbval compares a lesson's texts and leaves its pictures out; here each is compared too, in the same run."""

import base64
import io
from collections.abc import Generator, Sequence

import numpy as np
import pytest
from nbval.plugin import IPyNbCell
from PIL import Image

SIDE = 64
TOLERANCE = 4
"""Of 255, on average over the small grey picture: fonts and rounding differ between machines."""

VARIES = "picture-varies"
"""The tag of a cell whose picture ends a long ascent. Rounding decides where that leads: each processor draws another
picture; what all of them have in common is compared: its size, its mean level and its contrast."""

VARIES_TOLERANCE = 12
"""Of 255, for the mean level and for the standard deviation of the levels."""


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, object, object]:
    """After a cell's texts compare its pictures."""
    result = yield
    if isinstance(item, IPyNbCell) and item.cell.execution_count is not None:
        stored, drawn = pictures(item.cell.outputs), pictures(item.test_outputs)
        if len(stored) != len(drawn):
            item.raise_cell_error(f"{len(stored)} pictures are stored and {len(drawn)} were drawn: make lessons")
        alike = roughly_alike if VARIES in item.cell.metadata.get("tags", []) else the_same
        if not all(alike(old, new) for old, new in zip(stored, drawn, strict=True)):
            item.raise_cell_error("The stored picture is no longer what the code draws: make lessons")
    return result


def the_same(old: Image.Image, new: Image.Image) -> bool:
    """Whether two grey pictures are the same but for fonts and rounding."""
    one, two = (np.asarray(each.resize((SIDE, SIDE)), dtype=float) for each in (old, new))
    return bool(np.abs(one - two).mean() < TOLERANCE)


def roughly_alike(old: Image.Image, new: Image.Image) -> bool:
    """Whether two grey pictures have the same size, mean level and contrast."""
    one, two = (np.array([np.mean(each), np.std(each)]) for each in (old, new))
    return old.size == new.size and bool((np.abs(one - two) < VARIES_TOLERANCE).all())


def pictures(outputs: Sequence[dict]) -> list[Image.Image]:
    """Every picture, in grey."""
    found = []
    for output in outputs:
        data = output.get("data", {})
        encoded = data.get("image/png") or data.get("image/jpeg")
        if encoded:
            with Image.open(io.BytesIO(base64.b64decode(encoded))) as picture:
                found.append(picture.convert("L"))
    return found
