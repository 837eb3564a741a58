"""One table: what each part of the method is worth, measured by leaving it out or turning it, with intervals."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage
from tqdm.auto import tqdm  # type: ignore[import-untyped]  # it ships no types

from .. import accept
from ..boxes import Box, Mask, bounding_box, box_iou, largest_component, mask_iou, to_photo
from ..classifier import Classifier, check_classifier
from ..colour_models import ColourModels, Costs, colour_models
from ..graph_cut import graph_cut
from ..images import Photo
from ..saliency import saliency_map
from ..seeds import Seeds, seeds
from .bootstrap import Interval, bootstrap_mean, check_confidence
from .composites import Composite
from .localisation_error import OVERLAP
from .options import DEFAULTS, check_options
from .precision import full_precision

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FULL = "full method"


class Steps:
    """One picture, one class: the steps of the method, each done once for all rows that share it.

    Attributes:
        picture: what mixtures and cut see, of the maps' size.
        crops: of the full method.
    """

    def __init__(self, photo: Image.Image, maps: Mapping[int, NDArray[np.float32]], crops: int) -> None:
        """Begin.

        Args:
            photo: upright RGB, of any size.
            maps: M `(H, W)` for each number of crops.
            crops: of the full method; a key of `maps`.
        """
        height, width = maps[crops].shape
        self.picture = photo.resize((width, height), Image.Resampling.BICUBIC)
        self.crops = crops
        self._maps = maps
        self._seeds: Callable[..., Seeds] = cache(lambda crops, *options: seeds(maps[crops], *options))
        self._models: Callable[..., ColourModels] = cache(self._fit)
        self._costs: Callable[..., Costs] = cache(lambda *options: self._models(*options).costs(self.picture))

    def _fit(self, components: int, random_state: int, *seeded: Hashable) -> ColourModels:
        return colour_models(self.picture, self._seeds(*seeded), components, random_state)

    def saliency(self, crops: int | None = None) -> NDArray[np.float32]:
        """Give the map M, of the full method's crops or of others."""
        return self._maps[self.crops if crops is None else crops]

    def seeds(self, **options: Any) -> Seeds:
        """Give the seeds; options of `localise` are turned from their defaults."""
        return self._seeds(*_seeding(self._all(options)))

    def models(self, **options: Any) -> ColourModels:
        """Give the two mixtures, likewise."""
        return self._models(*_modelling(self._all(options)))

    def cut(self, costs: Costs | None = None, **options: Any) -> Mask:
        """Give the cut's mask, every component of it, likewise; with other costs than the mixtures' if given."""
        o = self._all(options)
        if costs is None:
            costs = self._costs(*_modelling(o))
        hard = self._seeds(*_seeding(o)) if o["hard_seeds"] else None
        return graph_cut(self.picture, costs, o["smoothness"], hard).mask

    def _all(self, options: Mapping[str, Any]) -> dict[str, Any]:
        return {"crops": self.crops, **DEFAULTS, **options}


def _seeding(o: Mapping[str, Any]) -> tuple[Hashable, ...]:
    return o["crops"], o["foreground"], o["background"], o["blur"]


def _modelling(o: Mapping[str, Any]) -> tuple[Hashable, ...]:
    return o["components"], o["random_state"], *_seeding(o)


Ablation: TypeAlias = Mapping[str, Any] | Callable[[Steps], Mask]
"""Options of `localise` that differ from the defaults, or what gives the mask in place of the method."""


def whole_image(steps: Steps) -> Mask:
    """Take the whole image."""
    return np.ones(steps.saliency().shape, bool)


def centre_box(steps: Steps) -> Mask:
    """Take a box of half the image's area in its middle."""
    height, width = steps.saliency().shape
    top, left = round(height * (1 - 0.5**0.5) / 2), round(width * (1 - 0.5**0.5) / 2)
    mask = np.zeros((height, width), bool)
    mask[top : height - top, left : width - left] = True
    return mask


def threshold_only(steps: Steps) -> Mask:
    """Take the largest component of the foreground seeds: no colours, no cut."""
    return largest_component(steps.seeds().foreground)


def smooth_threshold(steps: Steps) -> Mask:
    """Take the largest component of the map, blurred by 6 pixels, above its 75 % quantile: no colours, no cut."""
    smooth = ndimage.gaussian_filter(steps.saliency().astype(np.float64), 6)
    return largest_component(smooth > np.quantile(smooth, 0.75))


def one_mixture(steps: Steps) -> Mask:
    """Fit the foreground alone; as background each of the 256³ colours is equally likely: log 256³ = 16.6 nats."""
    foreground = -steps.models().foreground.log_likelihood(np.asarray(steps.picture))
    return largest_component(steps.cut(Costs(foreground, np.full_like(foreground, np.log(256.0**3)))))


def all_components(steps: Steps) -> Mask:
    """Take every component of the cut, not the largest alone."""
    return steps.cut()


ABLATIONS: Mapping[str, Ablation] = MappingProxyType(
    {
        "whole image": whole_image,
        "centre box": centre_box,
        "threshold only": threshold_only,
        "smooth threshold": smooth_threshold,
        "hard seeds": {"hard_seeds": True},
        "one mixture": one_mixture,
        "no largest component": all_components,
        "one crop": {"crops": 1},
        "no blur": {"blur": 0.0},
        **{f"components {k}": {"components": k} for k in (1, 2, 3, 8)},
        **{f"smoothness {s}": {"smoothness": float(s)} for s in (0, 15, 30, 60, 150, 240)},
        **{f"foreground {q} %": {"foreground": q / 100} for q in (80, 90, 98)},
        **{f"background {q} %": {"background": q / 100} for q in (10, 50, 70)},
    }
)
"""What is tried in place of the full method."""


@dataclass(frozen=True)
class Row:
    """One way to find the object, measured.

    Attributes:
        name: of the row.
        changed: what is changed in it.
        iou: of the boxes.
        hits: share of the images whose box has IoU ≥ 0.5.
        mask_iou: of the masks, where every image has a true one.
        difference: of IoU to the full method, image by image.
        hit_difference: of hits, likewise.
        mask_difference: of the masks' IoU, likewise.
        failures: images in which no object was found; their IoU is 0.
    """

    name: str
    changed: str
    iou: Interval
    hits: Interval
    mask_iou: Interval | None
    difference: Interval
    hit_difference: Interval
    mask_difference: Interval | None
    failures: int


@dataclass(frozen=True, eq=False)
class AblationRuns:
    """What every row found in every image.

    Attributes:
        changed: what is changed in each row, by its name; the full method comes first.
        images: name of each image; those of one name (composites of one cut-out) are one cluster.
        crops: of the full method.
        iou: `(rows, images)`, of the box with the best of the true boxes; 0 where no object was found.
        mask_iou: `(rows, images)` likewise, NaN where there is no true mask.
        found: boolean `(rows, images)`.
    """

    changed: Mapping[str, str]
    images: tuple[str, ...]
    crops: int
    iou: NDArray[np.float64] = field(repr=False)
    mask_iou: NDArray[np.float64] = field(repr=False)
    found: Mask = field(repr=False)


@dataclass(frozen=True)
class AblationTable:
    """The rows of the table, and the runs that they come from.

    Attributes:
        rows: the full method first.
        runs: of every row in every image.
        confidence: of the intervals.
    """

    rows: tuple[Row, ...]
    runs: AblationRuns = field(repr=False)
    confidence: float

    @property
    def images(self) -> int:
        """How many images each row averages."""
        return len(self.runs.images)

    @property
    def clusters(self) -> int:
        """How many of them are independent: composites of one cut-out are not."""
        return len(set(self.runs.images))

    def __getitem__(self, name: str) -> Row:
        """Give a row by its name."""
        for row in self.rows:
            if row.name == name:
                return row
        raise KeyError(f"there is no row {name!r}; there are {', '.join(row.name for row in self.rows)}")

    def __str__(self) -> str:
        """Give the table; * marks a difference whose interval excludes 0."""
        masks = self.rows[0].mask_iou is not None
        header = ["", "IoU of the box", "hits", "IoU − full method's"]
        header += ["mask IoU", "mask IoU − full's"] if masks else []
        cells = [[*header, "none found"]]
        for row in self.rows:
            line = [row.name, str(row.iou), _percent(row.hits), _difference(row.difference)]
            line += [str(row.mask_iou), _difference(row.mask_difference)] if masks and row.mask_difference else []
            cells.append([*line, str(row.failures)])
        widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
        lines = [
            "  ".join(c.ljust(w) if i == 0 else c.rjust(w) for i, (c, w) in enumerate(zip(line, widths, strict=True)))
            for line in cells
        ]
        of = f" of {self.clusters} objects" if self.clusters < self.images else ""
        lines.append(
            f"{self.images} images{of}, {'ten crops' if self.runs.crops == 10 else 'one crop'}; in brackets the "
            f"bootstrap interval of {100 * self.confidence:.3g} %; * it excludes 0"
        )
        return "\n".join(lines)

    def figure(self) -> Figure:
        """Draw each row's difference to the full method as a dot with its interval; grey if 0 lies in it."""
        from ..figures import BESIDE, new_figure, plain

        figure = new_figure(7, 0.28 * len(self.rows) + 0.8)
        axes = figure.subplots()
        for y, row in enumerate(self.rows[1:]):
            d = row.difference
            colour = "#888888" if d.low <= 0 <= d.high else "#b2182b" if d.mean < 0 else "#2166ac"
            axes.plot([d.low, d.high], [y, y], color=colour)
            axes.plot(d.mean, y, "o", color=colour)
        axes.axvline(0, color="black", linewidth=0.8)
        axes.set_yticks(range(len(self.rows) - 1), [plain(row.name, BESIDE) for row in self.rows[1:]], parse_math=False)
        axes.invert_yaxis()
        axes.set_xlabel(f"mean IoU of the box, less the full method's {self.rows[0].iou.mean:.3f}")
        return figure


def ablate(
    classifier: Classifier,
    examples: Sequence[Photo | Composite],
    ablations: Mapping[str, Ablation] = ABLATIONS,
    crops: int = 10,
    random_state: int = 0,
    progress: bool = True,
    confidence: float = 0.95,
) -> AblationTable:
    """Measure the full method and each ablation on the same images, given the true class.

    IoU is that of the box with the best of the true boxes; a method that finds no object has IoU 0, and it counts.

    Args:
        classifier: the network; nothing of it is changed.
        examples: photos with true boxes, or composites, which have true masks too; at least two different ones.
        ablations: by name, options of `localise` or a function of `Steps` that gives a mask `(H, W)`, or raises
            ValueError where it finds no object. Options that change nothing (one crop, if the full method has one)
            are no ablation and make no row.
        crops: of the full method, 1 or 10.
        random_state: of the bootstrap.
        progress: a bar.
        confidence: of the intervals.

    Returns:
        An `AblationTable`, the full method in its first row.

    Raises:
        ValueError: an option out of its range, an unknown class, a bad image, or fewer than two different images.
        TypeError: an unknown option.

    Source: paper, Section 3.2. It has no ablation.
    """
    confidence, random_state = check_confidence(confidence), accept.random_state(random_state)  # before the hours
    return tabulate(try_ablations(classifier, examples, ablations, crops, progress), confidence, random_state)


@full_precision()
def try_ablations(
    classifier: Classifier,
    examples: Sequence[Photo | Composite],
    ablations: Mapping[str, Ablation] = ABLATIONS,
    crops: int = 10,
    progress: bool = True,
) -> AblationRuns:
    """Let every row find the object in every image; `ablate` without the intervals.

    Args:
        classifier: as in `ablate`.
        examples: as in `ablate`.
        ablations: as in `ablate`.
        crops: as in `ablate`.
        progress: as in `ablate`.

    Returns:
        `AblationRuns`.

    Raises:
        ValueError: as in `ablate`, but one image is enough.
        TypeError: as in `ablate`.
    """
    check_classifier(classifier)
    progress, crops = accept.flag("progress", progress), accept.crops(crops)
    rows = _rows(ablations, crops)
    needed = sorted({crops} | {each["crops"] for each in rows.values() if not callable(each) and "crops" in each})
    if not examples:
        raise ValueError("expected photos or composites, got none.")
    boxes, masks, found = (np.zeros((len(rows), len(examples))) for _ in range(3))
    for column, example in enumerate(tqdm(examples, desc="ablate", unit="image", disable=not progress)):
        photo, true_boxes, true_mask = _truth(example)
        c = classifier.find(example.wordnet_id)
        steps = Steps(photo, {each: saliency_map(classifier, photo, c, each) for each in needed}, crops)
        for row, ablation in enumerate(rows.values()):
            try:
                mask = ablation(steps) if callable(ablation) else largest_component(steps.cut(**ablation))
                _check_mask(list(rows)[row], mask, steps.saliency().shape)
                box = to_photo(bounding_box(mask), photo.size, mask.shape)
            except ValueError:  # the options are good: it is this image in which the method finds no object
                continue
            found[row, column] = True
            boxes[row, column] = max(box_iou(box, each) for each in true_boxes)
            if true_mask is not None:
                masks[row, column] = mask_iou(_stretched(mask, photo.size), true_mask)
        if true_mask is None:
            masks[:, column] = np.nan
    changed = {name: _changed(ablation) for name, ablation in rows.items()}
    return AblationRuns(changed, tuple(each.name for each in examples), crops, boxes, masks, found > 0)


def _check_mask(name: str, mask: object, shape: tuple[int, ...]) -> None:
    if not (isinstance(mask, np.ndarray) and mask.dtype == bool and mask.shape == shape):
        got = f"{mask.dtype} {mask.shape}" if isinstance(mask, np.ndarray) else type(mask).__name__
        raise TypeError(f"ablation {name!r}: expected a boolean mask {shape} like the map, got {got}.")


def _rows(ablations: Mapping[str, Ablation], crops: int) -> dict[str, Ablation]:
    """The full method and what differs from it; options that cannot be are an error here, not in each image."""
    full = {"crops": crops, **DEFAULTS}
    rows: dict[str, Ablation] = {FULL: {}}
    if FULL in ablations:
        raise ValueError(f"the row {FULL!r} is what the others are compared with. Give yours another name.")
    for name, ablation in {FULL: {}, **ablations}.items():
        if callable(ablation):
            rows[name] = ablation
            continue
        if not isinstance(ablation, Mapping):
            raise TypeError(f"ablation {name!r}: expected options or a function of Steps, got {ablation!r}.")
        if unknown := ablation.keys() - full.keys():
            raise TypeError(
                f"ablation {name!r} has no option {', '.join(sorted(unknown))}; expected some of {', '.join(full)}."
            )
        options = full | dict(ablation)
        try:
            accept.crops(options["crops"])
            check_options(options)
        except (ValueError, TypeError) as error:
            raise type(error)(f"ablation {name!r}: {error}") from error
        if options != full:
            rows[name] = ablation
    return rows


def _changed(ablation: Ablation) -> str:
    if callable(ablation):
        return (inspect.getdoc(ablation) or "").split("\n")[0]
    return ", ".join(f"{name} = {value}" for name, value in ablation.items()) or "nothing"


def _truth(example: Photo | Composite) -> tuple[Image.Image, tuple[Box, ...], Mask | None]:
    if not isinstance(example, Photo | Composite):
        raise TypeError(f"expected photos() or composites, got {type(example).__name__}.")
    if isinstance(example, Composite):
        return example.picture, (example.box,), example.mask
    return example.image, example.boxes, None


def _stretched(mask: Mask, size: tuple[int, int]) -> Mask:
    return np.asarray(Image.fromarray(mask).resize(size, Image.Resampling.NEAREST))


def tabulate(runs: AblationRuns, confidence: float = 0.95, random_state: int = 0) -> AblationTable:
    """Turn runs into means with intervals.

    Args:
        runs: of at least two different images.
        confidence: of the intervals, between 0 and 1.
        random_state: of the bootstrap.

    Returns:
        An `AblationTable`.

    Raises:
        ValueError: fewer than two different images, or a confidence out of range.
    """
    if len(set(runs.images)) < 2:
        raise ValueError(f"expected at least two different images to draw from, got {set(runs.images)}.")

    def interval(values: NDArray[Any]) -> Interval:
        return bootstrap_mean(values, runs.images, confidence, random_state)

    hits = runs.iou >= OVERLAP
    masks = None if np.isnan(runs.mask_iou).any() else runs.mask_iou
    rows = [
        Row(
            name, changed,
            iou=interval(runs.iou[i]), hits=interval(hits[i]),
            mask_iou=None if masks is None else interval(masks[i]),
            difference=interval(runs.iou[i] - runs.iou[0]),
            hit_difference=interval(hits[i].astype(float) - hits[0]),
            mask_difference=None if masks is None else interval(masks[i] - masks[0]),
            failures=int((~runs.found[i]).sum()),
        )
        for i, (name, changed) in enumerate(runs.changed.items())
    ]  # fmt: skip
    return AblationTable(tuple(rows), runs, confidence)


def _percent(interval: Interval) -> str:
    return f"{interval.mean:.0%} [{interval.low:.0%}, {interval.high:.0%}]"


def _difference(interval: Interval | None) -> str:
    if interval is None:
        return ""
    mark = " " if interval.low <= 0 <= interval.high else "*"
    return f"{interval.mean:+.3f} [{interval.low:+.3f}, {interval.high:+.3f}]{mark}"
