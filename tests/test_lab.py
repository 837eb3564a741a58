"""The lessons reach the learner's folder, and nothing that a learner has written is ever lost."""

import json
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from deepinside_edu import lab


@pytest.fixture
def lessons(tmp_path):
    folder = tmp_path / "shipped"
    (folder / "pictures").mkdir(parents=True)
    (folder / "01_scores.ipynb").write_text("lesson 1, first version")
    (folder / "02_saliency.ipynb").write_text("lesson 2, first version")
    (folder / "pictures" / "cat.txt").write_text("a cat")
    (folder / ".ipynb_checkpoints").mkdir()
    (folder / ".ipynb_checkpoints" / "01_scores-checkpoint.ipynb").write_text("not a lesson")
    return folder


@pytest.fixture
def mine(tmp_path):
    return tmp_path / "a folder of mine"


def contents(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): path.read_text()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != lab.RECORD
    }


def test_everything_is_copied_once(lessons, mine):
    copied = lab.copy_lessons(mine, lessons)
    assert [file.path.relative_to(mine).as_posix() for file in copied] == [
        "01_scores.ipynb",
        "02_saliency.ipynb",
        "pictures/cat.txt",
    ]
    assert all(file.beside is None for file in copied)
    assert lab.copy_lessons(mine, lessons) == []


def test_a_learners_work_stays_and_brings_nothing_new(lessons, mine):
    lab.copy_lessons(mine, lessons)
    (mine / "01_scores.ipynb").write_text("my answers")
    (mine / "notes.ipynb").write_text("my notes")
    before = contents(mine)
    assert lab.copy_lessons(mine, lessons) == []
    assert contents(mine) == before


def test_a_newer_lesson_is_put_beside(lessons, mine):
    lab.copy_lessons(mine, lessons)
    (mine / "01_scores.ipynb").write_text("my answers")
    for version in ("second", "third"):
        (lessons / "01_scores.ipynb").write_text(f"lesson 1, {version} version")
        [copied] = lab.copy_lessons(mine, lessons)
        assert copied.beside == mine / "01_scores.ipynb"
        assert lab.copy_lessons(mine, lessons) == []
    assert contents(mine) == {
        "01_scores.ipynb": "my answers",
        "01_scores_new.ipynb": "lesson 1, second version",
        "01_scores_new2.ipynb": "lesson 1, third version",
        "02_saliency.ipynb": "lesson 2, first version",
        "pictures/cat.txt": "a cat",
    }


@pytest.mark.parametrize("record", ["", "[]", "{", "\x00"])
def test_a_file_that_was_there_before_stays_even_without_a_usable_record(lessons, mine, record):
    mine.mkdir()
    (mine / lab.RECORD).write_text(record)
    (mine / "01_scores.ipynb").write_text("something else of that name")
    lab.copy_lessons(mine, lessons)
    assert (mine / "01_scores.ipynb").read_text() == "something else of that name"
    assert (mine / "01_scores_new.ipynb").read_text() == "lesson 1, first version"
    assert lab.copy_lessons(mine, lessons) == []


@pytest.mark.parametrize("record", ["", "[]", "{", "\x00", '{"01_scores.ipynb": 5}'])
def test_a_broken_record_brings_the_newer_version_once_however_often_it_breaks(lessons, mine, record):
    lab.copy_lessons(mine, lessons)
    (mine / "01_scores.ipynb").write_text("a learner's work")
    for _ in range(3):
        (mine / lab.RECORD).write_text(record)
        lab.copy_lessons(mine, lessons)
    assert sorted(each.name for each in mine.glob("01_*")) == ["01_scores.ipynb", "01_scores_new.ipynb"]
    assert (mine / "01_scores.ipynb").read_text() == "a learner's work"


def test_a_lesson_that_the_learner_deleted_comes_back(lessons, mine):
    lab.copy_lessons(mine, lessons)
    (mine / "02_saliency.ipynb").unlink()
    assert [file.path.name for file in lab.copy_lessons(mine, lessons)] == ["02_saliency.ipynb"]


def test_a_link_is_not_written_through(lessons, mine, tmp_path):
    mine.mkdir()
    (mine / "01_scores.ipynb").symlink_to(tmp_path / "elsewhere")
    lab.copy_lessons(mine, lessons)
    assert not (tmp_path / "elsewhere").exists()
    assert (mine / "01_scores_new.ipynb").exists()


def test_a_copy_that_fails_leaves_no_half_of_a_lesson(tmp_path):
    with pytest.raises(TypeError):
        lab._write_new(tmp_path / "01_scores.ipynb", "text cannot be written as bytes")
    assert list(tmp_path.iterdir()) == []


def test_a_file_is_no_folder(lessons, mine):
    mine.write_text("a file")
    with pytest.raises(ValueError, match=r"is a file.*deepinside lab FOLDER"):
        lab.copy_lessons(mine, lessons)
    assert mine.read_text() == "a file"


def test_a_folder_that_cannot_be_made(lessons, mine):
    mine.write_text("a file")
    with pytest.raises(ValueError, match="cannot write the lessons to"):
        lab.copy_lessons(mine / "below", lessons)


def test_the_lessons_of_a_checkout_come_first():
    assert lab.lessons_folder() == Path(lab.__file__).resolve().parent.parent / "notebooks"


def test_the_lessons_of_an_installed_package(tmp_path, monkeypatch):
    package = tmp_path / "site-packages" / "deepinside_edu"
    (package / "notebooks").mkdir(parents=True)
    monkeypatch.setattr(lab, "__file__", str(package / "lab.py"))
    with pytest.raises(ValueError, match=r"has no 01_scores\.ipynb"):
        lab.lessons_folder()
    (package / "notebooks" / "01_scores.ipynb").write_text("{}")
    assert lab.lessons_folder() == package / "notebooks"


@pytest.fixture
def served(lessons, monkeypatch):
    """How JupyterLab would have been started; in its place, a program ends with status 7."""
    calls = []
    start = subprocess.Popen

    def popen(command, **options):
        calls.append((command, options))
        return start([sys.executable, "-c", "raise SystemExit(7)"], **options)

    monkeypatch.setattr(subprocess, "Popen", popen)
    monkeypatch.setattr(lab, "lessons_folder", lambda: lessons)
    return calls


def test_jupyterlab_opens_the_first_lesson_in_the_folder(served, mine, capsys):
    handlers = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    assert lab.open_lab(mine, ["--no-browser", "--port=9999"]) == 7
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == handlers
    [(command, options)] = served
    assert command[:3] == [sys.executable, "-m", "jupyterlab"]
    assert "--LabApp.default_url=/lab/tree/01_scores.ipynb" in command
    assert command[-2:] == ["--no-browser", "--port=9999"]
    assert options["cwd"] == mine
    assert shutil.which("python", path=options["env"]["PATH"]) == str(Path(sys.executable).with_name("python"))
    assert f"Lessons in {mine}: 3 copied" in capsys.readouterr().out


@pytest.mark.parametrize(("user", "allowed"), [(0, True), (1000, False)])
def test_root_is_let_in_and_no_one_else_needs_to_be(served, mine, monkeypatch, user, allowed):
    monkeypatch.setattr(lab.os, "geteuid", lambda: user, raising=False)
    lab.open_lab(mine, [])
    assert ("--allow-root" in served[0][0]) is allowed


def test_the_default_folder_lies_where_the_learner_is(served, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    lab.open_lab(None, [])
    assert (tmp_path / "deepinside-lessons" / "01_scores.ipynb").exists()


def test_a_newer_version_is_said_in_a_line(served, lessons, mine, capsys):
    lab.open_lab(mine, [])
    (lessons / "01_scores.ipynb").write_text("lesson 1, second version")
    capsys.readouterr()
    lab.open_lab(mine, [])
    lines = capsys.readouterr().out.splitlines()
    assert "01_scores.ipynb is left as it is; its newer version is 01_scores_new.ipynb" in lines


def test_what_is_wrong_is_said_in_one_line(served, mine, capsys):
    mine.write_text("a file")
    assert lab.open_lab(mine, []) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1
    assert served == []


def test_without_jupyterlab(served, mine, monkeypatch, capsys):
    monkeypatch.setattr(lab.importlib.util, "find_spec", lambda _: None)
    assert lab.open_lab(mine, []) == 2
    assert "pip install jupyterlab" in capsys.readouterr().err
    assert not mine.exists()


def test_the_record_is_small_and_readable(lessons, mine):
    lab.copy_lessons(mine, lessons)
    record = json.loads((mine / lab.RECORD).read_text())
    assert set(record) == {"01_scores.ipynb", "02_saliency.ipynb", "pictures/cat.txt"}
