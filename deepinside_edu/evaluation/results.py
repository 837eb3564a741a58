"""What was found in each image, kept in a file of JSON lines that survives a crash."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from ..images import Box
from .localisation_error import Guess

FORMAT = 1


@dataclass(frozen=True)
class Outcome:
    """What the method says of one image; no truth in it.

    Attributes:
        name: of the image in its data set.
        file_size: of its file, in bytes; 0 without a file.
        size: (width, height) in pixels; (0, 0) if it cannot be read.
        guesses: the network's first five classes and their boxes.
        told: the class that stands for each true class, and its box.
        problem: why the image cannot be used; empty if it can.
    """

    name: str
    file_size: int = 0
    size: tuple[int, int] = (0, 0)
    guesses: tuple[Guess, ...] = ()
    told: tuple[Guess, ...] = ()
    problem: str = ""


class ResultsFile:
    """A file of JSON lines: the settings first, then an `Outcome` a line.

    Args:
        path: of the file; its folder is made if need be.
        settings: what the results depend on, as JSON can hold it.

    Raises:
        ValueError: a file of other settings, or one that is damaged in its middle.
        OSError: a file that cannot be written.
    """

    def __init__(self, path: Path, settings: Mapping[str, Any]) -> None:
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        self.kept, self._end = _read(path, settings) if path.exists() else ({}, 0)
        self._file = path.open("ab", buffering=0)
        self._file.truncate(self._end)  # a last line that was being written when the process was killed
        if self._end == 0:
            self._write({"format": FORMAT, **settings})

    def append(self, outcomes: Sequence[Outcome]) -> None:
        """Write outcomes and wait until they are on the disk.

        Args:
            outcomes: in any order; of two of one name the later counts.

        Raises:
            OSError: a full disk and the like. What was in the file before is still there, whole.
        """
        if outcomes:
            self._write(*(_as_json(each) for each in outcomes))

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _write(self, *entries: Mapping[str, Any]) -> None:
        left = memoryview("".join(json.dumps(each) + "\n" for each in entries).encode())
        whole = len(left)
        try:
            while left:
                left = left[self._file.write(left) :]
            os.fsync(self._file.fileno())
        except OSError as error:
            self._file.truncate(self._end)
            raise OSError(
                f"{self.path} cannot be written ({error.strerror}). What was in it is still there: make room, then "
                "start the same command again, and it goes on."
            ) from error
        self._end += whole


def read_folder(folder: Path, settings: Mapping[str, Any]) -> dict[str, Outcome]:
    """Read every results file of a folder, whichever process wrote it; one may be about to be written to.

    Args:
        folder: with files ``results-*.jsonl``; it need not be there.
        settings: as in `ResultsFile`.

    Returns:
        The outcomes by name.

    Raises:
        ValueError: as in `ResultsFile`.
    """
    found: dict[str, Outcome] = {}
    for path in sorted(folder.glob("results-*.jsonl")):
        found |= _read(path, settings)[0]
    return found


def _read(path: Path, settings: Mapping[str, Any]) -> tuple[dict[str, Outcome], int]:
    """The outcomes in a file, and where its last whole line ends."""
    data = path.read_bytes()
    lines = data[: data.rfind(b"\n") + 1].splitlines(keepends=True)
    found: dict[str, Outcome] = {}
    end = 0
    for number, line in enumerate(lines, 1):
        try:
            entry = json.loads(line)
            outcome = None if number == 1 else _from_json(entry)
        except (ValueError, KeyError, TypeError) as error:
            if number == len(lines):  # the end of a write that a crash cut off
                break
            raise ValueError(
                f"line {number} of {path} is damaged ({error}). Move the file away to start anew."
            ) from error
        if outcome is None:
            _check_settings(path, entry, {"format": FORMAT, **settings})
        else:
            found[outcome.name] = outcome
        end += len(line)
    return found, end


def _check_settings(path: Path, there: object, wanted: Mapping[str, Any]) -> None:
    if not isinstance(there, dict):
        raise ValueError(f"{path} is no results file. Name another folder for the results.")
    names = [name for name in {**wanted, **there} if there.get(name) != wanted.get(name)]
    if names:
        differences = "; ".join(f"{name} {there.get(name)!r} there, {wanted.get(name)!r} now" for name in names)
        raise ValueError(
            f"{path} holds results of other settings ({differences}). Name another folder for the results, or start "
            "with the same settings."
        )


def _as_json(outcome: Outcome) -> dict[str, Any]:
    return {each.name: getattr(outcome, each.name) for each in fields(outcome)}


def _from_json(entry: Mapping[str, Any]) -> Outcome:
    width, height = map(int, entry["size"])
    guesses, told = (tuple(Guess(int(c), _box(box)) for c, box in entry[key]) for key in ("guesses", "told"))
    return Outcome(str(entry["name"]), int(entry["file_size"]), (width, height), guesses, told, str(entry["problem"]))


def _box(corners: Sequence[int] | None) -> Box | None:
    if corners is None:
        return None
    left, top, right, bottom = map(int, corners)
    return left, top, right, bottom
