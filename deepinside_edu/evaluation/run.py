"""A data set is measured: the network runs here, worker processes compute the cuts, and results are kept at once."""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Collection, Generator, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing, contextmanager, nullcontext
from dataclasses import astuple, dataclass
from multiprocessing.connection import wait
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from tqdm.auto import tqdm  # type: ignore[import-untyped]  # it ships no types

from .. import __version__, accept
from ..boxes import Box, to_photo
from ..classifier import Classifier, Prediction, check_classifier, ranked
from ..localise import SegmentOptions, segment
from ..saliency import saliency_maps_of_batch
from .datasets import AnyPath, Dataset, Example, as_path, class_indices, open_example, told
from .localisation_error import (
    GUESSES,
    Counts,
    Guess,
    ImageResult,
    LocalisationError,
    TrueClass,
    accumulate,
    errors_from,
    judge_image,
    missed_image,
)
from .options import check_options
from .precision import full_precision
from .ranks import Ranks, ranks
from .results import Outcome, ResultsFile, fingerprint, read_folder

if TYPE_CHECKING:
    from typing_extensions import Unpack

BATCH = 8
"""Images at once on an accelerator; with ten crops that is 40 pictures. This is a guess, because we could try none."""

CHUNK = 32
"""Upper bound on the images that a crash may cost, unless many workers need more to stay busy."""

THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


Opened: TypeAlias = tuple[Image.Image, str]
"""A photo, and the fingerprint of its file."""


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

    A guess is right if its class is true and IoU ≥ 0.5 with any instance of that class. Under torchrun, the processes
    share the images, and each returns the same result, whatever the number of workers and (with `batch` 1) processes.

    Args:
        classifier: the network; it is not changed.
        dataset: as `read_ilsvrc`, `read_voc`, `read_csv` or `shipped_photos` gives it.
        translation: the network's classes that stand for a class of the data set which is neither a WordNet id nor a
            label of the network. A class with none of them does not count; an image without another is left out.
        crops: 1 or 10 maps to average.
        problems: what happens to images that cannot be used. "stop": an error, as early as possible. "miss": they
            count as wrong in every figure and are listed by name.
        out: a folder for the results; a run that was stopped goes on where it was.
        workers: processes for the cuts beside this one; 0: this process computes them itself.
        chunk: upper bound on the images recomputed after a crash, and on those in flight; 0: enough for all workers.
        batch: images that the network takes at once, at most a chunk; 0: 1 on a CPU, `BATCH` on an accelerator.
        progress: show a bar with rate and time left, on the first rank.
        options: of `localise`: foreground, background, blur, components, smoothness, hard_seeds, random_state.

    Returns:
        A `LocalisationError`.

    Raises:
        ValueError: images that cannot be used, an option out of its range, or a folder with results of other settings.
        TypeError: an unknown option.
        OSError: a full disk, a worker or a rank that ended, or another run that writes to the folder.
        RuntimeError: a step that failed for another reason than the image's, with the image's name.

    Source: paper, Section 3.2; ILSVRC development kit.
    """
    settings = _settings(classifier, crops, options, workers, chunk, batch, problems, progress)
    cases = _usable_cases(classifier, dataset, translation or {}, problems)
    facts = {
        "version": __version__, "network": _network_name(classifier), "data": dataset.name, "crops": settings.crops,
        "classes": {name: sorted(meant) for name, meant in sorted((translation or {}).items())},
    } | settings.options  # fmt: skip
    with ranks(classifier.device) as group:
        group.agree(facts | {"images": len(cases), "names, classes and boxes": _digest(map(_truth_in_words, cases))})
        share = cases[group.rank :: group.size]
        outcomes = _run(settings, share, group, None if out is None else as_path(out), facts)
        left_out = len(dataset.left_out) + len(dataset.examples) - len(cases)
        return _summed(group, share, outcomes, left_out)


@dataclass(frozen=True)
class RunSettings:
    """How the images are worked on; see `localisation_error`."""

    classifier: Classifier
    crops: int
    options: dict[str, Any]
    workers: int
    chunk: int
    batch: int
    problems: str
    progress: bool

    @property
    def room(self) -> int:
        """Images in flight. Two per worker and a batch keep all busy; more would fill the memory."""
        return min(2 * self.workers + self.batch, self.chunk)


def _settings(
    classifier: Classifier, crops: int, options: Mapping[str, Any], workers: int, chunk: int, batch: int,
    problems: str, progress: bool,
) -> RunSettings:  # fmt: skip
    """Check what `localisation_error` was given, and fill in what was left to it."""
    check_classifier(classifier)
    chosen = {k: v.item() if isinstance(v, np.generic) else v for k, v in accept.options(options, segment).items()}
    crops, progress = accept.crops(crops), accept.flag("progress", progress)
    if problems not in ("stop", "miss"):
        raise ValueError(f'expected problems="stop" or "miss", got {problems!r}.')
    workers, chunk, batch = (
        accept.whole(name, value, 0) for name, value in (("workers", workers), ("chunk", chunk), ("batch", batch))
    )
    check_options(chosen)
    at_once = batch or (1 if classifier.device.type == "cpu" else BATCH)
    chunk = chunk or max(CHUNK, 2 * (2 * workers + at_once))
    return RunSettings(classifier, crops, chosen, workers, chunk, min(at_once, chunk), problems, progress)


def _usable_cases(
    classifier: Classifier, dataset: Dataset, translation: Mapping[str, Collection[str]], problems: str
) -> list[Case]:
    cases = _cases(classifier, dataset, translation)
    if not cases:
        left_out = len(dataset.left_out) + len(dataset.examples)
        raise ValueError(f"{dataset!r} has no image to compute an error of ({left_out} left out).")
    bad = [f"{case.example.name} ({case.problem})" for case in cases if case.problem]
    if bad and problems == "stop":
        some = "; ".join(bad[:20]) + ("; …" if len(bad) > 20 else "")
        raise ValueError(
            f"{len(bad)} of {len(cases)} images cannot be used: {some}. Repair them, or let them count as misses: "
            'problems="miss" (--problems miss).'
        )
    return cases


def _summed(
    group: Ranks, share: Sequence[Case], outcomes: Mapping[str, Outcome], left_out: int
) -> LocalisationError:
    """The errors over all ranks, from this rank's share."""
    counts, problems, notes = Counts(), [], []
    for case in share:
        outcome = outcomes[case.example.name]
        counts = accumulate(counts, _result(case, outcome))
        if outcome.problem:
            problems.append(f"{outcome.name}: {outcome.problem}")
        elif note := _look(outcome.size, case)[1]:
            notes.append(f"{outcome.name}: {note}")
    total = Counts(*group.total(astuple(counts)))
    return errors_from(total, sorted(group.gather(problems)), sorted(group.gather(notes)), left_out)


def _cases(classifier: Classifier, dataset: Dataset, translation: Mapping[str, Collection[str]]) -> list[Case]:
    """The truth in the network's classes, without the images all of whose classes the network lacks."""
    names = {name for example in dataset.examples for name in example.classes}
    found: dict[str, tuple[int, ...] | str] = {}
    for targets in translation.values():  # an error in the translation is the caller's; do not blame an image
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


def _run(
    settings: RunSettings, share: Sequence[Case], group: Ranks, out: Path | None, facts: Mapping[str, Any]
) -> dict[str, Outcome]:
    """An outcome for each image of this rank's share: first those that are on the disk, then the others."""
    before = read_folder(out, facts) if out else {}
    group.meet()  # no rank writes while another still reads
    silent = not settings.progress or group.rank > 0
    look = tqdm(share if before else (), "look at what is there", unit="image", leave=False, disable=silent)
    outcomes = {case.example.name: kept for case in look if (kept := _still_good(before, case))}
    todo = [case for case in share if case.example.name not in outcomes]
    file = ResultsFile(out / f"results-{group.rank}-of-{group.size}.jsonl", facts) if out else None
    bar = tqdm(
        total=len(share), initial=len(outcomes), unit="image", smoothing=0.02,
        desc="evaluate" if group.size == 1 else f"rank 0 of {group.size}", disable=silent,
    )  # fmt: skip
    fresh: list[Outcome] = []
    with closing(file) if file else nullcontext():
        try:
            with bar, closing(_work(settings, todo)) as found:
                for outcome in found:
                    fresh.append(outcome)
                    bar.update()
                    if len(fresh) + settings.room > settings.chunk:
                        _keep(fresh, outcomes, before, file)
        finally:
            _keep(fresh, outcomes, before, file)
    return outcomes


def _keep(
    fresh: list[Outcome],
    outcomes: dict[str, Outcome],
    before: Mapping[str, Sequence[Outcome]],
    file: ResultsFile | None,
) -> None:
    """Move what is fresh to the outcomes, and to the disk unless it is there already."""
    kept = fresh.copy()
    fresh.clear()
    outcomes.update((each.name, each) for each in kept)
    if file:
        file.append([each for each in kept if each not in before.get(each.name, ())])


def _work(settings: RunSettings, cases: Iterable[Case]) -> Generator[Outcome]:
    """The outcome of each image, in order; the network takes the next images while the workers cut."""
    todo, waiting = deque(cases), deque[Future[Outcome]]()
    try:
        with _cutters(settings.workers) as pool:
            while todo or waiting:
                if todo and len(waiting) + settings.batch <= settings.room:
                    some = [todo.popleft() for _ in range(min(settings.batch, len(todo)))]
                    waiting += _begin(settings, some, pool)
                    continue
                outcome = waiting.popleft().result()
                if outcome.problem and settings.problems == "stop":
                    raise ValueError(
                        f"{outcome.name} cannot be used: {outcome.problem.rstrip('.')}. Repair it and start again, or "
                        'let such images count as misses: problems="miss" (--problems miss).'
                    )
                yield outcome
    except BrokenProcessPool as error:
        raise OSError(
            "a worker process ended, perhaps because the memory is full. What was finished is kept: start the same "
            "command again, with fewer workers, and it goes on."
        ) from error


def _still_good(before: Mapping[str, Sequence[Outcome]], case: Case) -> Outcome | None:
    """An outcome of an earlier run, unless the image's file or its classes have changed, or it was unusable then.

    An unusable image has no true class in its outcome, so it is looked at again.
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


def _begin(settings: RunSettings, cases: Sequence[Case], pool: Executor) -> list[Future[Outcome]]:
    """Run the network on some images, and pass the cuts on."""
    opened = [_open(case) for case in cases]
    usable = [(case, photo) for case, photo in zip(cases, opened, strict=True) if not isinstance(photo, Outcome)]
    names = ", ".join(case.example.name for case, _ in usable)
    try:
        tasks = iter(_tasks(settings, usable) if usable else ())
    except ValueError as error:
        raise ValueError(f"{names}: {error}") from error
    except torch.OutOfMemoryError as error:
        raise OSError(
            f"the GPU's memory is too small for {len(usable)} images at once ({names}). What was finished is kept: "
            "start again with a smaller batch (--batch), and it goes on."
        ) from error
    futures = []
    for photo in opened:
        if isinstance(photo, Outcome):
            useless: Future[Outcome] = Future()
            useless.set_result(photo)
            futures.append(useless)
        else:
            futures.append(pool.submit(cut, next(tasks), settings.options))
    return futures


@full_precision()
def _tasks(settings: RunSettings, usable: Sequence[tuple[Case, Opened]]) -> list[Task]:
    """Scores and maps of some images at once."""
    classifier = settings.classifier
    x = torch.cat([classifier.prepare(photo) for _, (photo, _) in usable])
    with torch.no_grad():
        rankings = [ranked(row, classifier.labels, len(classifier.labels)) for row in classifier.scores(x)]
    told, wanted = [], []
    for (case, _), ranking in zip(usable, rankings, strict=True):
        # Of several classes that mean the true one, the one with the highest score is used.
        told.append([next(each for each in ranking if each.class_index in true.class_indices) for true in case.truth])
        wanted.append(tuple(dict.fromkeys([*ranking[:GUESSES], *told[-1]])))
    maps = saliency_maps_of_batch(classifier, x, [[each.class_index for each in row] for row in wanted], settings.crops)
    tasks = []
    for n, (case, (photo, seen)) in enumerate(usable):
        height, width = maps[n][0].shape
        picture = photo.resize((width, height), Image.Resampling.BICUBIC)
        tasks.append(
            Task(case.example.name, seen, photo.size, picture, wanted[n], maps[n], rankings[n][:GUESSES], told[n])
        )
    return tasks


def _open(case: Case) -> Opened | Outcome:
    """The photo and its file's fingerprint, or the outcome of an image that cannot be used."""
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
    return Outcome(example.name, seen, photo.size, problem=problem) if problem else (photo, seen)


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


def _result(case: Case, outcome: Outcome) -> ImageResult:
    if outcome.problem:
        return missed_image(case.true_classes)
    return judge_image(outcome.guesses, case.truth, [guess.box for guess in outcome.told])


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

    None of these shows what a network's own `forward` does.
    """
    digest = hashlib.sha256(json.dumps([classifier.size, classifier.mean, classifier.std]).encode())
    digest.update(repr(classifier.network).encode())
    for name, tensor in classifier.network.state_dict().items():
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return f"{type(classifier.network).__name__} {digest.hexdigest()[:16]}"
