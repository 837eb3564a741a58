"""Every text that a person sees is in one table: none is written in the code, none is missing, none is left over."""

import ast
import os
import shutil
import subprocess
import sys
from importlib.resources import files
from pathlib import Path
from string import Formatter

import pytest

from deepinside_edu.explorers import joined, language
from deepinside_edu.explorers.widget import STYLE

ROOM = files("deepinside_edu.explorers")
CODE = {file.name: ast.parse(file.read_text(encoding="utf-8")) for file in ROOM.iterdir() if file.name.endswith(".py")}
LANGUAGES = sorted(file.name[:-5] for file in (ROOM / "texts").iterdir())

NO_TEXTS = {
    "joined.py": {joined.IMPORT.pattern, joined.EXPORT.pattern},
    "language.py": {"no texts in ", "; there are ", ". Set DEEPINSIDE_LANGUAGE to one."},
    "localisation.py": {"the mask is empty"},
    "settings.py": {"the worker cannot set ", ", because a learner may. Use _settle."},
    "taylor.py": {"another photo"},
    "widget.py": {"your photo", "> 0.999", "< 0.001", '<p class="deepinside-still">', STYLE},
}
"""Values, errors of other steps, and texts that only contributors see."""


def strings(tree):
    """All strings of a module except docstrings and what `repr` returns."""
    skipped = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            skipped.add(node.value)
        if isinstance(node, ast.FunctionDef) and node.name == "__repr__":
            skipped |= set(ast.walk(node))
    constants = [node for node in ast.walk(tree) if isinstance(node, ast.Constant) and node not in skipped]
    return [node.value for node in constants if isinstance(node.value, str)]


def fields(text):
    return {name for _, name, _, _ in Formatter().parse(text) if name}


@pytest.mark.parametrize("name", CODE)
def test_no_text_is_written_in_the_code(name):
    assert {text for text in strings(CODE[name]) if " " in text.strip()} == NO_TEXTS.get(name, set())


def test_every_text_is_there_and_is_used():
    rooms = {name.split(".")[0] for name in language.TEXTS}
    named = {text for tree in CODE.values() for text in strings(tree) if text.split(".")[0] in rooms and "." in text}
    beginnings = {name for name in named if name not in language.TEXTS}
    for beginning in beginnings:
        assert beginning.endswith((".", "_")), f"{beginning} is not in the table"
    for name in language.TEXTS:
        assert name in named or name.startswith(tuple(beginnings)), f"{name} is never said"


@pytest.mark.parametrize("other", LANGUAGES)
def test_each_language_has_the_same_texts_with_the_same_fields(other):
    texts = language.read_texts(other)
    assert {name: fields(text) for name, text in texts.items()} == {
        name: fields(text) for name, text in language.read_texts("en").items()
    }
    assert all(text.strip() for text in texts.values())


SPEAK = """
from deepinside_edu.explorers import language
from deepinside_edu.explorers.saliency import SaliencyExplorer
print(language.say("saliency.zeros"), "overlay strength" in SaliencyExplorer._esm, "Deckkraft" in SaliencyExplorer._esm)
"""


def test_a_second_language_is_one_file_for_each_half_and_no_edit(tmp_path):
    package = tmp_path / "deepinside_edu"
    shutil.copytree(Path(str(ROOM)).parent, package, ignore=shutil.ignore_patterns("data", "__pycache__"))
    words = {
        "texts/en.json": ("The map is all zeros", "Die Karte ist null"),
        "front/texts/en.js": ("overlay strength", "Deckkraft"),
    }
    for table, (english, german) in words.items():
        text = (package / "explorers" / table).read_text(encoding="utf-8")
        assert english in text
        (package / "explorers" / table).with_stem("de").write_text(text.replace(english, german), encoding="utf-8")
    environment = {**os.environ, "PYTHONPATH": str(tmp_path), "PYTHONUTF8": "1"}
    for chosen, said in (("de", "Die Karte ist null: "), ("en", "The map is all zeros: ")):
        environment["DEEPINSIDE_LANGUAGE"] = chosen
        command = [sys.executable, "-c", SPEAK]
        told = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
        assert told.stdout.startswith(said), told.stderr
        assert told.stdout.split()[-2:] == [str(chosen == "en"), str(chosen == "de")]


def test_another_language_is_a_file(tmp_path, monkeypatch):
    monkeypatch.setattr(language, "TABLES", tmp_path)
    table = '{"saliency": {"overlay": "Überlagerung, Stärke {strength:.2g}"}}'
    (tmp_path / "de.json").write_text(table, encoding="utf-8")
    monkeypatch.setattr(language, "TEXTS", language.read_texts("de"))
    assert language.say("saliency.overlay", strength=0.75) == "Überlagerung, Stärke 0.75"
    with pytest.raises(ValueError, match=r"no texts in 'en'; there are de\. Set DEEPINSIDE_LANGUAGE"):
        language.read_texts("en")
