"""The lessons are tests: here is held that their stored outputs are there to be compared, and fit to be read."""

import ast
import base64
import importlib.util
import io
import json
import re
import subprocess
import sys
from pathlib import Path

import nbformat
import numpy as np
import pytest
from PIL import Image

NOTEBOOKS = Path(__file__).parents[1] / "notebooks"
LESSONS = sorted(NOTEBOOKS.glob("*.ipynb"))
lessons = pytest.mark.parametrize("path", LESSONS, ids=lambda path: path.stem)


def code_cells(notebook: nbformat.NotebookNode) -> list[nbformat.NotebookNode]:
    return [cell for cell in notebook.cells if cell.cell_type == "code" and cell.source.strip()]


def test_the_three_first_lessons_are_there() -> None:
    assert [path.stem for path in LESSONS][:3] == ["01_scores", "02_saliency", "03_localisation"]


@lessons
def test_every_code_cell_was_executed_in_order(path: Path) -> None:
    """nbval compares nothing where the execution count is missing."""
    counts = [cell.execution_count for cell in code_cells(nbformat.read(path, as_version=4))]
    assert counts == list(range(1, len(counts) + 1))


@lessons
def test_cell_ids_are_unique_and_readable(path: Path) -> None:
    ids = [cell.id for cell in nbformat.read(path, as_version=4).cells]
    assert len(set(ids)) == len(ids)
    assert not [name for name in ids if not re.fullmatch(r"[a-z][a-z0-9-]+", name)]
    assert not [name for name in ids if re.fullmatch(r"[0-9a-f]{8}(-[0-9a-f]{4}){0,3}.*", name)], "a random id"


@lessons
def test_outputs_hold_nothing_of_the_machine(path: Path) -> None:
    notebook = nbformat.read(path, as_version=4)
    assert "widgets" not in notebook.metadata
    for cell in code_cells(notebook):
        for output in cell.outputs:
            assert output.get("name") != "stderr", f"{cell.id} writes to stderr"
            assert "application/vnd.jupyter.widget-view+json" not in output.get("data", {}), cell.id
            if output.output_type == "error":
                assert "raises-exception" in cell.metadata.get("tags", []), f"{cell.id} fails"
        if "raises-exception" in cell.metadata.get("tags", []):
            assert [o for o in cell.outputs if o.output_type == "error"], f"{cell.id} breaks nothing"
        for output in cell.outputs:
            texts = {key: text for key, text in output.get("data", {}).items() if not key.startswith("image/")}
            text = json.dumps([texts, output.get("text", ""), output.get("evalue", "")])
            assert not re.search(r"/(home|root|tmp|usr|opt|work|Users)/|site-packages|0x[0-9a-f]{6,}", text), cell.id
            assert not re.search(r"\d+\.\d{5,}", text), f"{cell.id} prints a float with more than a few digits"


@lessons
def test_the_lesson_has_the_shape_of_a_lesson(path: Path) -> None:
    notebook = nbformat.read(path, as_version=4)
    prose = [cell.source for cell in notebook.cells if cell.cell_type == "markdown"]
    text = re.sub(r"```.*?```", "", "\n".join(prose), flags=re.DOTALL)
    assert 25 <= len(notebook.cells) <= 35
    assert 800 <= len(re.findall(r"[A-Za-z’'-]+", re.sub(r"<[^>]+>|\$[^$]*\$", " ", text))) <= 1200
    assert path.stat().st_size < 1_000_000
    assert prose[0].startswith("# ")
    assert prose[0].splitlines()[0].endswith("?"), "the title asks a question"
    assert "<details>" in text
    assert any("raises-exception" in cell.metadata.get("tags", []) for cell in notebook.cells), "no cell is broken"
    for cell in code_cells(notebook):
        assert len(cell.source.splitlines()) <= 12, f"{cell.id} is longer than twelve lines"
        assert not cell.source.rstrip().endswith(";"), f"{cell.id} ends in a semicolon"
        ast.parse(cell.source)


def stored_pictures(notebook: nbformat.NotebookNode) -> list[tuple[str, np.ndarray]]:
    """Every stored picture, small and grey, with the cell that it belongs to."""
    found = []
    for cell in code_cells(notebook):
        for output in cell.outputs:
            data = output.get("data", {})
            encoded = data.get("image/png") or data.get("image/jpeg")
            if encoded:
                with Image.open(io.BytesIO(base64.b64decode(encoded))) as picture:
                    found.append((cell.id, np.asarray(picture.convert("L").resize((64, 64)), dtype=float)))
    return found


@lessons
def test_stored_pictures_are_what_the_code_draws(path: Path) -> None:
    """nbval does not look at pictures: each is drawn again and compared at 64×64 with the stored one."""
    spec = importlib.util.spec_from_file_location("write_lessons", NOTEBOOKS.parent / "scripts" / "write_lessons.py")
    assert spec is not None
    assert spec.loader is not None
    writer = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(writer)
    stored, drawn = stored_pictures(nbformat.read(path, as_version=4)), stored_pictures(writer.execute(path))
    assert [cell for cell, _ in stored] == [cell for cell, _ in drawn]
    assert len(stored) >= 3
    for (cell, old), (_, new) in zip(stored, drawn, strict=True):
        assert np.abs(old - new).mean() < 4, f"the picture of {cell} is no longer what the code draws: make lessons"


def test_a_planted_wrong_number_makes_the_run_fail(tmp_path: Path) -> None:
    """Proves that the comparison compares: the same small lesson passes as it is and fails with one digit changed."""
    cell = nbformat.v4.new_code_cell("6 * 7", id="answer", execution_count=1)
    cell.outputs = [nbformat.v4.new_output("execute_result", {"text/plain": "42"}, execution_count=1)]
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    lesson = nbformat.v4.new_notebook(cells=[cell], metadata=kernel)
    codes = []
    for answer in ("42", "43"):
        cell.outputs[0].data["text/plain"] = answer
        path = tmp_path / f"lesson_{answer}.ipynb"
        nbformat.write(lesson, path)
        command = [sys.executable, "-m", "pytest", "--nbval", "--nbval-current-env", "-p", "no:cacheprovider"]
        codes.append(subprocess.run([*command, str(path)], cwd=tmp_path, capture_output=True, check=False).returncode)
    assert codes == [0, 1]
