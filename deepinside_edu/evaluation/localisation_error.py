"""ILSVRC's rule for one image, in whole numbers; adding up; and the errors that come out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import astuple, dataclass, fields
from typing import NamedTuple

from ..boxes import Box, box_iou

OVERLAP = 0.5
"""A box is right if its intersection over union is at least this."""

GUESSES = 5
"""How many guesses an image has."""


class Guess(NamedTuple):
    """A class of the network and the box that was found for it; None if the method found none."""

    class_index: int
    box: Box | None


class TrueClass(NamedTuple):
    """One true class of an image: the network's classes that mean it, and a box for each instance."""

    class_indices: tuple[int, ...]
    boxes: tuple[Box, ...]


@dataclass(frozen=True)
class ImageResult:
    """What one image adds to the counts.

    Attributes:
        top_1: the first guess has a true class and a right box.
        top_5: one of the first five has.
        named_1: the first guess has a true class, wherever its box is.
        named_5: one of the first five has.
        true_classes: how many true classes there are, in ILSVRC one.
        true_class_hits: for how many of them the box is right if the class is given.
        without_box: how many of the five guesses have no box.
        unusable: nothing was guessed because the image cannot be used.
    """

    top_1: bool
    top_5: bool
    named_1: bool
    named_5: bool
    true_classes: int
    true_class_hits: int
    without_box: int = 0
    unusable: bool = False


@dataclass(frozen=True)
class Counts:
    """Sums of `ImageResult`s, whole numbers of images (of true classes, of guesses)."""

    images: int = 0
    top_1: int = 0
    top_5: int = 0
    named_1: int = 0
    named_5: int = 0
    true_classes: int = 0
    true_class_hits: int = 0
    without_box: int = 0
    unusable: int = 0


@dataclass(frozen=True)
class LocalisationError:
    """Shares of images without a hit, 0 (all found) to 1 (none), and the number of images that they average.

    Attributes:
        top_1: of the first guess.
        top_5: of five guesses; the paper's figure.
        true_class: if the class is given: the share of (image, true class) pairs without a right box.
        class_top_1: of the first guess, if boxes do not count.
        class_top_5: of five guesses, if boxes do not count.
        counts: the whole numbers behind them.
        problems: the images that cannot be used, each "name: why". They count as misses.
        notes: images that count unchanged although something is odd, each "name: why".
        left_out: how many images do not count because the caller left them out.
    """

    top_1: float
    top_5: float
    true_class: float
    class_top_1: float
    class_top_5: float
    counts: Counts
    problems: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    left_out: int = 0

    @property
    def images(self) -> int:
        """How many images the errors average, including those that cannot be used."""
        return self.counts.images

    def __str__(self) -> str:
        """Give a small table."""
        counts = self.counts
        rows = (
            ("localisation error, top-5", self.top_5, counts.top_5, counts.images, "images"),
            ("localisation error, top-1", self.top_1, counts.top_1, counts.images, "images"),
            ("  if the class is given", self.true_class, counts.true_class_hits, counts.true_classes, "true classes"),
            ("class error, top-5", self.class_top_5, counts.named_5, counts.images, "images"),
            ("class error, top-1", self.class_top_1, counts.named_1, counts.images, "images"),
        )
        lines = [f"{name:<26} {error:7.2%}   {hits} of {whole} {of} right" for name, error, hits, whole, of in rows]
        lines.append(
            f"{counts.images} images, {counts.unusable} of them unusable and counted as misses; "
            f"{self.left_out} left out on request; {counts.without_box} guesses without a box"
        )
        return "\n".join(lines)


def judge_image(guesses: Sequence[Guess], truth: Sequence[TrueClass], told: Sequence[Box | None]) -> ImageResult:
    """Judge one image by ILSVRC's rule: a guess is right if its class is true and IoU ≥ 0.5 with any instance of it.

    IoU = |A ∩ B| / |A ∪ B|, in pixels. Boxes are (left, top, right, bottom), right and bottom exclusive: a box from
    column 3 to column 7 is (3, …, 8, …), 5 wide. The devkit writes the same box 3 to 7 and adds the 1 as it measures:
    the two count the same pixels.

    Args:
        guesses: at most five are looked at, best first.
        truth: each true class, with its instances.
        told: for each of `truth` the box that was found for that class, or none.

    Returns:
        An `ImageResult`. With several true classes (VOC) a guess may fit any of them.

    Raises:
        ValueError: no true class, one without a box, another number of boxes, or a box with swapped corners.

    Source: paper, Section 3.2; ILSVRC development kit, ``eval_localization_flat.m``: an overlap below 0.5 is an error.
    """
    if not truth or not all(true.boxes for true in truth):
        raise ValueError("expected at least one true class with at least one box. Use missed_image().")
    if len(told) != len(truth):
        raise ValueError(f"expected a box or None for each of {len(truth)} true classes, got {len(told)}.")
    best = guesses[:GUESSES]
    named = [[guess.class_index in true.class_indices for true in truth] for guess in best]
    right = [
        any(fits and _overlaps(guess.box, true.boxes) for fits, true in zip(row, truth, strict=True))
        for guess, row in zip(best, named, strict=True)
    ]
    return ImageResult(
        top_1=any(right[:1]),
        top_5=any(right),
        named_1=any(map(any, named[:1])),
        named_5=any(map(any, named)),
        true_classes=len(truth),
        true_class_hits=sum(_overlaps(box, true.boxes) for box, true in zip(told, truth, strict=True)),
        without_box=sum(guess.box is None for guess in best),
    )


def missed_image(true_classes: int) -> ImageResult:
    """Give the result of an image that cannot be used: wrong in every figure, so that no figure flatters.

    Args:
        true_classes: how many are known; at least one is counted.

    Returns:
        An `ImageResult` without a hit.
    """
    return ImageResult(False, False, False, False, max(1, true_classes), 0, unusable=True)


def accumulate(counts: Counts, result: ImageResult) -> Counts:
    """Add one image to the counts.

    Args:
        counts: so far; `Counts()` at the beginning.
        result: of one more image.

    Returns:
        New `Counts`.
    """
    added = {each.name: getattr(counts, each.name) + int(getattr(result, each.name)) for each in fields(result)}
    return Counts(images=counts.images + 1, **added)


def errors_from(
    counts: Counts, problems: Sequence[str] = (), notes: Sequence[str] = (), left_out: int = 0
) -> LocalisationError:
    """Turn counts into errors: 1 − hits / images.

    Args:
        counts: of at least one image.
        problems: as in `LocalisationError`.
        notes: as in `LocalisationError`.
        left_out: as in `LocalisationError`.

    Returns:
        A `LocalisationError`.

    Raises:
        ValueError: counts of no image, or that cannot be sums of results.
    """
    if counts.images < 1:
        raise ValueError("there is no image to compute an error of; expected at least one.")
    hits = (counts.top_1, counts.top_5, counts.named_1, counts.named_5, counts.unusable)
    if min(astuple(counts)) < 0 or max(hits) > counts.images or counts.true_class_hits > counts.true_classes:
        raise ValueError(f"expected sums of image results, got {counts}. Build them with accumulate.")
    return LocalisationError(
        top_1=_share_missed(counts.top_1, counts.images),
        top_5=_share_missed(counts.top_5, counts.images),
        true_class=_share_missed(counts.true_class_hits, counts.true_classes),
        class_top_1=_share_missed(counts.named_1, counts.images),
        class_top_5=_share_missed(counts.named_5, counts.images),
        counts=counts, problems=tuple(problems), notes=tuple(notes), left_out=left_out,
    )  # fmt: skip


def _share_missed(hits: int, whole: int) -> float:
    return (whole - hits) / whole


def _overlaps(box: Box | None, instances: Sequence[Box]) -> bool:
    # Of whole numbers the quotient is rounded once, to the nearest: it is below 0.5 if and only if the true one is.
    return box is not None and any(box_iou(box, each) >= OVERLAP for each in instances)
