"""Over a data set: the network's part here, the cuts on worker processes beside it, results kept as they come."""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import astuple, dataclass
from multiprocessing.connection import wait
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from tqdm.auto import tqdm  # type: ignore[import-untyped]  # it ships no types

from .. import __version__, accept
from ..boxes import Box, to_photo
from ..classifier import Classifier, Prediction, check_classifier, ranked
from ..colour_models import colour_models
from ..graph_cut import graph_cut
from ..localise import SegmentOptions, segment
from ..saliency import saliency_maps_of_batch
from ..seeds import seeds
from .datasets import AnyPath, Dataset, Example, as_path, class_indices, open_example, told
from .localisation_error import (
    GUESSES,
    Counts,
    Guess,
    LocalisationError,
    TrueClass,
    Verdict,
    accumulate,
    compute,
    judge,
    miss,
)
from .precision import full_precision
from .ranks import Ranks, ranks
from .results import Outcome, ResultsFile, fingerprint, read_folder

if TYPE_CHECKING:
    from typing_extensions import Unpack

BATCH = 8
"""Images at once on an accelerator: with ten crops 40 pictures. A guess: no accelerator could be tried."""

CHUNK = 32
"""Images that a crash may cost, as long as the workers can be kept busy with so few."""

THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


@dataclass(frozen=True)
class Case:
    """One image with its truth in the network's own classes, or with the reason why it cannot be used."""

    example: Example
    truth: tuple[TrueClass, ...]
    true_classes: int
    problem: str


@accept.options_of(segment)
def localisation_error(
    classifier: Classifier,
    dataset: Dataset,
    *,
    translation: Mapping[str, Collection[str]] | None = None,
    crops: int = 10,
    problems: str = "stop",
    out: AnyPath | None = None,
    workers: int = 0,
    chunk: int = 0,
    batch: int = 0,
    progress: bool = True,
    **options: Unpack[SegmentOptions],
) -> LocalisationError:
    """Measure ILSVRC's localisation error: the share of images none of whose five (class, box) guesses is right.

    A guess is right if its class is true and IoU ≥ 0.5 with any instance of that class. Beside it stand the error
    of the first guess alone, the error if the true class is told, and the class error without boxes.

    Under torchrun each process takes every world-size-th image, and the whole numbers are summed once; each gets the
    same result. The results do not depend on the number of workers, nor, as long as `batch` is 1, on that of processes.
    Processes that were given other images or options than their fellows stop all of them.

    Args:
        classifier: the network; nothing of it is changed.
        dataset: as `read_ilsvrc`, `read_voc`, `read_csv` or `shipped_photos` gives it.
        translation: for classes of the data set that are no WordNet id and no label of the network: which of the
            network's classes mean them. Classes with none do not count; an image that has no others is left out.
        crops: 1 or 10 maps to average.
        problems: what an image gets that cannot be used (unreadable, without annotation, of an unknown class, ...).
            "stop": an error, before anything is computed where it can be seen so early. "miss": it counts as wrong in
            every figure and is listed by name. It never leaves the denominator.
        out: a folder; results are kept in it, and a run that was stopped goes on where it was.
        workers: processes for the cuts beside this one, which does the network's part; 0: all of it in this one.
        chunk: at most so many images are computed again after a crash. So many are in hand at most, which keeps workers
            waiting if it is less than two for each. 0: `CHUNK`, or with many workers twice what they have in hand.
        batch: images that the network takes at once, times five with ten crops; no more than a chunk. 0: one on a CPU,
            where more are no faster, `BATCH` on an accelerator. The maps depend on it by rounding alone.
        progress: a bar with rate and time left, on the first rank.
        options: of `localise`: foreground, background, blur, components, smoothness, hard_seeds, random_state.

    Returns:
        A `LocalisationError`.

    Raises:
        ValueError: images that cannot be used, an option out of its range, or a folder with results of other settings.
        TypeError: an unknown option.
        OSError: a disk that is full, workers that died, another rank that ended, or another run that writes to the same
            folder. What was finished is kept.
        RuntimeError: a step that failed for another reason than the image's, with the image's name.

    Source: paper, Section 3.2; ILSVRC development kit.
    """
    check_classifier(classifier)
    known = accept.options(options, segment)
    crops, progress = accept.crops(crops), accept.flag("progress", progress)
    if problems not in ("stop", "miss"):
        raise ValueError(f'expected problems="stop" or "miss", got {problems!r}.')
    workers, chunk, batch = (
        accept.whole(name, value, 0) for name, value in (("workers", workers), ("chunk", chunk), ("batch", batch))
    )
    chosen = {k: v.item() if isinstance(v, np.generic) else v for k, v in known.items()}
    check_options(chosen)
    cases = _cases(classifier, dataset, translation or {})
    left_out = len(dataset.left_out) + len(dataset.examples) - len(cases)
    if not cases:
        raise ValueError(f"{dataset!r} has no image to compute an error of ({left_out} left out).")
    bad = [f"{case.example.name} ({case.problem})" for case in cases if case.problem]
    if bad and problems == "stop":
        some = "; ".join(bad[:20]) + ("; …" if len(bad) > 20 else "")
        raise ValueError(
            f"{len(bad)} of {len(cases)} images cannot be used: {some}. Mend them, or let them count as misses: "
            'problems="miss" (--problems miss).'
        )
    settings = {
        "version": __version__, "network": _network_name(classifier), "data": dataset.name, "crops": crops,
        "classes": {name: sorted(meant) for name, meant in sorted((translation or {}).items())},
    } | chosen  # fmt: skip
    at_once = batch or (1 if classifier.device.type == "cpu" else BATCH)
    chunk = chunk or max(CHUNK, 2 * (2 * workers + at_once))
    work = Work(classifier, crops, chosen, workers, chunk, min(at_once, chunk), problems, progress)
    with ranks(classifier.device) as group:
        group.agree(settings | {"images": len(cases), "names, classes and boxes": _digest(map(_truth_in_words, cases))})
        share = cases[group.rank :: group.size]
        outcomes = _run(work, share, group, None if out is None else as_path(out), settings)
        counts, problem_lines, notes = Counts(), [], []
        for case in share:
            outcome = outcomes[case.example.name]
            counts = accumulate(counts, _verdict(case, outcome))
            if outcome.problem:
                problem_lines.append(f"{outcome.name}: {outcome.problem}")
            elif note := _look(outcome.size, case)[1]:
                notes.append(f"{outcome.name}: {note}")
        return compute(
            Counts(*group.total(astuple(counts))),
            sorted(group.gather(problem_lines)),
            sorted(group.gather(notes)),
            left_out,
        )


def check_options(options: Mapping[str, Any]) -> None:
    """Try the options behind the map once: out of their range they would fail in each image, and each would count."""
    saliency = np.arange(224 * 224, dtype=np.float32).reshape(224, 224)
    y, x = np.mgrid[:224, :224].astype(np.uint8)
    picture = Image.fromarray(np.stack([x, y, x ^ y], axis=-1))
    hard_seeds = accept.flag("hard_seeds", options["hard_seeds"])
    chosen = seeds(saliency, options["foreground"], options["background"], options["blur"])
    costs = colour_models(picture, chosen, options["components"], options["random_state"]).costs(picture)
    graph_cut(picture, costs, options["smoothness"], chosen if hard_seeds else None)


def _cases(classifier: Classifier, dataset: Dataset, translation: Mapping[str, Collection[str]]) -> list[Case]:
    """The truth in the network's classes, without the images whose every class, as the translation says, it lacks."""
    names = {name for example in dataset.examples for name in example.classes}
    found: dict[str, tuple[int, ...] | str] = {}
    for targets in translation.values():  # whoever wrote it mends it: no image is to blame
        for each in targets:
            class_indices(classifier.labels, classifier.wordnet_ids, {}, each)
    for name in names:
        try:
            found[name] = class_indices(classifier.labels, classifier.wordnet_ids, translation, name)
        except ValueError as error:
            found[name] = str(error)
    cases = []
    for example in dataset.examples:
        meant = [found[name] for name in example.classes]
        unknown = [each for each in meant if isinstance(each, str)]
        truth = tuple(
            TrueClass(indices, boxes)
            for indices, boxes in zip(meant, example.boxes, strict=True)
            if indices and not isinstance(indices, str)
        )
        problem = example.problem or "; ".join(unknown)
        if truth or problem:
            cases.append(Case(example, truth, len(truth) + len(unknown), problem))
    return cases


@dataclass(frozen=True)
class Work:
    """How the images are worked on; see `localisation_error`."""

    classifier: Classifier
    crops: int
    options: Mapping[str, Any]
    workers: int
    chunk: int
    batch: int
    problems: str
    progress: bool


def _run(
    work: Work, share: Sequence[Case], group: Ranks, out: Path | None, settings: Mapping[str, Any]
) -> dict[str, Outcome]:
    """An outcome for each image of this rank's share: those that are on the disk, then the others."""
    before = read_folder(out, settings) if out else {}
    group.meet()  # nobody writes while somebody still reads
    silent = not work.progress or group.rank > 0
    look = tqdm(share if before else (), "look at what is there", unit="image", leave=False, disable=silent)
    outcomes = {case.example.name: kept for case in look if (kept := _still_good(before, case))}
    file = ResultsFile(out / f"results-{group.rank}-of-{group.size}.jsonl", settings) if out else None
    fresh: list[Outcome] = []

    def keep() -> None:
        kept = fresh.copy()
        fresh.clear()
        outcomes.update((each.name, each) for each in kept)
        if file:
            file.append([each for each in kept if each not in before.get(each.name, ())])

    todo = deque(case for case in share if case.example.name not in outcomes)
    waiting: deque[Future[Outcome]] = deque()
    # Two a worker and a batch keep all of them busy; more would fill the memory and be lost in a crash.
    room = min(2 * work.workers + work.batch, work.chunk)
    bar = tqdm(
        total=len(share), initial=len(outcomes), unit="image", smoothing=0.02,
        desc="evaluate" if group.size == 1 else f"rank 0 of {group.size}", disable=silent,
    )  # fmt: skip
    try:
        with bar, _cutters(work.workers) as pool:
            while todo or waiting:
                if todo and len(waiting) + work.batch <= room:
                    some = [todo.popleft() for _ in range(min(work.batch, len(todo)))]
                    waiting += _begin(work, some, pool)
                    continue
                outcome = waiting.popleft().result()
                if outcome.problem and work.problems == "stop":
                    raise ValueError(
                        f"{outcome.name} cannot be used: {outcome.problem.rstrip('.')}. What was finished is kept: "
                        "mend it and start again, or let such images count as misses: "
                        'problems="miss" (--problems miss).'
                    )
                fresh.append(outcome)
                bar.update()
                if len(fresh) + room > work.chunk:
                    keep()
    except BrokenProcessPool as error:
        raise OSError(
            "a worker process ended, perhaps for want of memory. What was finished is kept: start the same command "
            "again, with fewer workers, and it goes on. (A script of your own that asks for workers has to stand under "
            "`if __name__ == '__main__':`.)"
        ) from error
    finally:
        try:
            keep()
        finally:
            if file:
                file.close()
    return outcomes


def _still_good(before: Mapping[str, Sequence[Outcome]], case: Case) -> Outcome | None:
    """An outcome of an earlier run, unless the image's file or its classes are others now, or it was unusable then.

    An unusable image has no class that was told: it is looked at again.
    """
    earlier = before.get(case.example.name, ())
    if not earlier or case.problem:
        return None
    now = fingerprint(_content(case.example))
    for kept in earlier:
        fits = [guess.class_index in true.class_indices for guess, true in zip(kept.told, case.truth, strict=False)]
        same = kept.fingerprint == now and all(fits) and len(kept.told) == len(case.truth)
        if same and not _look(kept.size, case)[0]:
            return kept
    return None


def _content(example: Example) -> bytes:
    """The bytes of an image's file, none if it cannot be read now: then there is nothing to recognise it by."""
    try:
        return example.path.read_bytes() if example.path else b""
    except OSError:
        return b""


def _begin(work: Work, cases: Sequence[Case], pool: Executor) -> list[Future[Outcome]]:
    """The network's part of some images; the cuts are handed on."""
    opened = [_open(case) for case in cases]
    usable = [(case, photo) for case, photo in zip(cases, opened, strict=True) if isinstance(photo, Opened)]
    names = ", ".join(case.example.name for case, _ in usable)
    try:
        tasks = iter(_tasks(work, usable) if usable else ())
    except ValueError as error:
        raise ValueError(f"{names}: {error}") from error
    except torch.OutOfMemoryError as error:
        raise OSError(
            f"the GPU's memory is too small for {len(usable)} images at once ({names}). What was finished is kept: "
            "start again with a smaller batch (--batch), which changes maps by rounding alone, and it goes on."
        ) from error
    futures = []
    for photo in opened:
        if isinstance(photo, Outcome):
            useless: Future[Outcome] = Future()
            useless.set_result(photo)
            futures.append(useless)
        else:
            futures.append(pool.submit(cut, next(tasks), work.options))
    return futures


@full_precision()
def _tasks(work: Work, usable: Sequence[tuple[Case, Opened]]) -> list[Task]:
    """Scores and maps of some images at once."""
    classifier = work.classifier
    x = torch.cat([classifier.prepare(each.photo) for _, each in usable])
    with torch.no_grad():
        rankings = [ranked(row, classifier.labels, len(classifier.labels)) for row in classifier.scores(x)]
    told, wanted = [], []
    for (case, _), ranking in zip(usable, rankings, strict=True):
        # Of several classes that mean the true one, the network's favourite is told.
        told.append([next(each for each in ranking if each.class_index in true.class_indices) for true in case.truth])
        wanted.append(tuple(dict.fromkeys([*ranking[:GUESSES], *told[-1]])))
    maps = saliency_maps_of_batch(classifier, x, [[each.class_index for each in row] for row in wanted], work.crops)
    tasks = []
    for n, (case, each) in enumerate(usable):
        height, width = maps[n][0].shape
        picture = each.photo.resize((width, height), Image.Resampling.BICUBIC)
        name, size = case.example.name, each.photo.size
        tasks.append(Task(name, each.fingerprint, size, picture, wanted[n], maps[n], rankings[n][:GUESSES], told[n]))
    return tasks


class Opened(NamedTuple):
    """A photo, and what its file is recognised by."""

    photo: Image.Image
    fingerprint: str


def _open(case: Case) -> Opened | Outcome:
    """The photo, or the outcome of an image that cannot be used."""
    example, seen = case.example, ""
    if case.problem or example.path is None:
        return Outcome(example.name, problem=case.problem)
    try:
        content = example.path.read_bytes()  # read once: what is recognised later is what was seen
        seen = fingerprint(content)
        photo = open_example(example, {"name": str(example.path), "content": content})
    except (ValueError, OSError) as error:
        return Outcome(example.name, seen, problem=told(error))
    problem, _ = _look(photo.size, case)
    return Outcome(example.name, seen, photo.size, problem=problem) if problem else Opened(photo, seen)


def _look(size: tuple[int, int], case: Case) -> tuple[str, str]:
    """What is wrong with the boxes of an image of this width and height, and what is odd about them."""
    width, height = size
    annotated = case.example.size
    if annotated and annotated != size:
        return f"annotated for {annotated[0]}×{annotated[1]} pixels, the image has {width}×{height}", ""
    odd = []
    for box in (box for boxes in case.example.boxes for box in boxes):
        left, top, right, bottom = box
        if left >= width or top >= height or right <= 0 or bottom <= 0:
            return f"box {box} lies outside its {width}×{height} pixels", ""
        if left < 0 or top < 0 or right > width or bottom > height:
            odd.append(f"box {box} reaches outside its {width}×{height} pixels")
    return "", "; ".join(odd)


@dataclass(frozen=True)
class Task:
    """What a worker needs for the cuts of one image: the picture as small as its maps, whatever the photo's size."""

    name: str
    fingerprint: str
    size: tuple[int, int]
    picture: Image.Image
    predictions: Sequence[Prediction]
    maps: Sequence[NDArray[np.float32]]
    guessed: Sequence[Prediction]
    told: Sequence[Prediction]


def cut(task: Task, options: Mapping[str, Any]) -> Outcome:
    """Cut out each class of one image; on a worker process or in this one.

    Args:
        task: the network's part.
        options: of `segment`.

    Returns:
        The `Outcome`; a class without an object has no box.
    """
    found: dict[Prediction, Guess] = {}
    for prediction, saliency in zip(task.predictions, task.maps, strict=True):
        box: Box | None
        try:
            small = segment(task.picture, prediction, saliency, **options).box
            box = to_photo(small, task.size, (task.picture.height, task.picture.width))
        except ValueError:  # a map of zeros, a cut that leaves nothing: the method has no answer, which is a miss
            box = None
        except Exception as error:
            raise RuntimeError(f"{task.name}, {prediction.label!r}: {error}. What was finished is kept.") from error
        found[prediction] = Guess(prediction.class_index, box)
    guesses, told = (tuple(found[each] for each in group) for group in (task.guessed, task.told))
    return Outcome(task.name, task.fingerprint, task.size, guesses, told)


def _verdict(case: Case, outcome: Outcome) -> Verdict:
    if outcome.problem:
        return miss(case.true_classes)
    return judge(outcome.guesses, case.truth, [guess.box for guess in outcome.told])


class _InThisProcess(Executor):
    """Runs what it is given at once."""

    def submit(self, fn: Any, /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()
        future.set_result(fn(*args, **kwargs))
        return future


@contextmanager
def _cutters(workers: int) -> Iterator[Executor]:
    """Processes that are started afresh, since a fork would inherit the network's threads; one thread each."""
    if workers == 0:
        yield _InThisProcess()
        return
    before = {name: os.environ.get(name) for name in THREADS}
    os.environ |= dict.fromkeys(THREADS, "1")  # read when the workers import NumPy; in this process that was long ago
    pool = ProcessPoolExecutor(workers, multiprocessing.get_context("spawn"), initializer=_leave_with_parent)
    try:
        yield pool
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _leave_with_parent() -> None:
    """End this worker when the process that started it ends, even if that one was killed; leave Ctrl-C to it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    if parent is not None:
        sentinel = parent.sentinel

        def watch() -> None:
            wait([sentinel])
            os._exit(1)

        threading.Thread(target=watch, daemon=True).start()


def _digest(lines: Iterable[str]) -> str:
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]


def _truth_in_words(case: Case) -> str:
    example = case.example
    return repr((example.name, example.classes, example.size, case.truth, bool(case.problem)))


def _network_name(classifier: Classifier) -> str:
    """The network's kind, and a digest of its modules, its weights and how images are prepared for it.

    What a network's own `forward` does is in none of these.
    """
    digest = hashlib.sha256(json.dumps([classifier.size, classifier.mean, classifier.std]).encode())
    digest.update(repr(classifier.network).encode())
    for name, tensor in classifier.network.state_dict().items():
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return f"{type(classifier.network).__name__} {digest.hexdigest()[:16]}"
