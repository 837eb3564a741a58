"""Copy the lessons to a learner's folder, never over a learner's work, and open JupyterLab on the first one."""

import hashlib
import importlib.util
import json
import os
import re
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

DEFAULT_FOLDER = Path("deepinside-lessons")
FIRST_LESSON = "01_scores.ipynb"
RECORD = ".deepinside-lessons.json"


@dataclass(frozen=True)
class CopiedFile:
    """One file that was written into the learner's folder.

    ``path`` is where it lies; ``beside`` is the learner's own file that was left alone, or None if there was none.
    """

    path: Path
    beside: Path | None = None


def lessons_folder() -> Path:
    """The folder with the lessons: a checkout's ``notebooks/``, else the copy that the installed package carries.

    Raises:
        ValueError: this installation has no lessons.
    """
    package = Path(__file__).resolve().parent
    checkout = package.parent / "notebooks"
    for folder in (checkout, package / "notebooks"):
        if (folder / FIRST_LESSON).is_file():
            return folder
    raise ValueError(f"this installation has no {FIRST_LESSON}; install it again from its folder: pip install .")


def copy_lessons(destination: Path, source: Path | None = None) -> list[CopiedFile]:
    """Bring the lessons into ``destination`` without changing any file that is already there.

    A lesson that is not there is copied. One that is there is left as it is, whatever it contains; if the lesson has
    changed since it was last copied (a newer package), the new one is put beside it as ``01_scores_new.ipynb``. What
    was last copied is remembered in a hidden file of the folder, so nothing is copied if only the learner has changed
    a lesson.

    Args:
        destination: the learner's folder; made if it is missing.
        source: where the lessons are; ``lessons_folder()`` by default.

    Returns:
        What was written, in the order of the lessons; empty if everything was there.

    Raises:
        ValueError: ``destination`` is a file or cannot be written to.
    """
    source = lessons_folder() if source is None else source
    lessons = sorted(
        path
        for path in source.rglob("*")
        if path.is_file() and not any(part.startswith((".", "__")) for part in path.relative_to(source).parts)
    )
    if destination.exists() and not destination.is_dir():
        raise ValueError(f"{destination} is a file, but the lessons need a folder: deepinside lab FOLDER")

    copied = []
    try:
        destination.mkdir(parents=True, exist_ok=True)
        record = _read_record(destination / RECORD)
        before = dict(record)
        for lesson in lessons:
            name = lesson.relative_to(source).as_posix()
            content = lesson.read_bytes()
            digest = hashlib.sha256(content).hexdigest()
            wanted = destination / name
            if not os.path.lexists(wanted):
                _write_new(wanted, content)
                copied.append(CopiedFile(wanted))
            elif record.get(name) != digest and not any(_holds(each, content) for each in (wanted, *_beside(wanted))):
                beside = _free_name(wanted)
                _write_new(beside, content)
                copied.append(CopiedFile(beside, beside=wanted))
            record[name] = digest
        if record != before:
            (destination / RECORD).write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    except OSError as error:
        raise ValueError(
            f"cannot write the lessons to {destination} ({error.strerror}); choose another: deepinside lab FOLDER"
        ) from error
    return copied


def open_lab(folder: Path | None, arguments: list[str]) -> int:
    """Copy the lessons to ``folder`` and serve JupyterLab there, opened on lesson 1, until it is stopped.

    Args:
        folder: the learner's folder; ``./deepinside-lessons`` by default.
        arguments: passed on to JupyterLab, for example ``["--no-browser"]``.

    Returns:
        JupyterLab's exit status, or 2 after one line on stderr if it could not be started.
    """
    folder = DEFAULT_FOLDER if folder is None else folder
    try:
        if importlib.util.find_spec("jupyterlab") is None:
            raise ValueError("JupyterLab is not installed; install it: pip install jupyterlab")
        copied = copy_lessons(folder)
    except ValueError as error:
        print(f"deepinside lab: {error}", file=sys.stderr)
        return 2

    fresh = [file for file in copied if file.beside is None]
    print(f"Lessons in {folder.resolve()}: {len(fresh)} copied" if fresh else f"Lessons in {folder.resolve()}")
    for file in copied:
        if file.beside is not None:
            print(f"{file.beside.name} is left as it is; its newer version is {file.path.name}")
    print("Starting JupyterLab; stop it with Ctrl-C.", flush=True)
    return _serve(folder, arguments)


def _serve(folder: Path, arguments: list[str]) -> int:
    command = [
        sys.executable, "-m", "jupyterlab",
        f"--LabApp.default_url=/lab/tree/{FIRST_LESSON}",
        "--log-level=WARN",  # the address is printed at any level; the rest would bury it
    ]  # fmt: skip
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        command.append("--allow-root")  # root is the only user of many containers, and Jupyter refuses it otherwise
    # Threads that wait sleep instead of spinning, in every kernel: a lesson on a busy machine is five times as fast.
    environment = {"OMP_WAIT_POLICY": "PASSIVE", **os.environ}
    # A lesson's cell finds `deepinside evaluate` even if the environment has not been activated.
    beside = str(Path(sys.executable).parent)
    environment["PATH"] = os.pathsep.join(filter(None, [beside, environment.get("PATH")]))
    server = subprocess.Popen([*command, *arguments], cwd=folder, env=environment)

    # Jupyter itself answers Ctrl-C (it asks first), and a request to end is passed on, so no server is left behind.
    before = {
        signal.SIGINT: signal.signal(signal.SIGINT, signal.SIG_IGN),
        signal.SIGTERM: signal.signal(signal.SIGTERM, lambda *_: server.terminate()),
    }
    try:
        return server.wait()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _read_record(path: Path) -> dict[str, str]:
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return {}
    return record if isinstance(record, dict) else {}


def _holds(path: Path, content: bytes) -> bool:
    return path.is_file() and path.read_bytes() == content


def _beside(path: Path) -> list[Path]:
    """The newer versions that were put beside a lesson before, whatever the record says of them."""
    return [each for each in path.parent.iterdir() if re.fullmatch(rf"{re.escape(path.stem)}_new[0-9]*", each.stem)]


def _free_name(path: Path) -> Path:
    number = 1
    while True:
        candidate = path.with_stem(f"{path.stem}_new" if number == 1 else f"{path.stem}_new{number}")
        if not os.path.lexists(candidate):
            return candidate
        number += 1


def _write_new(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("xb") as file:  # x: fails rather than overwrites, even if the file appeared a moment ago
        try:
            file.write(content)
        except BaseException:
            path.unlink()  # half a lesson would later look like the learner's own work
            raise
