"""A photo with its class and its true boxes, what the package finds in it, and how well the two agree."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from importlib import import_module

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import gaussian_filter

import deepinside_edu as di
from deepinside_edu.colour_models import Costs
from deepinside_edu.graph_cut import CONTRAST, SMOOTHNESS
from deepinside_edu.localise import BLUR
from deepinside_edu.seeds import Seeds

Box = tuple[float, float, float, float]
Mask = NDArray[np.bool_]

classifier = cache(di.load_classifier)

THRESHOLD_BLUR = 6.0
"""The blur of the baseline that thresholds a blurred map: a standard deviation in pixels."""


@dataclass(frozen=True, eq=False)
class Case:
    """Boxes are (left, top, right, bottom) as shares of the photo's width and height, so that sizes do not matter."""

    name: str
    image: Image.Image = field(repr=False)
    class_index: int
    boxes: tuple[Box, ...]

    @property
    def picture(self) -> Image.Image:
        return self.image.resize(classifier().size[::-1], Image.Resampling.BICUBIC)


@cache
def shipped() -> tuple[Case, ...]:
    cases = []
    for photo in di.photos():
        size = np.tile(photo.image.size, 2)
        boxes = tuple(tuple((box / size).tolist()) for box in photo.boxes)
        cases.append(Case(photo.name, photo.image, classifier().find(photo.wordnet_id), boxes))
    return tuple(cases)


@dataclass(frozen=True)
class Settings:
    """One way to go from the map to the box; by default, the package's own."""

    crops: int = 10
    blur: float = BLUR
    components: int = 5
    hard_seeds: bool = False
    neighbours: int = 8
    smoothness: float = SMOOTHNESS
    contrast: float = CONTRAST


@cache
def saliency(case: Case, crops: int) -> NDArray[np.float32]:
    return di.saliency_map(classifier(), case.image, case.class_index, crops)


@cache
def seeds_and_costs(case: Case, crops: int, blur: float, components: int, random_state: int) -> tuple[Seeds, Costs]:
    chosen = di.seeds(saliency(case, crops), blur=blur)
    return chosen, di.colour_models(case.picture, chosen, components, random_state).costs(case.picture)


@contextmanager
def contrast(value: float) -> Iterator[None]:
    """Change the cut's contrast for a while; it is a constant of its module because no learner changes it."""
    module = import_module("deepinside_edu.graph_cut")
    usual = module.CONTRAST
    module.CONTRAST = value
    try:
        yield
    finally:
        module.CONTRAST = usual


@cache
def agreement(case: Case, settings: Settings = Settings(), random_state: int = 0) -> float:
    """IoU of the found box with the best of the true boxes; 0 if nothing is found."""
    chosen, costs = seeds_and_costs(case, settings.crops, settings.blur, settings.components, random_state)
    with contrast(settings.contrast):
        cut = di.graph_cut(
            case.picture, costs, settings.smoothness, chosen if settings.hard_seeds else None, settings.neighbours
        )
    return of_mask(case, cut.mask)


def of_mask(case: Case, mask: Mask) -> float:
    if not mask.any():
        return 0.0
    height, width = mask.shape
    left, top, right, bottom = di.bounding_box(di.largest_component(mask))
    return of_box(case, (left / width, top / height, right / width, bottom / height))


def of_box(case: Case, box: Box) -> float:
    return max(di.box_iou(box, true) for true in case.boxes)


SIDE = 0.5**0.5


def whole(case: Case) -> float:
    return of_box(case, (0, 0, 1, 1))


def centre(case: Case) -> float:
    return of_box(case, ((1 - SIDE) / 2,) * 2 + ((1 + SIDE) / 2,) * 2)


def thresholded(case: Case) -> float:
    """Threshold the map at its 95 % quantile, without blur, and draw the box around all of it."""
    left, top, right, bottom = di.bounding_box(di.seeds(saliency(case, 10)).foreground)
    height, width = classifier().size
    return of_box(case, (left / width, top / height, right / width, bottom / height))


def blurred(case: Case) -> float:
    """Threshold a blurred map, whose largest component is more than a few pixels: a stronger baseline."""
    smooth = gaussian_filter(saliency(case, 10), THRESHOLD_BLUR)
    return of_mask(case, smooth > np.quantile(smooth, 0.75))


BASELINES = {
    "whole image": whole,
    "centred box of half the area": centre,
    "threshold: map above its 95 % quantile": thresholded,
    "threshold: blurred map above its 75 % quantile": blurred,
}
"""Ways to a box that need no colours and no cut."""
