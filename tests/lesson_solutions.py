"""The solutions that a lesson hides behind <details>, as source."""

import re
from pathlib import Path

import nbformat


def solution(lesson: str, name: str) -> str:
    """The one hidden block of a lesson that defines a function of this name."""
    cells = nbformat.read(Path(__file__).parents[1] / "notebooks" / lesson, as_version=4).cells
    hidden = [part for cell in cells if cell.cell_type == "markdown" for part in cell.source.split("<details>")[1:]]
    blocks = [code for part in hidden for code in re.findall(r"```python\n(.*?)```", part, re.DOTALL)]
    (code,) = [code for code in blocks if f"def {name}(" in code]
    return code
