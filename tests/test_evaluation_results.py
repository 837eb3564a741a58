"""Results survive what can happen to a file: a write cut off at any byte, other settings, damage, a full disk."""

import json
import os
import resource
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deepinside_edu.evaluation.localisation_error import Guess
from deepinside_edu.evaluation.results import Outcome, ResultsFile, fingerprint, read_folder

SETTINGS = {"network": "tiny", "crops": 10, "blur": 1.5, "hard_seeds": False, "classes": {"bird": ["n1"]}}
BOXES = st.none() | st.tuples(*[st.integers(-5, 9999)] * 4)
GUESSES = st.lists(st.builds(Guess, st.integers(0, 999), BOXES), max_size=5).map(tuple)
OUTCOMES = st.builds(
    Outcome, st.text(max_size=9), st.text(max_size=9), st.tuples(st.integers(0, 9999), st.integers(0, 9999)), GUESSES,
    GUESSES, st.text(max_size=9),
)  # fmt: skip


def some(first: int, count: int) -> list[Outcome]:
    guesses = (Guess(3, (1, 2, 30, 40)), Guess(5, None))
    return [
        Outcome(f"é\u2028{n}", f"{n} 0a", (50, 60), guesses, guesses[1:], "no\nbox" * (n % 2))
        for n in range(first, first + count)
    ]


def write(path: Path, *chunks: list[Outcome]) -> dict[str, Outcome]:
    file = ResultsFile(path, SETTINGS)
    for chunk in chunks:
        file.append(chunk)
    file.close()
    return file.kept


@pytest.mark.slow
@given(st.lists(OUTCOMES, max_size=6))
@settings(max_examples=25)
def test_what_is_written_is_read_again(tmp_path_factory: pytest.TempPathFactory, outcomes: list[Outcome]) -> None:
    path = tmp_path_factory.mktemp("results") / "deep" / "results-0-of-1.jsonl"
    assert write(path, outcomes) == {}
    assert write(path) == {each.name: each for each in outcomes}, "of two of one name the later"
    names = {each.name for each in outcomes}
    assert read_folder(path.parent, SETTINGS) == {
        name: tuple(each for each in outcomes if each.name == name) for name in names
    }
    assert path.read_text("utf-8").count("\n") == len(outcomes) + 1


@pytest.mark.slow
def test_a_write_cut_off_at_any_byte_costs_that_write_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)  # hundreds of them take seconds
    path = tmp_path / "results-0-of-1.jsonl"
    write(path, some(0, 2))
    whole = path.stat().st_size
    write(path, some(2, 2))
    data = path.read_bytes()
    names = [each.name for each in some(0, 4)]
    for end in range(len(data) + 1):
        for tail in (b"", b"\0" * 7, b"\0" * 7 + b"\n") if end % 20 == 0 else (b"",):
            path.write_bytes(data[:end] + tail)
            complete = max(0, data[:end].count(b"\n") - 1)
            alive = read_folder(tmp_path, SETTINGS)  # of another process: only looked at
            assert path.read_bytes() == data[:end] + tail
            kept = write(path)
            assert list(kept) == list(alive) == names[:complete]
            if end >= whole:
                assert names[:2] == list(kept)[:2]
            write(path, some(len(kept), 4 - len(kept)))
            assert path.read_bytes() == data, "what a torn line leaves is cut off before the next one"


def test_damage_in_the_middle_is_no_torn_line(tmp_path: Path) -> None:
    path = tmp_path / "results-0-of-1.jsonl"
    write(path, some(0, 3))
    lines = path.read_bytes().splitlines(keepends=True)
    for damage in (b"\0\0\n", b"{}\n", b'{"name": 3\n', lines[2].replace(b"[1, 2", b'["a", 2')):
        path.write_bytes(b"".join([*lines[:2], damage, lines[3]]))
        for read in (lambda: write(path), lambda: read_folder(tmp_path, SETTINGS)):
            with pytest.raises(ValueError, match=r"line 3 of .*results-0-of-1.jsonl is damaged"):
                read()
        assert path.read_bytes() == b"".join([*lines[:2], damage, lines[3]]), "nothing was cut off"


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("crops", 1, "crops 10 there, 1 now"),
        ("network", "large", "network 'tiny' there, 'large' now"),
        ("blur", 1.25, "blur 1.5 there, 1.25 now"),
        ("classes", {}, "there, {} now"),
        ("more", 1, "more None there, 1 now"),
        ("blur", None, "blur 1.5 there, None now"),
    ],
)
def test_results_of_other_settings_are_refused_by_name(tmp_path: Path, name: str, value: object, said: str) -> None:
    path = tmp_path / "results-0-of-1.jsonl"
    write(path, some(0, 1))
    before = path.read_bytes()
    other = {key: each for key, each in {**SETTINGS, name: value}.items() if each is not None}
    for read in (lambda: ResultsFile(path, other), lambda: read_folder(tmp_path, other)):
        with pytest.raises(ValueError, match="other settings") as caught:
            read()
        assert said in str(caught.value)
        assert "Name another folder" in str(caught.value)
    assert path.read_bytes() == before


def test_a_file_of_something_else_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "results-mine.jsonl"
    path.write_text("[1, 2]\n[3, 4]\n")
    with pytest.raises(ValueError, match="is not a results file"):
        read_folder(tmp_path, SETTINGS)


def test_results_of_several_processes_come_together(tmp_path: Path) -> None:
    for rank in range(3):
        write(tmp_path / f"results-{rank}-of-3.jsonl", some(2 * rank, 2))
    (tmp_path / "cannot_be_used.txt").write_text("nothing to do with it")
    (tmp_path / "results-3-of-4.jsonl").touch()  # another process is about to write the first line
    assert read_folder(tmp_path, SETTINGS) == {each.name: (each,) for each in some(0, 6)}
    assert read_folder(tmp_path / "nowhere", SETTINGS) == {}


def test_a_chunk_is_on_the_disk_before_append_returns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "results-0-of-1.jsonl"
    synced: list[list[str]] = []
    fsync = os.fsync

    def note(descriptor: int) -> None:
        fsync(descriptor)
        assert os.fstat(descriptor).st_ino == path.stat().st_ino
        synced.append([json.loads(line).get("name") for line in path.read_text("utf-8").split("\n")[:-1]])

    monkeypatch.setattr(os, "fsync", note)
    write(path, some(0, 2), [], some(2, 1))
    names = [each.name for each in some(0, 3)]
    assert synced == [[None], [None, *names[:2]], [None, *names]]


def test_a_full_disk_is_said_and_costs_nothing_that_was_there(tmp_path: Path) -> None:
    path = tmp_path / "results-0-of-1.jsonl"
    file = ResultsFile(path, SETTINGS)
    file.append(some(0, 2))
    before = path.read_bytes()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) + 50, limits[1]))  # within the next line
    try:
        with pytest.raises(OSError, match=r"cannot be written \(.+\). What was in it is still there: make room"):
            file.append(some(2, 2))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert path.read_bytes() == before
    file.append(some(2, 2))  # there is room again
    file.close()
    assert list(write(path)) == [each.name for each in some(0, 4)]


def test_two_runs_do_not_write_into_one_file(tmp_path: Path) -> None:
    path = tmp_path / "results-0-of-1.jsonl"
    first = ResultsFile(path, SETTINGS)
    first.append(some(0, 2))
    with pytest.raises(OSError, match=r"another run is writing to .*results-0-of-1.jsonl. .* another folder"):
        ResultsFile(path, SETTINGS)
    assert list(read_folder(tmp_path, SETTINGS)) == [each.name for each in some(0, 2)], "reading is no writing"
    first.append(some(2, 1))
    first.close()
    assert list(write(path)) == [each.name for each in some(0, 3)]


def test_a_file_that_is_refused_is_let_go_of(tmp_path: Path) -> None:
    path = tmp_path / "results-0-of-1.jsonl"
    write(path, some(0, 1))
    with pytest.raises(ValueError, match="other settings"):
        ResultsFile(path, {**SETTINGS, "crops": 1})
    assert list(write(path)) == [each.name for each in some(0, 1)]


def test_a_folder_that_cannot_be_is_said(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("a file")
    with pytest.raises(OSError, match=r"no results can be kept in .*out \(.*\). Name another folder"):
        ResultsFile(tmp_path / "out" / "results-0-of-1.jsonl", SETTINGS)
    assert (tmp_path / "out").read_text() == "a file"


@given(st.binary(max_size=40), st.integers(0, 39), st.integers(1, 255))
def test_a_fingerprint_tells_files_of_one_size_apart(content: bytes, place: int, change: int) -> None:
    assert fingerprint(content) == fingerprint(bytes(content))
    if place < len(content):
        other = bytearray(content)
        other[place] ^= change
        assert fingerprint(bytes(other)) != fingerprint(content)
