"""A run equals a plain loop over the images, whatever the workers, chunks, interruptions, deaths and processes."""

import dataclasses
import functools
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny_evaluation
from no_trace import no_trace
from PIL import Image
from tiny_evaluation import IDS, annotation, picture, tiny_classifier, write_ilsvrc

from deepinside_edu import Classifier, box_iou, localise, open_image
from deepinside_edu import evaluation as ev
from deepinside_edu.evaluation.datasets import open_example
from deepinside_edu.evaluation.localisation_error import LocalisationError
from deepinside_edu.evaluation.ranks import local_device, ranks

run = import_module("deepinside_edu.evaluation.run")
ROOT = Path(__file__).parents[1]
TORCHRUN = [sys.executable, *("-W", "ignore", "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tiny")
    write_ilsvrc(folder, 13)
    return folder


@pytest.fixture(scope="module")
def data(folder: Path) -> ev.Dataset:
    return ev.read_ilsvrc(folder / "images", folder / "boxes")


@pytest.fixture(scope="module")
def expected(data: ev.Dataset) -> LocalisationError:
    return measure(data)


def measure(data: ev.Dataset, classifier: Classifier | None = None, **options: Any) -> LocalisationError:
    return ev.localisation_error(classifier or tiny_classifier(), data, **{"crops": 1, "progress": False} | options)


def found_in(out: Path) -> list[dict[str, Any]]:
    lines = [line for path in sorted(out.glob("*.jsonl")) for line in path.read_text("utf-8").splitlines()]
    return [entry for entry in map(json.loads, lines) if "name" in entry]


def box_of(classifier: Classifier, image: object, class_index: int, **options: Any) -> tuple | None:
    try:
        return localise(classifier, image, class_index, **options).box
    except ValueError:
        return None


# The number itself


@pytest.mark.slow
@pytest.mark.parametrize(("crops", "options"), [(1, {}), (10, {}), (1, {"blur": 8.0, "components": 1})])
def test_a_run_equals_a_plain_loop(data: ev.Dataset, tmp_path: Path, crops: int, options: dict[str, Any]) -> None:
    classifier = tiny_classifier()
    some = ev.Dataset(data.name, data.examples[:6])
    with no_trace(classifier.network):
        error = measure(some, classifier, crops=crops, out=tmp_path, **options)
    hits = {"top_1": 0, "top_5": 0, "told": 0, "named": 0}
    for example, entry in zip(some.examples, found_in(tmp_path), strict=True):
        ranking = [each.class_index for each in classifier.top(example.path)]
        found = [box_of(classifier, example.path, c, crops=crops, **options) for c in ranking]
        true = classifier.find(example.classes[0])
        right = [
            c == true and box is not None and max(box_iou(box, instance) for instance in example.boxes[0]) >= 0.5
            for c, box in zip(ranking, found, strict=True)
        ]
        hits["top_1"] += right[0]
        hits["top_5"] += any(right)
        hits["named"] += ranking[0] == true
        hits["told"] += any(right)  # three classes: the true one is always among the guesses
        assert entry["name"] == example.name
        assert entry["guesses"] == [[c, box and list(box)] for c, box in zip(ranking, found, strict=True)]
        assert entry["told"] == [pair for pair in entry["guesses"] if pair[0] == true]
    assert 0 < hits["top_1"] < hits["top_5"] < 6, "an example that tells the figures apart"
    assert error.top_1 == pytest.approx(1 - hits["top_1"] / 6, abs=1e-15)
    assert error.top_5 == pytest.approx(1 - hits["top_5"] / 6, abs=1e-15)
    assert error.true_class == pytest.approx(1 - hits["told"] / 6, abs=1e-15)
    assert error.class_top_1 == pytest.approx(1 - hits["named"] / 6, abs=1e-15)
    assert error.class_top_5 == 0
    assert error.images == error.counts.true_classes == 6
    assert error.problems == error.notes == ()


def test_the_true_class_is_told_though_it_is_not_guessed(
    data: ev.Dataset, expected: LocalisationError, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run, "GUESSES", 1)
    one = measure(data)
    assert one.counts.top_5 == one.counts.top_1 == expected.counts.top_1
    assert one.counts.true_class_hits == expected.counts.true_class_hits > one.counts.top_1


@pytest.mark.slow
@pytest.mark.parametrize(("workers", "chunk"), [(2, 5), (0, 1), (0, 3)])
def test_workers_and_chunks_change_nothing(
    data: ev.Dataset, expected: LocalisationError, tmp_path: Path, workers: int, chunk: int
) -> None:
    before = dict(os.environ)
    assert measure(data, workers=workers, chunk=chunk, out=tmp_path) == expected
    assert [entry["name"] for entry in found_in(tmp_path)] == [each.name for each in data.examples]
    assert dict(os.environ) == before


@pytest.mark.slow
@pytest.mark.parametrize("batch", [2, 5, 100])
@pytest.mark.parametrize("crops", [1, 10])
def test_the_batch_changes_nothing_and_is_what_the_network_takes(
    data: ev.Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, batch: int, crops: int
) -> None:
    classifier = tiny_classifier()
    taken: list[int] = []
    classifier.network.register_forward_pre_hook(lambda _, given: taken.append(len(given[0])))
    one = measure(data, classifier=classifier, crops=crops, batch=1)
    assert set(taken) == {1, 1 if crops == 1 else 5}
    taken.clear()
    assert measure(data, classifier=classifier, crops=crops, batch=batch, out=tmp_path) == one
    assert max(taken) == min(batch, 13) * (1 if crops == 1 else 5)
    assert [entry["name"] for entry in found_in(tmp_path)] == [each.name for each in data.examples]


# Going on


@pytest.mark.slow
@pytest.mark.parametrize("chunk", [1, 4])
def test_a_run_that_is_stopped_goes_on_where_it_was(
    data: ev.Dataset, expected: LocalisationError, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, chunk: int
) -> None:
    opened: list[str] = []
    for stop in (3, 1, 6, 0, 100):  # stopped with the third, then with the first that is left, ...
        before = len(opened)

        def opening(example: ev.Example, content: object, last: int = before + stop) -> Image.Image:
            if len(opened) == last:
                raise KeyboardInterrupt
            opened.append(example.name)
            return open_example(example, content)

        monkeypatch.setattr(run, "open_example", opening)
        if stop == 100:
            assert measure(data, out=tmp_path, chunk=chunk) == expected
        else:
            with pytest.raises(KeyboardInterrupt):
                measure(data, out=tmp_path, chunk=chunk)
    names = [each.name for each in data.examples]
    assert sorted(set(opened)) == names
    assert len(opened) <= len(names) + 4, "what is in the queue as it stops, one each time, and no more"
    assert [entry["name"] for entry in found_in(tmp_path)] == names
    assert measure(data, out=tmp_path) == expected
    assert len(found_in(tmp_path)) == len(names), "nothing is computed again"


@pytest.mark.slow
@pytest.mark.parametrize("batch", [1, 3, 4, 50])
def test_at_most_one_chunk_is_computed_again_after_a_crash(
    data: ev.Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, batch: int
) -> None:
    """If the power fails, all that is begun and not on the disk is lost: that is never more than a chunk."""
    begun, begin, worst = [0], run._begin, [0]

    def counting(work: Any, cases: Any, pool: Any) -> Any:
        begun[0] += len(cases)
        worst[0] = max(worst[0], begun[0] - len(found_in(tmp_path / "out")))
        return begin(work, cases, pool)

    monkeypatch.setattr(run, "_begin", counting)
    monkeypatch.setattr(run, "ProcessPoolExecutor", lambda workers, *_, **__: ThreadPoolExecutor(workers))  # at once
    measure(data, out=tmp_path / "out", chunk=6, workers=1, batch=batch)
    assert begun == [13]
    assert worst[0] == 6 if batch < 4 else worst[0] <= 6


def test_another_number_of_processes_goes_on_with_the_same_results(
    data: ev.Dataset, expected: LocalisationError, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    measure(data, out=tmp_path)
    lines = (tmp_path / "results-0-of-1.jsonl").read_text("utf-8").splitlines(keepends=True)
    (tmp_path / "results-0-of-1.jsonl").unlink()
    for rank in range(3):  # as three ranks would have left it, if the last one was killed as it wrote
        text = "".join([lines[0], *lines[1 + rank :: 3]])
        (tmp_path / f"results-{rank}-of-3.jsonl").write_text(text[:-10] if rank == 2 else text, encoding="utf-8")
    begun: list[str] = []
    begin = run._begin
    monkeypatch.setattr(
        run,
        "_begin",
        lambda work, cases, pool: begun.extend(each.example.name for each in cases) or begin(work, cases, pool),
    )
    assert measure(data, out=tmp_path) == expected
    assert begun == ["val_0011"]


def test_results_are_not_taken_for_another_network_or_other_options(data: ev.Dataset, tmp_path: Path) -> None:
    measure(ev.Dataset(data.name, data.examples[:1]), out=tmp_path)
    other = tiny_classifier()
    other.network.colours.data[0, 0] += 0.01
    for name, arguments in {
        "network": {"classifier": other},
        "crops": {"crops": 10},
        "smoothness": {"smoothness": 7},
        "hard_seeds": {"hard_seeds": True},
        "classes": {"translation": {"bird": ["red"]}},
    }.items():
        with pytest.raises(ValueError, match=f"results of other settings \\({name} [^;]* now\\)"):
            measure(data, out=tmp_path, **arguments)
    with pytest.raises(ValueError, match="data 'images' there, 'elsewhere' now"):
        measure(dataclasses.replace(data, name="elsewhere"), out=tmp_path)


def test_an_image_whose_file_or_class_has_changed_is_computed_again(tmp_path: Path) -> None:
    images, boxes = write_ilsvrc(tmp_path, 3)
    out = tmp_path / "out"
    measure(ev.read_ilsvrc(images, boxes), out=out)
    picture(40)[0].save(images / "val_0001.png")
    (boxes / "val_0002.xml").write_text(annotation([(IDS["red"], (0, 0, 9, 9)), (IDS["blue"], (0, 0, 9, 9))]))
    data = ev.read_ilsvrc(images, boxes)
    again = measure(data, out=out)
    assert [entry["name"] for entry in found_in(out)] == ["val_0000", "val_0001", "val_0002", "val_0001", "val_0002"]
    assert again == measure(data)
    assert again.counts.true_classes == 4


# What cannot be used


def spoil(kind: str, images: Path, boxes: Path) -> str:
    """Spoil the third of some images; return what the report has to say about it."""
    image, xml = images / "val_0002.png", boxes / "val_0002.xml"
    if kind == "unreadable":
        image.write_bytes(image.read_bytes()[:900])
        return "is not a picture that can be read"
    if kind == "no image":
        image.unlink()
        return "annotation without image"
    if kind == "other size":
        picture(2, (84, 112))[0].save(image)
        return "annotated for 112×84 pixels, the image has 84×112"
    if kind == "no annotation":
        xml.unlink()
        return "image without annotation"
    content = {
        "malformed": "<annotation>",
        "unknown synset": annotation([("n04242424", (1, 1, 9, 9)), (IDS["red"], (1, 1, 9, 9))]),
        "inside out": annotation([(IDS["red"], (9, 9, 5, 20))]),
        "outside": annotation([(IDS["red"], (1, 1, 9, 9)), (IDS["red"], (112, 0, 130, 84))]),
    }
    xml.write_text(content[kind])
    return {
        "malformed": "is not XML that can be read",
        "unknown synset": "class 'n04242424' is neither a WordNet id nor a label",
        "inside out": "is inside out",
        "outside": "box (112, 0, 130, 84) lies outside its 112×84 pixels",
    }[kind]


KINDS = [
    "unreadable",
    "no image",
    "other size",
    "no annotation",
    "malformed",
    "unknown synset",
    "inside out",
    "outside",
]


@pytest.mark.parametrize("kind", KINDS)
def test_an_unusable_image_stops_the_run_or_is_a_miss_by_name(kind: str, tmp_path: Path) -> None:
    images, boxes = write_ilsvrc(tmp_path, 4)
    said = spoil(kind, images, boxes)
    data = ev.read_ilsvrc(images, boxes)
    out = tmp_path / "out"
    with pytest.raises(ValueError, match=r"cannot be used.*val_0002|val_0002 cannot be used") as caught:
        measure(data, out=out)
    assert said in str(caught.value)
    assert "--problems miss" in str(caught.value)
    seen_late = kind in ("unreadable", "other size", "outside")
    assert len(found_in(out)) == (2 if seen_late else 0), "what was finished before it is kept"
    error = measure(data, out=out, problems="miss")
    others = measure(dataclasses.replace(data, examples=tuple(e for e in data.examples if e.name != "val_0002")))
    pairs = 2 if kind == "unknown synset" else 1
    assert error.counts == dataclasses.replace(
        others.counts, images=4, true_classes=others.counts.true_classes + pairs, unusable=1
    )
    assert len(error.problems) == 1
    assert error.problems[0].startswith("val_0002: ")
    assert said in error.problems[0]
    # Once it is repaired, it is looked at again.
    picture(2)[0].save(images / "val_0002.png")
    (boxes / "val_0002.xml").write_text(annotation([(IDS["red"], (60, 50, 70, 60))], (112, 84)))
    mended = measure(ev.read_ilsvrc(images, boxes), out=out)
    assert (mended.images, mended.counts.unusable, mended.problems) == (4, 0, ())


def test_an_image_that_could_not_be_read_for_a_while_is_looked_at_again(
    data: ev.Dataset, expected: LocalisationError, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read_bytes = Path.read_bytes

    def offline(path: Path) -> bytes:
        if path.stem == "val_0007":
            raise PermissionError(13, "Permission denied", str(path))
        return read_bytes(path)

    for _ in range(2):
        with monkeypatch.context() as patch:
            patch.setattr(Path, "read_bytes", offline)
            error = measure(data, out=tmp_path, problems="miss")
        assert error.counts.unusable == 1
        assert "Permission denied" in error.problems[0]
        assert len(found_in(tmp_path)) == 13, "the same problem is kept once"
    # What is there from other processes may be older or newer: the one that fits counts, and nothing is computed again.
    (tmp_path / "results-0-of-1.jsonl").rename(tmp_path / "results-9-of-10.jsonl")
    for _ in range(2):
        assert measure(data, out=tmp_path) == expected
        assert [entry["name"] for entry in found_in(tmp_path)].count("val_0007") == 2
        assert len(found_in(tmp_path)) == 14


def test_an_image_that_is_another_of_the_same_size_is_computed_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images, boxes = write_ilsvrc(tmp_path, 2)
    for path in images.iterdir():
        Image.open(path).save(path.with_suffix(".bmp"))
        path.unlink()
    data = ev.read_ilsvrc(images, boxes)
    measure(data, out=tmp_path / "out")
    before = (images / "val_0001.bmp").stat().st_size
    begin, begun = run._begin, []
    monkeypatch.setattr(run, "_begin", lambda work, cases, pool: begun.append(cases) or begin(work, cases, pool))
    for _ in ("turned", "and back again, to what is known"):
        Image.open(images / "val_0001.bmp").transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(images / "val_0001.bmp")
        assert (images / "val_0001.bmp").stat().st_size == before
        error = measure(data, out=tmp_path / "out")
        assert len(begun) == 1
        assert [entry["name"] for entry in found_in(tmp_path / "out")] == ["val_0000", "val_0001", "val_0001"]
        with monkeypatch.context() as patch:
            patch.setattr(run, "_begin", begin)
            assert error == measure(data)


def test_an_annotation_that_has_changed_counts_as_it_is_now(tmp_path: Path) -> None:
    """The image and what was found in it are the same, but the true class or the box is another."""
    images, boxes = write_ilsvrc(tmp_path, 1)
    xml, out = boxes / "val_0000.xml", tmp_path / "out"
    before = measure(ev.read_ilsvrc(images, boxes), out=out)
    good = xml.read_text()
    changes = {
        "another class": annotation([(IDS["green"], (0, 0, 9, 9))]),
        "malformed": "<annotation>",
        "an unknown class too": good.replace("</annotation>", annotation([("n04242424", (0, 0, 9, 9))])[12:]),
        "another size": good.replace("<width>112", "<width>111"),
        "a box outside": annotation([(IDS["red"], (112, 0, 130, 84))]),
    }
    for kind, content in changes.items():
        xml.write_text(content)
        data = ev.read_ilsvrc(images, boxes)
        assert measure(data, out=out, problems="miss") == measure(data, problems="miss"), kind
        xml.write_text(good)
        assert measure(ev.read_ilsvrc(images, boxes), out=out) == before, kind


def test_a_photo_that_a_camera_has_turned_is_judged_in_the_pixels_as_stored(tmp_path: Path) -> None:
    images, boxes = write_ilsvrc(tmp_path, 2)
    plain = measure(ev.read_ilsvrc(images, boxes))
    for orientation in (3, 6):
        for path in images.iterdir():
            exif = Image.Exif()
            exif[0x0112] = orientation
            Image.fromarray(np.asarray(open_image(path, upright=False))).save(path, exif=exif)
        assert measure(ev.read_ilsvrc(images, boxes)) == plain


def test_a_box_that_reaches_outside_counts_as_it_stands_and_is_noted(tmp_path: Path) -> None:
    images, boxes = write_ilsvrc(tmp_path, 2)
    (boxes / "val_0001.xml").write_text(annotation([(IDS["red"], (-1, 0, 113, 84))]))
    for _ in range(2):  # the second run computes nothing
        error = measure(ev.read_ilsvrc(images, boxes), out=tmp_path / "out")
        assert error.notes == ("val_0001: box (-1, 0, 113, 84) reaches outside its 112×84 pixels",)
        assert error.counts.unusable == 0


def test_many_problems_are_counted_and_the_first_are_named(tmp_path: Path) -> None:
    images, boxes = write_ilsvrc(tmp_path, 30)
    for n in range(1, 30):
        (images / f"val_{n:04}.png").unlink()
    with pytest.raises(ValueError, match=r"29 of 30 images cannot be used: val_0001 .*val_0020 \([^)]*\); …"):
        measure(ev.read_ilsvrc(images, boxes))


def test_classes_that_the_network_lacks_are_left_out_on_request_and_counted(data: ev.Dataset) -> None:
    renamed = ev.Dataset("voc", tuple(
        dataclasses.replace(each, classes=("thing",) if n < 9 else ("person",)) for n, each in enumerate(data.examples)
    ), left_out=("asked",))  # fmt: skip
    with pytest.raises(ValueError, match=r"13 of 13 images cannot be used: val_0000 \(class 'thing' is neither"):
        measure(renamed)
    error = measure(renamed, translation={"thing": ["red", IDS["green"], "Blue"], "person": []})
    assert (error.images, error.left_out) == (9, 5)
    assert error.class_top_1 == 0, "every class of the network means it"
    with pytest.raises(ValueError, match="class 'pink' is neither"):
        measure(renamed, translation={"thing": ["pink"], "person": []})
    with pytest.raises(ValueError, match="no image to compute an error of"):
        measure(renamed, translation={"thing": [], "person": []})


def test_a_class_without_an_object_is_a_guess_without_a_box(tmp_path: Path) -> None:
    images, boxes = write_ilsvrc(tmp_path, 1)
    Image.new("RGB", (112, 84), (90, 120, 60)).save(images / "val_0000.png")
    error = measure(ev.read_ilsvrc(images, boxes), smoothness=1000, out=tmp_path / "out")
    assert error.counts.without_box == len([box for _, box in found_in(tmp_path / "out")[0]["guesses"] if box is None])
    assert (error.counts.without_box, error.counts.unusable, error.top_5) == (3, 0, 1)


# Side by side


@pytest.mark.slow
def test_the_network_goes_on_while_a_worker_cuts(
    data: ev.Dataset, expected: LocalisationError, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first cut does not end before the network has begun the third image, nor before another cut has begun."""
    begun, begin = [0], run._begin

    def beginning(*given: Any) -> Any:
        begun[0] += 1
        (tmp_path / f"network {begun[0]}").touch()
        return begin(*given)

    monkeypatch.setenv("MARKS", str(tmp_path))
    monkeypatch.setattr(run, "_begin", beginning)
    monkeypatch.setattr(run, "cut", tiny_evaluation.wait_for_the_others)
    assert measure(data, workers=2) == expected


@pytest.mark.slow
def test_the_bar_counts_every_image_with_rate_and_time_left(
    data: ev.Dataset, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    measure(ev.Dataset(data.name, data.examples[:4]), out=tmp_path)
    capsys.readouterr()
    for workers, first in ((0, 4), (1, 13)):
        measure(data, out=tmp_path, workers=workers, progress=True)
        said = capsys.readouterr().err.replace("\r", "\n").splitlines()
        bars = [line for line in said if line.startswith("evaluate:")]
        assert f" {first}/13 [" in bars[0], "what is there already counts"
        assert " 13/13 [" in bars[-1]
        assert re.search(r"\[\d\d:\d\d<.*image", bars[-1])
    assert measure(data, progress=False) is not None
    assert capsys.readouterr().err == ""


def test_many_workers_have_more_in_hand_and_the_disk_is_not_asked_for_each_image(
    data: ev.Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    works: list[Any] = []
    monkeypatch.setattr(run, "_run", lambda work, *_: works.append(work) or {})
    for options in ({}, {"workers": 1}, {"workers": 15, "batch": 8}, {"workers": 15, "chunk": 20, "batch": 64}):
        with pytest.raises(KeyError):  # nothing was measured
            measure(data, **options)
    assert [(each.chunk, each.batch) for each in works] == [(32, 1), (32, 1), (76, 8), (20, 20)]


# Bad arguments


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"crops": 5}, "1 or 10 crops, got 5"),
        ({"problems": "ignore"}, 'problems="stop" or "miss"'),
        ({"workers": -1}, "expected workers of 0 or more, a whole number, got -1"),
        ({"chunk": -1}, "expected chunk of 0 or more, a whole number, got -1"),
        ({"batch": -1}, "expected batch of 0 or more, a whole number, got -1"),
        ({"sharpness": 3}, "there is no option sharpness; expected some of foreground, background"),
        ({"foreground": 1.5}, "1.5"),
        ({"background": 0.99}, "0.99"),
        ({"blur": -1}, "-1"),
        ({"components": 0}, "0"),
        ({"smoothness": -1}, "-1"),
    ],
)
def test_bad_options_stop_the_run_and_are_no_misses(data: ev.Dataset, options: dict[str, Any], said: str) -> None:
    with pytest.raises((ValueError, TypeError), match=said):
        measure(data, **options)


def test_an_error_of_the_network_names_the_image(data: ev.Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise ValueError("scores are not finite")

    monkeypatch.setattr(run, "saliency_maps_of_batch", broken)
    with pytest.raises(ValueError, match="val_0000: scores are not finite"):
        measure(data, problems="miss")
    with pytest.raises(ValueError, match="val_0000, val_0001, val_0002: scores are not finite"):
        measure(data, problems="miss", batch=3)


def test_an_error_of_a_cut_names_the_image_and_costs_nothing_that_was_finished(
    data: ev.Dataset, expected: LocalisationError, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls, segment = [0], run.segment

    @functools.wraps(segment)
    def breaking(*given: Any, **options: Any) -> Any:
        calls[0] += 1
        if calls[0] > 3 * 5:
            raise ZeroDivisionError("no such luck")
        return segment(*given, **options)

    with monkeypatch.context() as patch:
        patch.setattr(run, "segment", breaking)
        with pytest.raises(RuntimeError, match=r"val_0005, '\w+': no such luck\. What was finished is kept"):
            measure(data, out=tmp_path, problems="miss")
    assert len(found_in(tmp_path)) == 5
    assert measure(data, out=tmp_path) == expected


def test_a_gpu_that_is_too_small_says_what_to_do(data: ev.Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    def full(*_: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(run, "saliency_maps_of_batch", full)
    with pytest.raises(OSError, match=r"too small for 2 images at once \(val_0000, val_0001\).*\(--batch\)"):
        measure(data, batch=2)


def test_numbers_of_numpy_are_options_too(data: ev.Dataset, expected: LocalisationError, tmp_path: Path) -> None:
    for options in ({"components": np.int64(5), "hard_seeds": np.bool_(False)}, {}):
        assert measure(data, out=tmp_path, **options) == expected
    assert len(found_in(tmp_path)) == 13


def test_a_network_with_the_same_weights_is_another_if_its_modules_are() -> None:
    import torch
    from torch import nn

    def network(rule: nn.Module) -> Classifier:
        torch.manual_seed(0)
        layers = nn.Sequential(nn.Conv2d(3, 2, 3), rule, nn.AdaptiveAvgPool2d(1), nn.Flatten())
        return Classifier(layers.eval(), ("a", "b"), (), (9, 9), (0.5,) * 3, (0.2,) * 3)

    assert run._network_name(network(nn.ReLU())) == run._network_name(network(nn.ReLU()))
    assert run._network_name(network(nn.ReLU())) != run._network_name(network(nn.Tanh()))
    for changed in ({"mean": (0.4,) * 3}, {"std": (0.3,) * 3}, {"size": (9, 8)}):
        other = dataclasses.replace(network(nn.ReLU()), **changed)
        assert run._network_name(other) != run._network_name(network(nn.ReLU())), changed


# Processes


@pytest.mark.slow
def test_a_worker_that_dies_is_said_and_costs_nothing_that_was_finished(
    data: ev.Dataset, expected: LocalisationError, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    measure(ev.Dataset(data.name, data.examples[:4]), out=tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(run, "cut", tiny_evaluation.die)
        with pytest.raises(OSError, match=r"a worker process ended.*start the same command again, with fewer workers"):
            measure(data, out=tmp_path, workers=1)
    assert len(found_in(tmp_path)) == 4
    assert measure(data, out=tmp_path) == expected


def test_alone_without_torchrun_and_half_an_environment_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    with ranks(torch.device("cpu")) as group:
        assert (group.rank, group.size, group.total([3, 4]), group.gather(["a"])) == (0, 1, (3, 4), ("a",))
    monkeypatch.delenv("LOCAL_RANK", raising=False)
    assert local_device() is None
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.delenv("RANK", raising=False)
    for size in ("2", "two"):
        monkeypatch.setenv("WORLD_SIZE", size)
        with (
            pytest.raises(ValueError, match=rf"WORLD_SIZE is {size} and RANK missing; .* Start it with torchrun"),
            ranks(torch.device("cpu")),
        ):
            pass  # pragma: no cover


def test_a_gpu_for_each_rank_means_nccl_and_a_shared_one_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    backend = import_module("deepinside_edu.evaluation.ranks")._backend
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    for local, expected in (("1", "nccl"), ("2", "nccl"), ("3", "gloo")):
        monkeypatch.setenv("LOCAL_WORLD_SIZE", local)
        assert backend(torch.device("cuda")) == expected
        assert backend(torch.device("cpu")) == "gloo"


def children(pid: int) -> list[int]:
    return [int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def eventually(what: Callable[[], Any], seconds: float = 60) -> Any:
    end = time.monotonic() + seconds
    while not (found := what()):
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.05)
    return found


def torchrun(folder: Path, out: str, workers: int, slow: float) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*TORCHRUN, tiny_evaluation.__file__, str(folder), out, str(workers)],
        env=os.environ | {"SLOW": str(slow), "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip


# Two processes run four programs in turn, because starting the processes takes longest.

AGAIN = """
import dataclasses, json, os, sys, time
from datetime import timedelta
from pathlib import Path
import torch
from torch import distributed
from deepinside_edu import evaluation as ev
from deepinside_edu.evaluation import ranks
from tiny_evaluation import tiny_classifier
sys.stdout = Path(os.environ["UNUSABLE"], "said by " + os.environ["RANK"]).open("w")
for k in range(100):
    with ranks.ranks(torch.device("cpu")) as group:
        assert group.total([k, group.rank]) == (2 * k, 1)
        assert ranks._unfinished.is_set()
    assert not ranks._unfinished.is_set()  # the group may be left in peace
print("ended", flush=True)
"""

SLOW = """
distributed.distributed_c10d._set_pg_timeout(timedelta(seconds=1), distributed.group.WORLD)
with ranks.ranks(torch.device("cpu")) as group:
    time.sleep(2 * group.rank)
    total = group.total([1])
    time.sleep(2 * group.rank)
    print("together", total, group.gather([str(group.rank)]), flush=True)
"""

DIFFERENT = """
whole = ev.read_ilsvrc(Path(os.environ["FOLDER"], "images"), Path(os.environ["FOLDER"], "boxes"))
moved = dataclasses.replace(whole.examples[5], boxes=(((0, 0, 3, 3),),))
fewer = dataclasses.replace(whole, examples=whole.examples[:-4])
other = dataclasses.replace(whole, examples=(*whole.examples[:5], moved, *whole.examples[6:]))
for data, option in ((fewer, {}), (other, {}), (whole, {"smoothness": 7})):
    if os.environ["RANK"] == "0":
        data, option = whole, {}
    try:
        ev.localisation_error(tiny_classifier(), data, **{"crops": 1, "progress": False} | option)
    except ValueError as error:
        print(error, flush=True)
        assert not ranks._unfinished.is_set()
"""

UNUSABLE = """
unusable = Path(os.environ["UNUSABLE"])
data = ev.read_ilsvrc(unusable / "images", unusable / "boxes")
error = ev.localisation_error(tiny_classifier(), data, crops=1, progress=False, problems="miss")
(unusable / os.environ["RANK"]).write_text(json.dumps([error.problems, error.notes, error.images]))
"""


@pytest.fixture(scope="module")
def unusable(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two of four images, one in the share of each rank, are not pictures, and two have boxes that reach outside."""
    folder = tmp_path_factory.mktemp("unusable")
    images, boxes = write_ilsvrc(folder, 4)
    for n in (0, 3):
        (images / f"val_{n:04}.png").write_bytes(b"no picture")
    for n in (1, 2):
        (boxes / f"val_{n:04}.xml").write_text(annotation([(IDS["red"], (-1, 0, 113, 84))]))
    return folder


@pytest.fixture(scope="module")
def said_by_two(folder: Path, unusable: Path) -> str:
    """What two processes of torchrun print as they run the four programs; each has its file, so no words mix."""
    (unusable / "program.py").write_text(AGAIN + SLOW + DIFFERENT + UNUSABLE)
    tests = os.pathsep.join([str(ROOT), str(ROOT / "tests")])
    done = subprocess.run(
        [*TORCHRUN, str(unusable / "program.py")], capture_output=True, text=True, timeout=300, check=False,
        env=os.environ | {"PYTHONPATH": tests, "FOLDER": str(folder), "UNUSABLE": str(unusable)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return "".join((unusable / f"said by {rank}").read_text() for rank in "01")


@pytest.mark.slow
def test_one_run_after_another_in_the_same_processes(said_by_two: str) -> None:
    """Torch fails, or waits for ever, in about one of thirty groups that replace an earlier one."""
    assert said_by_two.count("ended") == 2


@pytest.mark.slow
def test_a_rank_that_has_finished_waits_longer_than_for_the_others_to_join(said_by_two: str) -> None:
    """The group's own patience is a second here, and one comes two seconds later."""
    assert said_by_two.count("together (2,) ('0', '1')") == 2


@pytest.mark.slow
@pytest.mark.parametrize(
    "differs",
    ["images 13 on rank 0, 9 on rank 1", "names, classes and boxes", "smoothness 100.0 on rank 0, 7 on rank 1"],
)
def test_ranks_that_were_given_other_images_or_options_stop(said_by_two: str, differs: str) -> None:
    """Each takes every second image of its own list, so with two lists some images would count twice and some never."""
    assert said_by_two.count("the ranks were not given the same: " + differs) == 2, "each of the two says so"


@pytest.mark.slow
def test_every_rank_reports_all_that_could_not_be_used(said_by_two: str, unusable: Path) -> None:
    alone = measure(ev.read_ilsvrc(unusable / "images", unusable / "boxes"), problems="miss")
    assert [each[:8] for each in (*alone.problems, *alone.notes)] == ["val_0000", "val_0003", "val_0001", "val_0002"]
    for rank in "01":
        said = json.loads((unusable / rank).read_text())
        assert said == [list(alone.problems), list(alone.notes), 4]


ALONE = """
from datetime import timedelta
import torch
from deepinside_edu.evaluation import ranks
ranks.JOIN = timedelta(seconds=1)
try:
    with ranks.ranks(torch.device("cpu")):
        print("joined")
except ConnectionError as error:
    print(error)
"""


@pytest.mark.slow
def test_a_rank_does_not_wait_for_days_for_one_that_never_comes() -> None:
    alone = {"RANK": "0", "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "0", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", ALONE], env=os.environ | alone, capture_output=True, text=True,
        timeout=300, check=False,
    )  # fmt: skip
    assert "the 2 ranks did not come together" in done.stdout, done.stderr
    assert "GLOO_SOCKET_IFNAME" in done.stdout


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="looks for processes in Linux's /proc")
def test_two_processes_equal_one_though_one_of_them_was_killed(
    folder: Path, data: ev.Dataset, expected: LocalisationError, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    agent = torchrun(folder, str(out), workers=1, slow=0.5)  # time enough to kill one
    try:
        eventually(lambda: len(found_in(out)) >= 2 and (out / "results-1-of-2.jsonl").exists())
        ranks_of = [
            pid for pid in children(agent.pid) if b"tiny_evaluation" in Path(f"/proc/{pid}/cmdline").read_bytes()
        ]
        workers = [child for pid in ranks_of for child in children(pid)]
        assert len(ranks_of) == 2
        os.kill(ranks_of[1], signal.SIGKILL)
        _, complaint = agent.communicate(timeout=60)
        assert agent.returncode != 0
        assert "Signal 9" in complaint
        eventually(lambda: not any(Path(f"/proc/{pid}").exists() for pid in (*ranks_of, *workers)))
    finally:
        agent.kill()
    before = found_in(out)
    assert len(before) < 13
    agent = torchrun(folder, str(out), workers=0, slow=0)
    said, complaint = agent.communicate(timeout=120)
    assert agent.returncode == 0, complaint
    assert json.loads(said) == json.loads(json.dumps(dataclasses.asdict(expected)))
    entries = found_in(out)
    assert sorted(entry["name"] for entry in entries) == [each.name for each in data.examples], "each image once"
    assert all(entry in entries for entry in before)
    measure(data, out=tmp_path / "alone")
    assert sorted(map(str, entries)) == sorted(map(str, found_in(tmp_path / "alone"))), "bit for bit"
    for rank in range(2):
        lines = (out / f"results-{rank}-of-2.jsonl").read_text("utf-8").splitlines()[1:]
        names = [json.loads(line)["name"] for line in lines]
        assert {int(name[-4:]) % 2 for name in names} == {rank}
