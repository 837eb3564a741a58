"""What was found in each image, kept in a file of JSON lines that survives a crash."""

from __future__ import annotations

import json
import os
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, BinaryIO

from ..boxes import Box
from .localisation_error import Guess

FORMAT = 2


@dataclass(frozen=True)
class Outcome:
    """What the method says about one image, without the truth.

    Attributes:
        name: of the image in its data set.
        fingerprint: of its file's bytes (`fingerprint`); empty without a file.
        size: (width, height) in pixels; (0, 0) if it cannot be read.
        guesses: the network's first five classes and their boxes.
        told: the class that stands for each true class, and its box.
        problem: why the image cannot be used; empty if it can.
    """

    name: str
    fingerprint: str = ""
    size: tuple[int, int] = (0, 0)
    guesses: tuple[Guess, ...] = ()
    told: tuple[Guess, ...] = ()
    problem: str = ""


def fingerprint(content: bytes) -> str:
    """Give what two files share only if they are alike, but for an accident: their size and CRC-32."""
    return f"{len(content)} {zlib.crc32(content):08x}"


class ResultsFile:
    """A file of JSON lines: the settings first, then one `Outcome` per line.

    Args:
        path: of the file; its folder is made if need be.
        settings: what the results depend on, as JSON can hold it.

    Raises:
        ValueError: a file of other settings, or one that is damaged in its middle.
        OSError: a file that cannot be written, or that another run is writing to.
    """

    def __init__(self, path: Path, settings: Mapping[str, Any]) -> None:
        self.path = path
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = path.open("ab", buffering=0)
        except OSError as error:
            raise OSError(
                f"no results can be kept in {path.parent} ({error.strerror}). Name another folder for them (--out)."
            ) from error
        try:
            _lock(self._file, path)
            outcomes, self._end = _read(path, settings)
            self.kept = {each.name: each for each in outcomes}
            self._file.truncate(self._end)  # a last line that was being written when the process was killed
            if self._end == 0:
                self._write({"format": FORMAT, **settings})
        except BaseException:
            self._file.close()
            raise

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


def _lock(file: BinaryIO, path: Path) -> None:
    """Lock the file for this process, because two that write would cut each other's lines off.

    The system lets go of it when the process ends, however it ends. Windows and some network file systems have no such
    lock; there nothing is held.
    """
    try:
        import fcntl
    except ImportError:
        return
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise OSError(
            f"another run is writing to {path}. Wait for it or stop it; for a second run name another folder (--out). "
            "(Processes that share one run are started with torchrun.)"
        ) from error
    except OSError:
        return


def read_folder(folder: Path, settings: Mapping[str, Any]) -> dict[str, tuple[Outcome, ...]]:
    """Read every results file of a folder, whichever process wrote it; one may be about to be written to.

    Args:
        folder: with files ``results-*.jsonl``; it need not be there.
        settings: as in `ResultsFile`.

    Returns:
        By name all outcomes of an image: of a file that has changed, or of one that could not be read for a while,
        there are several, and no file says which is the newest.

    Raises:
        ValueError: as in `ResultsFile`.
    """
    found: dict[str, tuple[Outcome, ...]] = {}
    for path in sorted(folder.glob("results-*.jsonl")):
        for outcome in _read(path, settings)[0]:
            found[outcome.name] = (*found.get(outcome.name, ()), outcome)
    return found


def _read(path: Path, settings: Mapping[str, Any]) -> tuple[list[Outcome], int]:
    """The outcomes in a file, and where its last whole line ends."""
    data = path.read_bytes()
    lines = data[: data.rfind(b"\n") + 1].splitlines(keepends=True)
    found: list[Outcome] = []
    end = 0
    for number, line in enumerate(lines, 1):
        try:
            entry = json.loads(line)
            outcome = None if number == 1 else _from_json(entry)
        except (ValueError, KeyError, TypeError) as error:
            if number == len(lines):  # the end of a write that a crash cut off
                break
            raise ValueError(
                f"line {number} of {path} is damaged ({error}). Move the file away to start again."
            ) from error
        if outcome is None:
            _check_settings(path, entry, {"format": FORMAT, **settings})
        else:
            found.append(outcome)
        end += len(line)
    return found, end


def _check_settings(path: Path, there: object, wanted: Mapping[str, Any]) -> None:
    if not isinstance(there, dict):
        raise ValueError(f"{path} is not a results file. Name another folder for the results.")
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
    return Outcome(str(entry["name"]), str(entry["fingerprint"]), (width, height), guesses, told, str(entry["problem"]))


def _box(corners: Sequence[int] | None) -> Box | None:
    if corners is None:
        return None
    left, top, right, bottom = map(int, corners)
    return left, top, right, bottom
