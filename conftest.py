"""nbval compares a lesson's texts and leaves its pictures out; here each is compared too, in the same run."""

import base64
import io
from collections.abc import Generator, Sequence

import numpy as np
import pytest
from nbval.plugin import IPyNbCell
from numpy.typing import NDArray
from PIL import Image

SIDE = 64
TOLERANCE = 4
"""Of 255, on average over the small grey picture: fonts and rounding differ between machines."""


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, object, object]:
    """After a cell's texts compare its pictures."""
    result = yield
    if isinstance(item, IPyNbCell) and item.cell.execution_count is not None:
        stored, drawn = pictures(item.cell.outputs), pictures(item.test_outputs)
        if len(stored) != len(drawn):
            item.raise_cell_error(f"{len(stored)} pictures are stored and {len(drawn)} were drawn: make lessons")
        if any(np.abs(old - new).mean() >= TOLERANCE for old, new in zip(stored, drawn, strict=True)):
            item.raise_cell_error("The stored picture is no longer what the code draws: make lessons")
    return result


def pictures(outputs: Sequence[dict]) -> list[NDArray[np.float64]]:
    """Every picture, small and grey."""
    found = []
    for output in outputs:
        data = output.get("data", {})
        encoded = data.get("image/png") or data.get("image/jpeg")
        if encoded:
            with Image.open(io.BytesIO(base64.b64decode(encoded))) as picture:
                found.append(np.asarray(picture.convert("L").resize((SIDE, SIDE)), dtype=float))
    return found
