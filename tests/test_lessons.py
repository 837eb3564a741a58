"""The lessons are tests; this file checks that their stored outputs are there to be compared and good to read."""

import ast
import base64
import io
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import nbformat
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
    """nbval compares nothing if the execution count is missing."""
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
    assert 25 <= len(notebook.cells) <= 40
    assert len(re.findall(r"[A-Za-z’'-]+", re.sub(r"<[^>]+>|\$[^$]*\$", " ", text))) >= 800
    assert path.stat().st_size < 3_000_000
    assert "Run the cells from the top" in prose[0], "a cell that lacks those above it ends in a plain NameError"
    assert prose[0].startswith("# ")
    assert prose[0].splitlines()[0].endswith("?"), "the title asks a question"
    assert "<details>" in text
    assert any("raises-exception" in cell.metadata.get("tags", []) for cell in notebook.cells), "no cell is broken"
    for cell in code_cells(notebook):
        assert len(cell.source.splitlines()) <= 15, f"{cell.id} is longer than fifteen lines"
        assert not cell.source.rstrip().endswith(";"), f"{cell.id} ends in a semicolon"
        ast.parse(cell.source)


@lessons
def test_the_lesson_has_pictures(path: Path) -> None:
    outputs = [output for cell in code_cells(nbformat.read(path, as_version=4)) for output in cell.outputs]
    assert sum(kind.startswith("image/") for output in outputs for kind in output.get("data", {})) >= 3


@lessons
def test_what_is_not_compared_is_named_here(path: Path) -> None:
    """If a long ascent or a single pixel decides, a lesson only shows the output; all others are compared."""
    tagged = {
        (cell.id, tag)
        for cell in code_cells(nbformat.read(path, as_version=4))
        for tag in cell.metadata.get("tags", [])
        if tag != "raises-exception"
    }
    ascents = (
        "by-hand-gradient", "by-hand-step", "by-hand-three-steps", "paper-film", "png", "two-panels", "lambdas",
        "readable-run", "explorer", "three-starts",
    )  # fmt: skip
    expected = {
        "04_class_model": {(name, "picture-varies") for name in ascents},
        "06_evaluation": {("ablate", "nbval-ignore-output")},
    }
    assert tagged == expected.get(path.stem, set())


def grey(level: int, contrast: int = 0, turned: bool = False, side: int = 90) -> str:
    stored, picture = io.BytesIO(), Image.new("L", (side, side), level - contrast)
    picture.paste(level + contrast, (0, 0, side, side // 2))
    picture.rotate(90 * turned).save(stored, "PNG")
    return base64.b64encode(stored.getvalue()).decode()


@pytest.mark.slow
def test_planted_wrong_numbers_and_pictures_make_the_run_fail(tmp_path: Path) -> None:
    """This proves that outputs are compared: unchanged cells pass, and cells with one changed thing fail."""
    number, square = "6 * 7", "from PIL import Image\nImage.new('L', (90, 90), 100)"
    striped = square.replace("Image.new('L', (90, 90), 100)", "p = Image.new('L', (90, 90), 60)")
    striped += "\np.paste(140, (0, 0, 90, 45))\np"
    shown = {"text/plain": "<PIL.Image.Image image mode=L size=90x90>"}
    planted = [
        (number, {"text/plain": "42"}, "", "PASSED"),
        (number, {"text/plain": "43"}, "", "FAILED"),
        (number, {"text/plain": "43"}, "picture-varies", "FAILED"),
        (square, shown | {"image/png": grey(100)}, "", "PASSED"),
        (square, shown | {"image/png": grey(103)}, "", "PASSED"),
        (square, shown | {"image/png": grey(105)}, "", "FAILED"),
        (square, shown, "", "FAILED"),
        (striped, shown | {"image/png": grey(100, 40, turned=True)}, "", "FAILED"),
        (striped, shown | {"image/png": grey(100, 40, turned=True)}, "picture-varies", "PASSED"),
        (striped, shown | {"image/png": grey(120, 40, turned=True)}, "picture-varies", "FAILED"),
        (striped, shown | {"image/png": grey(100, 20, turned=True)}, "picture-varies", "FAILED"),
        (striped, shown | {"image/png": grey(100, 40, side=60)}, "picture-varies", "FAILED"),
    ]
    cells = []
    for n, (source, data, tag, _) in enumerate(planted, 1):
        outputs = [nbformat.v4.new_output("execute_result", data, execution_count=n)]
        cell = nbformat.v4.new_code_cell(source, id=f"cell-{n}", execution_count=n, outputs=outputs)
        cell.metadata["tags"] = [tag] * bool(tag)
        cells.append(cell)
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata=kernel), tmp_path / "lesson.ipynb")
    # Use the comparison of pictures in the root's conftest.py.
    command = [sys.executable, "-m", "pytest", "-p", "conftest", "-p", "no:cacheprovider", "-rA", "--tb=no"]
    done = subprocess.run(
        [*command, "--nbval", "--nbval-current-env", "lesson.ipynb"], cwd=tmp_path, text=True,
        env=os.environ | {"PYTHONPATH": str(NOTEBOOKS.parent)}, capture_output=True, check=False,
    )  # fmt: skip
    told = re.findall(r"^(PASSED|FAILED) lesson.ipynb::Cell (\d+)", done.stdout, re.M)
    assert sorted(told, key=lambda each: int(each[1])) == [(each[3], str(n)) for n, each in enumerate(planted)], (
        done.stdout
    )
