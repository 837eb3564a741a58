"""The whole chain from a photo to a box, one step a line, with every step kept."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypedDict

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from . import accept, figures
from .boxes import Box, bounding_box, largest_component, to_photo
from .classifier import Classifier, Prediction, check_classifier
from .colour_models import ColourModels, Costs, colour_models
from .graph_cut import SMOOTHNESS, Cut, graph_cut
from .names import ClassLike
from .opening import ImageLike, open_image
from .saliency import saliency_maps
from .seeds import Seeds, seeds

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from typing_extensions import Unpack

BLUR = 1.5
"""In pixels: evens out the grid that a stride of 2 leaves in the map. Tuned on the boxes; the paper does not blur."""


@dataclass(frozen=True, eq=False)
class Localisation:
    """Every step from a photo to the box of one class. Arrays are `(H, W)`, aligned with the prepared image.

    Attributes:
        image: the photo, upright RGB, in its own size.
        picture: the photo resized to W×H, as the mixtures and the cut saw it.
        prediction: the class: index, label, score, probability.
        saliency: the map M.
        seeds: foreground and background pixels.
        models: the two mixtures.
        costs: of labelling each pixel foreground and background.
        cut: the minimum cut: mask and energy.
        mask: the largest component of the cut's foreground.
        box: around the mask, (left, top, right, bottom) in pixels of `image`, right and bottom exclusive.
    """

    image: Image.Image
    picture: Image.Image
    prediction: Prediction
    saliency: NDArray[np.float32]
    seeds: Seeds
    models: ColourModels
    costs: Costs
    cut: Cut
    mask: NDArray[np.bool_]
    box: Box

    def __repr__(self) -> str:
        """Name the class and the box; the arrays are for looking at."""
        return f"Localisation({self.prediction.label!r}, box={self.box})"

    def figure_2(self) -> Figure:
        """Draw the paper's Figure 2: photo over map."""
        return figures.figure_2([self.image], [self.saliency], [self.prediction.label])

    def figure_3(self) -> Figure:
        """Draw the paper's Figure 3: photo with the box, map, seeds, cut-out."""
        return figures.figure_3(self.image, self.saliency, *self.seeds, self.mask, self.box)


class SegmentOptions(TypedDict, total=False):
    """The options of all steps after the map, which `localise` explains; all that call `segment` take them too."""

    foreground: float
    background: float
    blur: float
    components: int
    smoothness: float
    hard_seeds: bool
    random_state: int


def segment(
    photo: Image.Image,
    prediction: Prediction,
    saliency: NDArray[np.float32],
    *,
    foreground: float = 0.95,
    background: float = 0.30,
    blur: float = BLUR,
    components: int = 5,
    smoothness: float = SMOOTHNESS,
    hard_seeds: bool = False,
    random_state: int = 0,
) -> Localisation:
    """Go from a map to the box, one step a line: the part of `localise` that needs no network.

    Args:
        photo: upright RGB, of any size.
        prediction: the class that the map belongs to.
        saliency: M, `(H, W)`, of the whole photo.
        foreground: as in `localise`, and so are the rest.
        background: as in `localise`.
        blur: as in `localise`.
        components: as in `localise`.
        smoothness: as in `localise`.
        hard_seeds: as in `localise`.
        random_state: as in `localise`.

    Returns:
        A `Localisation` with every intermediate.

    Raises:
        ValueError: a step that cannot be done, as in `localise`.
        TypeError: an option of another kind, likewise.

    Source: paper, Section 3.2.
    """
    hard_seeds = accept.flag("hard_seeds", hard_seeds)
    height, width = saliency.shape
    picture = photo.resize((width, height), Image.Resampling.BICUBIC)
    chosen = seeds(saliency, foreground, background, blur)
    models = colour_models(picture, chosen, components, random_state)
    costs = models.costs(picture)
    cut = graph_cut(picture, costs, smoothness, chosen if hard_seeds else None)
    mask = largest_component(cut.mask)
    box = to_photo(bounding_box(mask), photo.size, mask.shape)
    return Localisation(photo, picture, prediction, saliency, chosen, models, costs, cut, mask, box)


@accept.options_of(segment)
def localise(
    classifier: Classifier,
    image: ImageLike,
    class_index: ClassLike | None = None,
    *,
    crops: int = 10,
    **options: Unpack[SegmentOptions],
) -> Localisation:
    """Find the object of one class: map, seeds, colour models, minimum cut, largest component, box.

    Args:
        classifier: the network; nothing of it is changed.
        image: whatever `open_image` takes, of any size and shape.
        class_index: c, an index, a name or a WordNet id; without one, the class that the network ranks first.
        crops: 1 or 10 maps to average.
        foreground: quantile above which pixels are foreground seeds.
        background: quantile below which pixels are background seeds.
        blur: of the map before the quantiles, in pixels; 0 is none, as in the paper.
        components: of each colour mixture, 1 to 250.
        smoothness: λ of the cut, 0 to 10^6, in nats.
        hard_seeds: if false, the seeds only estimate the colour models, as the paper says; if true, they also bind
            the cut.
        random_state: of the mixtures; the same call gives the same bits.

    Returns:
        A `Localisation` with every intermediate.

    Raises:
        ValueError: a bad image, an unknown class, an option out of its range, or a step that cannot be done: a
            constant map, an empty seed set, a cut that leaves no object.
        TypeError: an option of another kind, such as text for a number.

    Source: paper, Section 3.2.

    Example:
        >>> found = di.localise(classifier, di.photo("panda"))
        >>> found.prediction.label, di.box_iou(found.box, di.photo("panda").boxes[0]) > 0.5
        ('giant panda', True)
    """
    chosen = None if class_index is None else [class_index]
    return _localise_each(classifier, image, chosen, 1, crops, options)[0]


@accept.options_of(segment)
def localise_classes(
    classifier: Classifier,
    image: ImageLike,
    class_indices: Iterable[ClassLike] | None = None,
    *,
    crops: int = 10,
    **options: Unpack[SegmentOptions],
) -> tuple[Localisation, ...]:
    """Find the objects of several classes in one photo; the network's forward passes are shared.

    Args:
        classifier: as in `localise`.
        image: as in `localise`.
        class_indices: the classes; without them, the five that the network ranks first, as in the paper.
        crops: as in `localise`, and so are the rest.
        foreground: as in `localise`.
        background: as in `localise`.
        blur: as in `localise`.
        components: as in `localise`.
        smoothness: as in `localise`.
        hard_seeds: as in `localise`.
        random_state: as in `localise`.

    Returns:
        A `Localisation` for each class, in their order, each equal to what `localise` gives.

    Raises:
        ValueError: as in `localise`.
        TypeError: as in `localise`, or a single class in place of a list.

    Source: paper, Section 3.2, which repeats the procedure for each of the top-5 predicted classes.

    Example:
        >>> found = di.localise_classes(classifier, di.photo("panda"), ["giant panda", "badger"], crops=1)
        >>> [each.prediction.label for each in found]
        ['giant panda', 'badger']
    """
    return _localise_each(classifier, image, class_indices, 5, crops, options)


def _localise_each(
    classifier: Classifier,
    image: ImageLike,
    class_indices: Iterable[ClassLike] | None,
    count: int,
    crops: int,
    options: SegmentOptions,
) -> tuple[Localisation, ...]:
    """Localise the given classes, or the `count` that the network ranks first."""
    check_classifier(classifier)
    accept.options(options, segment)  # an unknown name is refused before anything is computed
    photo = open_image(image)
    x = classifier.prepare(photo)
    ranking = classifier.top(x, len(classifier.labels))
    if class_indices is None:
        predictions = ranking[:count]
    else:
        by_class = {prediction.class_index: prediction for prediction in ranking}
        predictions = tuple(by_class[c] for c in classifier.find_all(class_indices))
    maps = saliency_maps(classifier, x, [prediction.class_index for prediction in predictions], crops)
    results = []
    for prediction, saliency in zip(predictions, maps, strict=True):
        try:
            results.append(segment(photo, prediction, saliency, **options))
        except ValueError as error:
            name = f"{prediction.label!r} (class {prediction.class_index}, score {prediction.score:.3g})"
            raise ValueError(f"cannot localise {name}: {error}") from error
    return tuple(results)
