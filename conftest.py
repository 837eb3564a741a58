"""nbval compares a lesson's texts but not its pictures, so this file compares those in the same run."""

import base64
import io
from collections.abc import Generator, Sequence

import numpy as np
import pytest
from nbval.plugin import IPyNbCell
from PIL import Image

SIDE = 64
TOLERANCE = 4
"""The mean difference, of 255 levels, that small grey pictures may have: fonts and rounding differ between machines."""

VARIES = "picture-varies"
"""The tag of a cell whose picture ends a long ascent. Rounding decides where it leads, so each processor draws another
picture, and only what all have in common is compared: the size, the mean level and the contrast."""

VARIES_TOLERANCE = 12
"""How far, of 255 levels, the mean and the standard deviation of the levels may differ."""


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, object, object]:
    """Compare a cell's pictures after its texts."""
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
    """Whether two grey pictures are the same except for fonts and rounding."""
    one, two = (np.asarray(each.resize((SIDE, SIDE)), dtype=float) for each in (old, new))
    return bool(np.abs(one - two).mean() < TOLERANCE)


def roughly_alike(old: Image.Image, new: Image.Image) -> bool:
    """Whether two grey pictures have the same size, mean level and contrast."""
    one, two = (np.array([np.mean(each), np.std(each)]) for each in (old, new))
    return old.size == new.size and bool((np.abs(one - two) < VARIES_TOLERANCE).all())


def pictures(outputs: Sequence[dict]) -> list[Image.Image]:
    """Return every picture in grey."""
    found = []
    for output in outputs:
        data = output.get("data", {})
        encoded = data.get("image/png") or data.get("image/jpeg")
        if encoded:
            with Image.open(io.BytesIO(base64.b64decode(encoded))) as picture:
                found.append(picture.convert("L"))
    return found
