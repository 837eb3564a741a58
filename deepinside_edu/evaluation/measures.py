"""Over a data set: pointing game, grid, insertion and deletion, for methods and baselines side by side."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from tqdm.auto import tqdm  # type: ignore[import-untyped]  # it ships no types

from .. import accept
from ..boxes import Box, to_map
from ..classifier import Classifier, check_classifier
from .bootstrap import Interval, bootstrap_mean
from .datasets import Dataset, Example, class_indices, open_example
from .deletion import STEPS, deletion_curve, insertion_curve
from .maps import BASELINES, METHODS, check_methods, compute_maps
from .pointing import TOLERANCE, grid_share, photo_grid, pointing_game
from .precision import full_precision

MEASURES = ("pointing", "grid", "insertion", "deletion")
"""Less is better for deletion, more for the others."""

GRID = 2
"""Photos per row of a grid."""


@dataclass(frozen=True, eq=False)
class Measures:
    """What was measured of each image, and the table of it.

    Attributes:
        images: their names, in the order of the data set.
        values: for each measure and each method one number for each image, 0 to 1, `(images,)` float64.
        left_out: how many images do not count: those that the data set leaves out, and those all of whose classes the
            network lacks, as the translation says.
    """

    images: tuple[str, ...]
    values: Mapping[str, Mapping[str, NDArray[np.float64]]]
    left_out: int = 0

    def estimate(self, measure: str, method: str) -> Interval:
        """Give one cell of the table, the mean over the images with its interval; see `bootstrap_mean`."""
        return bootstrap_mean(self.values[measure][method])

    def difference(self, measure: str, method: str, beside: str) -> Interval:
        """Compare two methods image by image: mean(method − beside).

        This says more than two overlapping intervals, because an image that is hard for one is mostly so for the other.
        """
        return bootstrap_mean(self.values[measure][method] - self.values[measure][beside])

    def __str__(self) -> str:
        """Give the table, one line per method."""
        methods = next(iter(self.values.values()))
        lines = [f"{'':<10}" + "".join(f"{measure:<24}" for measure in self.values)]
        lines += [
            f"{method:<10}" + "".join(f"{self.estimate(measure, method)!s:<24}" for measure in self.values)
            for method in methods
        ]
        out = f"; {self.left_out} left out on request" if self.left_out else ""
        lines.append(
            f"means over {len(self.images)} images with 95 % bootstrap intervals; for deletion, less is better{out}"
        )
        return "\n".join(line.rstrip() for line in lines)


@full_precision()
def measure_maps(
    classifier: Classifier,
    dataset: Dataset,
    methods: Sequence[str] = METHODS + BASELINES,
    measures: Sequence[str] = MEASURES,
    *,
    translation: Mapping[str, Collection[str]] | None = None,
    tolerance: float = TOLERANCE,
    steps: int = STEPS,
    blur: float = 0,
    random_state: int = 0,
    progress: bool = True,
) -> Measures:
    """Measure the maps of several methods over a data set, given the true classes.

    pointing: 1 if the maximum is in a box of the class or near one, else 0 (`pointing_game`).
    grid: the image is one of 2×2 photos of different classes, at a random place; the share of the map in its cell
    (`grid_share`). The network sees the grid twice as high and wide as an image.
    insertion, deletion: the areas under the two curves (`insertion_curve`, `deletion_curve`).

    An image of several classes has the mean over them, so that each image counts once.

    Args:
        classifier: the network; it is not changed.
        dataset: its classes are WordNet ids, labels of the network, or in the translation. Only "pointing" needs boxes.
        methods: out of `METHODS` and `BASELINES`.
        measures: out of `MEASURES`.
        translation: as in `localisation_error`. Of several classes that mean the true one, the one with the highest
            score is used. An image is left out if the network lacks all of its classes.
        tolerance: of the pointing game, in pixels of the map.
        steps: of the curves.
        blur: σ in pixels of a Gaussian that first smooths each map; 0 leaves it unchanged.
        random_state: of the random maps and of the grids.
        progress: show a bar with rate and time left.

    Returns:
        `Measures`; print it.

    Raises:
        ValueError: images that cannot be used, all by name if possible; an unknown method or measure; or fewer images
            of different classes than a grid needs.
        OSError: an image's file that cannot be opened.
    """
    settings = _settings(classifier, methods, measures, tolerance, steps, blur, random_state)
    progress = accept.flag("progress", progress)
    truth = _truth(classifier, dataset, translation or {}, "pointing" in measures)
    draws = _draws(settings, dataset, truth)
    values = {each: {method: np.zeros(len(truth)) for method in methods} for each in measures}
    for n, told in enumerate(tqdm(truth, unit="image", desc="measure", disable=not progress)):
        try:
            for each, method, value in _measure_image(settings, truth, n, draws[n]):
                values[each][method][n] += value / len(told.classes)
        except ValueError as error:
            raise ValueError(f"{told.example.name}: {error}") from error
    left_out = len(dataset.left_out) + len(dataset.examples) - len(truth)
    return Measures(tuple(told.example.name for told in truth), values, left_out)


@dataclass(frozen=True)
class MeasureSettings:
    """How the images are measured; see `measure_maps`."""

    classifier: Classifier
    methods: tuple[str, ...]
    measures: tuple[str, ...]
    tolerance: float
    steps: int
    blur: float
    random_state: int


def _settings(
    classifier: Classifier, methods: Sequence[str], measures: Sequence[str], tolerance: float, steps: int, blur: float,
    random_state: int,
) -> MeasureSettings:  # fmt: skip
    check_classifier(classifier)
    check_methods(methods)
    if isinstance(measures, str) or not measures or set(measures) - set(MEASURES):
        raise ValueError(f"expected some of {', '.join(MEASURES)}, got {measures!r}. Pass a list.")
    height, width = classifier.size
    blur = accept.number("blur", blur, 0, max(height, width), "In pixels, no wider than the map itself; 0 is none.")
    steps = accept.whole("steps", steps, 1, height * width, "That is the number of pixels.")
    tolerance, random_state = accept.number("tolerance", tolerance, 0), accept.random_state(random_state)
    return MeasureSettings(classifier, tuple(methods), tuple(measures), tolerance, steps, blur, random_state)


class Truth(NamedTuple):
    """An image; for each of its classes those of the network that mean it, and, where it is known, its boxes."""

    example: Example
    classes: tuple[tuple[int, ...], ...]
    boxes: tuple[tuple[Box, ...], ...]


class Draw(NamedTuple):
    """The images of a grid in reading order, by their places in the truth, and the cell of the measured one."""

    images: tuple[int, ...]
    cell: int


def _truth(
    classifier: Classifier, dataset: Dataset, translation: Mapping[str, Collection[str]], with_boxes: bool
) -> list[Truth]:
    """The network's classes of each image, or an error that names every image that can be seen to be unusable."""
    labels, ids = classifier.labels, classifier.wordnet_ids
    for targets in translation.values():  # an error in the translation is the caller's; do not blame an image
        for each in targets:
            class_indices(labels, ids, {}, each)
    truth, bad = [], []
    for example in dataset.examples:
        problem = example.problem
        meant: tuple[tuple[int, ...], ...] = ()
        try:
            meant = tuple(class_indices(labels, ids, translation, name) for name in example.classes)
        except ValueError as error:
            problem = problem or str(error)
        if not problem and (example.path is None or not meant):
            problem = "no image or no class"
        boxed = len(example.boxes) == len(meant) and all(example.boxes)
        if not problem and with_boxes and not boxed:
            problem = "a class without a box, which the pointing game needs"
        if problem:
            bad.append(f"{example.name} ({problem})")
        known = [place for place, indices in enumerate(meant) if indices]
        if known:
            boxes = tuple(example.boxes[place] for place in known) if boxed else ()
            truth.append(Truth(example, tuple(meant[place] for place in known), boxes))
    if bad or not truth:
        some = "; ".join(bad[:20]) + ("; …" if len(bad) > 20 else "")
        raise ValueError(
            f"{len(bad)} of {len(dataset.examples)} images of {dataset!r} cannot be used{': ' * bool(bad)}{some}. "
            "Repair them, or leave them out of the data set."
        )
    return truth


def _draws(settings: MeasureSettings, dataset: Dataset, truth: Sequence[Truth]) -> Sequence[Draw | None]:
    """A grid for each image, if grids are measured."""
    if "grid" not in settings.measures:
        return [None] * len(truth)
    _check_grid(settings.classifier)
    rng = np.random.default_rng(settings.random_state)
    return [_draw(dataset, truth, n, rng) for n in range(len(truth))]


def _check_grid(classifier: Classifier) -> None:
    """Try a blank grid, so that a network made for one size is refused before anything is computed."""
    height, width = classifier.size
    blank = Image.new("RGB", (GRID * width, GRID * height))
    try:
        classifier.top(classifier.prepare(blank, (GRID * height, GRID * width)), 1)
    except ValueError as error:
        raise ValueError(
            f"the network cannot take a grid of {GRID * height}×{GRID * width} pixels: {error} "
            'Leave "grid" out of the measures.'
        ) from error


def _draw(dataset: Dataset, truth: Sequence[Truth], told: int, rng: np.random.Generator) -> Draw:
    """Draw the others of one image's grid, no class twice, and its place among them."""
    others: list[int] = []
    seen = set(chain(*truth[told].classes))
    for n in rng.permutation(len(truth)):
        classes = set(chain(*truth[n].classes))
        if seen.isdisjoint(classes):
            others.append(int(n))
            seen |= classes
        if len(others) == GRID**2 - 1:
            break
    else:
        raise ValueError(
            f"{dataset!r} has no {GRID**2 - 1} images of other classes to lay beside {truth[told].example.name}. "
            'Leave "grid" out of the measures.'
        )
    cell = int(rng.integers(GRID**2))
    return Draw((*others[:cell], told, *others[cell:]), cell)


def _measure_image(
    settings: MeasureSettings, truth: Sequence[Truth], n: int, draw: Draw | None
) -> Iterator[tuple[str, str, float]]:
    """Each measure's value of each method for each true class of one image."""
    classifier = settings.classifier
    photo = _open(truth[n].example)
    x = classifier.prepare(photo)
    ranking = [each.class_index for each in classifier.top(x, len(classifier.labels))]
    classes = [min(meant, key=ranking.index) for meant in truth[n].classes]
    alone = [each for each in MEASURES if each in settings.measures and each != "grid"]
    for place, c in enumerate(classes):
        for method, m in _maps(settings, x, c, n).items() if alone else ():
            if "pointing" in alone:
                boxes = [to_map(box, photo.size, m.shape) for box in truth[n].boxes[place]]
                yield "pointing", method, float(pointing_game(m, boxes, settings.tolerance))
            if "insertion" in alone:
                yield "insertion", method, insertion_curve(classifier, x, c, m, settings.steps).area
            if "deletion" in alone:
                yield "deletion", method, deletion_curve(classifier, x, c, m, settings.steps).area
    if draw:
        height, width = classifier.size
        picture, cells = photo_grid([_open(truth[each].example) for each in draw.images], max(height, width))
        grid = classifier.prepare(picture, (GRID * height, GRID * width))
        for c in classes:
            for method, m in _maps(settings, grid, c, n).items():
                yield "grid", method, grid_share(m, to_map(cells[draw.cell], picture.size, m.shape))


def _maps(settings: MeasureSettings, x: Tensor, class_index: int, n: int) -> dict[str, NDArray[np.float32]]:
    """The maps of one image; those that are random differ from the next image's."""
    from scipy import ndimage

    maps = compute_maps(settings.classifier, x, class_index, settings.methods, settings.random_state + n)
    return {method: ndimage.gaussian_filter(m, settings.blur) if settings.blur else m for method, m in maps.items()}


def _open(example: Example) -> Image.Image:
    photo = open_example(example)
    if example.size not in (None, photo.size):
        raise ValueError(f"annotated for {example.size} pixels, the image {example.name} has {photo.size}.")
    return photo
