"""A lesson that is written twice has the same bytes, and nothing of this machine in it."""

import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook

SCRIPT = Path(__file__).parent.parent / "scripts" / "write_lessons.py"


@pytest.mark.slow
def test_two_rebuilds_do_not_differ(tmp_path):
    cells = [
        new_code_cell("import ipywidgets\nipywidgets.IntSlider()", id="slider"),
        new_code_cell("1 / 0", id="break-it", metadata={"tags": ["raises-exception"], "scrolled": True}),
        new_code_cell("print(2 + 3)", id="sum"),
    ]
    path = tmp_path / "lesson.ipynb"
    metadata = {"kernelspec": {"name": "mine", "display_name": "Mine"}}
    nbformat.write(new_notebook(cells=cells, metadata=metadata), path)

    versions = []
    for _ in range(2):
        subprocess.run([sys.executable, SCRIPT, path], check=True, capture_output=True)
        versions.append(path.read_bytes())
    assert versions[0] == versions[1]

    lesson = nbformat.read(path, as_version=4)
    slider, break_it, total = lesson.cells
    assert lesson.metadata == {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }
    assert [cell.execution_count for cell in lesson.cells] == [1, 2, 3]
    assert slider.outputs[0].data == {"text/plain": "IntSlider(value=0)"}
    assert break_it.metadata == {"tags": ["raises-exception"]}
    assert break_it.outputs[0].traceback == ["ZeroDivisionError: division by zero"]
    assert total.outputs[0].text == "5\n"


@pytest.mark.slow
def test_a_cell_that_fails_untagged_leaves_the_lesson_as_it_was(tmp_path):
    path = tmp_path / "lesson.ipynb"
    nbformat.write(new_notebook(cells=[new_code_cell("1 / 0", id="mistake")]), path)
    before = path.read_bytes()
    run = subprocess.run([sys.executable, SCRIPT, path], capture_output=True, text=True)
    assert run.returncode != 0
    assert "ZeroDivisionError" in run.stderr
    assert path.read_bytes() == before
