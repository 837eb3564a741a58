"""The localisation lab: all stages from map to box side by side, with a brush that binds the cut."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from dataclasses import dataclass
from itertools import takewhile
from typing import Any, ClassVar, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image
from torch import Tensor

from .. import figures
from ..boxes import Box, bounding_box, box_iou, largest_component, to_photo
from ..classifier import Classifier
from ..colour_models import ColourModels, Mixture, colour_models
from ..graph_cut import SMOOTHNESS, RepeatedCut
from ..images import Photo
from ..localise import BLUR, Localisation
from ..opening import ImageLike, open_image
from ..saliency import saliency_map
from ..seeds import Seeds, seeds
from .explorer import ClassExplorer
from .joined import browser_half
from .language import say
from .settings import Choice, Number, Whole
from .stills import panels, titled
from .widget import Source

STILL_SIDE = 160
"""The longest side of each of the still picture's four parts, in pixels."""

MAPS_KEPT = 64
"""How many maps of 200 KB each are kept: all that a learner is likely to come back to."""


@dataclass(frozen=True, eq=False)
class _Strokes:
    """What the brush has painted on one photo; it equals only itself.

    Attributes:
        sides: int8 `(H, W)`, read-only: 1 where a stroke says foreground, −1 background, 0 nothing.
        photo: the number of the photo, so that no stroke falls on a later one.
        after: the browser's name for the last stroke in it.
    """

    sides: NDArray[np.int8]
    photo: int
    after: str


class _Wish(NamedTuple):
    source: Source
    class_index: int | None
    crops: int
    foreground: float
    background: float
    blur: float
    components: int
    smoothness: float
    hard_seeds: bool
    strokes: _Strokes


class _Scene(NamedTuple):
    """A photo in its own size and in that of the map, its hand-drawn boxes, and a digest of its pixels."""

    source: Source
    image: Image.Image
    picture: Image.Image
    boxes: tuple[Box, ...]
    digest: bytes


class LocalisationExplorer(ClassExplorer[Localisation | None]):
    """Map, seeds, mixtures, costs, cut and box of one class in one photo, with every choice on a control.

    A map is computed once per photo, class and number of crops; all later steps start from it. After an error the last
    result stays. Strokes bind the cut as hard seeds do; the mixtures do not learn from them. Strokes belong to their
    photo and return with it.

    Attributes:
        crops: how many maps are averaged, 1 or 10.
        foreground: quantile of the map above which pixels are foreground seeds, 0.5 to 0.995.
        background: quantile of the map below which pixels are background seeds, 0.05 to 0.9.
        blur: blur of the map before the quantiles, 0 (as in the paper) to 6 pixels.
        components: components of each colour mixture, 1 to 8.
        smoothness: λ of the cut, 0 to 200 nats.
        hard_seeds: whether the seeds also bind the cut.
    """

    _esm, _css = browser_half("localisation")
    stages: ClassVar = {
        "rank": "source", "map": "crops", "seed": "blur", "model": "components", "stroke": "strokes", "cut": "strokes",
    }  # fmt: skip

    crops = Choice((1, 10), 10, say("localisation.crops")).tag(sync=True)
    foreground = Number(0.95, say("localisation.foreground"), 0.5, 0.995).tag(sync=True)
    background = Number(0.30, say("localisation.background"), 0.05, 0.9).tag(sync=True)
    blur = Number(BLUR, say("localisation.blur"), 0, 6).tag(sync=True)
    components = Whole(5, say("localisation.components"), 1, 8).tag(sync=True)
    smoothness = Number(SMOOTHNESS, say("localisation.smoothness"), 0, 200).tag(sync=True)
    hard_seeds = Choice((False, True), False, say("localisation.hard_seeds")).tag(sync=True)

    def __init__(self, image: ImageLike | Tensor | None = None, classifier: Classifier | None = None) -> None:
        super().__init__(image, classifier)
        self._maps: OrderedDict[tuple[bytes, int, int], NDArray[np.float32]] = OrderedDict()
        self._strokes = _Strokes(_unpainted(_grid(self._source, self.classifier)), 0, "")
        self._painted: dict[object, NDArray[np.int8]] = {}
        self._told: _Strokes | None = None
        self._scene = self._scene_of(self._source)
        self._shown: _Scene | None = None
        self._cutter: tuple[Source, float, RepeatedCut] | None = None
        self._do_now("rank")
        self._begin("crops", "foreground", "background", "blur", "components", "smoothness", "hard_seeds")

    @property
    def true_boxes(self) -> tuple[Box, ...]:
        """The hand-drawn boxes of the photo in the result, in its pixels; only shipped photos have them."""
        self.wait()
        return self._shown.boxes if self._shown else ()

    @property
    def iou(self) -> float | None:
        """The best IoU of the result's box with a true box, or None."""
        result, boxes = self.result, self.true_boxes
        return max((box_iou(result.box, each) for each in boxes), default=None) if result else None

    @property
    def strokes(self) -> NDArray[np.int8]:
        """The painted pixels, int8 `(H, W)`, read-only: 1 foreground, −1 background, 0 nothing; can be set."""
        return self._strokes.sides

    @strokes.setter
    def strokes(self, sides: ArrayLike) -> None:
        given = np.asarray(sides)
        shape = self._strokes.sides.shape
        if given.shape != shape or not np.isin(given, (-1, 0, 1)).all():
            least, most = given.min(initial=0), given.max(initial=0)
            raise ValueError(say("localisation.strokes", shape=shape, got=given.shape, least=least, most=most))
        self._paint(given.astype(np.int8))

    def _do(self, asked: str, content: dict[str, Any], buffers: list[memoryview]) -> None:
        if asked != "stroke":
            return
        with self._changed:  # Jupyter may deliver messages in another thread than that of the cells
            painted = self._strokes.sides.copy()
            if content.get("photo") == self._strokes.photo:  # otherwise the photo has changed during the stroke
                if content.get("clear"):
                    painted[:] = 0
                else:
                    _add_discs(painted, content.get("discs", ()), content.get("size"), content.get("side"))
            self._paint(painted, str(content.get("name")))

    def _paint(self, sides: NDArray[np.int8], after: str | None = None) -> None:
        """Use these strokes from now on; the array becomes read-only."""
        sides.flags.writeable = False
        with self._changed:
            before = self._strokes
            self._painted[self._photo_or_source()] = sides
            self._strokes = _Strokes(sides, before.photo, before.after if after is None else after)
            self._ask()

    def _wish(self) -> _Wish:
        return _Wish(
            self._source, self._chosen, self.crops, self.foreground, self.background, self.blur, self.components,
            self.smoothness, self.hard_seeds, self._strokes,
        )  # fmt: skip

    def _on_new_photo(self) -> None:
        super()._on_new_photo()
        sides = self._painted.get(self._photo_or_source(), _unpainted(_grid(self._source, self.classifier)))
        self._strokes = _Strokes(sides, self._strokes.photo + 1, self._strokes.after)

    def _photo_or_source(self) -> object:
        """The key of a photo's strokes: the name of a shipped photo, the source of a learner's own."""
        return self.photo if isinstance(self._source.image, Photo) else self._source

    def _stopped(self, stage: str) -> bool:
        """Whether an earlier stage has failed."""
        return any(self._said.get(each) for each in takewhile(lambda each: each != stage, self.stages))

    def _scene_of(self, source: Source) -> _Scene:
        image = source.image
        boxes = image.boxes if isinstance(image, Photo) else ()
        height, width = _grid(source, self.classifier)
        opened = self.classifier.picture(image).convert("RGB") if isinstance(image, Tensor) else open_image(image)
        digest = hashlib.sha256(f"{opened.size}".encode() + opened.tobytes()).digest()
        return _Scene(source, opened, opened.resize((width, height), Image.Resampling.BICUBIC), boxes, digest)

    def _rank(self, wish: Any) -> None:
        super()._rank(wish)
        self._run = None  # each map makes forward passes of its own

    def _map(self, wish: _Wish) -> None:
        """Compute M of this photo, class and number of crops, the one slow step, unless it is kept."""
        if self._stopped("map"):
            return
        if self._scene.source is not wish.source:
            self._scene = self._scene_of(wish.source)
        self._predicted = self._wanted_class(wish)
        key = self._scene.digest, self._predicted.class_index, wish.crops
        if key not in self._maps:
            self._maps[key] = saliency_map(self.classifier, wish.source.image, key[1], wish.crops)
            if len(self._maps) > MAPS_KEPT:
                self._maps.popitem(last=False)
        self._saliency = self._maps[key]

    def _seed(self, wish: _Wish) -> None:
        if not self._stopped("seed"):
            self._seeds = seeds(self._saliency, wish.foreground, wish.background, wish.blur)

    def _model(self, wish: _Wish) -> None:
        if not self._stopped("model"):
            self._models = colour_models(self._scene.picture, self._seeds, wish.components)
            self._costs = self._models.costs(self._scene.picture)

    def _stroke(self, wish: _Wish) -> None:
        """Send what is painted; the browser may not know it, after a new photo or if Python painted."""
        if self._told is not wish.strokes:
            sides, self._told = wish.strokes.sides, wish.strokes
            counts = int((sides > 0).sum()), int((sides < 0).sum())
            self._tell("strokes", sides, after=wish.strokes.after, counts=counts)

    def _cut(self, wish: _Wish) -> None:
        """Compute the cut and send all that is new with it, so that the page never mixes two photos or settings."""
        if self._stopped("cut"):
            return
        scene, before = self._scene, self._result
        cut = self._cutter_of(wish, _binding(self._seeds if wish.hard_seeds else None, wish.strokes.sides)).result
        mask = largest_component(cut.mask)
        box = to_photo(bounding_box(mask), scene.image.size, mask.shape)
        self._result = result = Localisation(
            scene.image, scene.picture, self._predicted, self._saliency, self._seeds, self._models, self._costs, cut,
            mask, box,
        )  # fmt: skip
        self._shown = scene
        if before is None or before.image is not result.image:
            self._tell(
                "scene", np.asarray(scene.picture), photo=wish.strokes.photo, size=[*scene.picture.size],
                shape=scene.image.size, boxes=[_shares(each, scene.image) for each in scene.boxes],
            )  # fmt: skip
        if before is None or before.saliency is not result.saliency:
            self._tell("map", result.saliency, peak=figures.brightest(result.saliency))
        if before is None or before.seeds is not result.seeds:
            self._tell("seeds", result.seeds.foreground.astype(np.int8) - result.seeds.background)
        if before is None or before.models is not result.models:
            costs = [each.astype(np.float32) for each in result.costs]
            peak = figures.brightest(np.abs(result.costs.background - result.costs.foreground))
            self._tell("models", *costs, peak=peak, mixtures=_in_numbers(result.models))
        iou = max((box_iou(box, each) for each in scene.boxes), default=None)
        self._tell(
            "cut", cut.mask.astype(np.uint8) + mask, box=_shares(box, scene.image), pixels=box, iou=iou,
            label=result.prediction.label, summary=_summary(result, len(scene.boxes), iou),
        )  # fmt: skip

    def _cutter_of(self, wish: _Wish, binding: Seeds | None) -> RepeatedCut:
        """The cut of the photo: a new graph for a new photo or λ; otherwise the search continues in the last graph."""
        if self._cutter is None or self._cutter[:2] != (wish.source, wish.smoothness):
            cutter = RepeatedCut(self._scene.picture, self._costs, wish.smoothness, binding)
            self._cutter = wish.source, wish.smoothness, cutter
        else:
            self._cutter[2].again(self._costs, seeds=binding)
        return self._cutter[2]

    def _in_words_of(self, error: Exception) -> str:
        words = super()._in_words_of(error)
        return say("localisation.paint", words=words) if "the mask is empty" in words else words

    def still(self) -> Image.Image:
        """Draw map, seeds, cut and box in a row, each with a caption, under the class and the IoU."""
        result = self.result
        if result is None or self._shown is None:
            return titled(say("localisation.nothing", message=self.message))
        small = result.image.copy()
        small.thumbnail((STILL_SIDE, STILL_SIDE))
        boxed = figures.cut_out(small, result.mask)
        by_hand = [_scaled(each, result.image, small) for each in self.true_boxes]
        boxed = figures.draw_boxes(boxed, by_hand, figures.BLUE)
        about_box = ("localisation.box", "localisation.box_and_true_one", "localisation.box_and_true_ones")
        found = figures.draw_boxes(boxed, [_scaled(result.box, result.image, small)])
        row = panels(
            (figures.heat_map(result.saliency).resize(small.size, Image.Resampling.BILINEAR), say("localisation.map")),
            (figures.seed_picture(small, *result.seeds), say("localisation.seeds")),
            (figures.cut_out(small, result.cut.mask), say("localisation.cut")),
            (found, say(about_box[min(len(by_hand), 2)])),
        )
        photo, iou = self._shown.source.name.replace("_", " "), self.iou
        title = "localisation.title" if iou is None else "localisation.title_with_iou"
        return titled(say(title, label=result.prediction.label, photo=photo, iou=iou), row)

    def __repr__(self) -> str:
        result = self.result
        if result is None or self._shown is None:
            return f"LocalisationExplorer({self.photo!r}, nothing yet)"
        # The box is left out: its last pixel may depend on the machine, and a saved lesson is compared on others.
        quantiles = f"foreground={self.foreground:.3g}, background={self.background:.3g}"
        return f"LocalisationExplorer({self._shown.source.name!r}, {result.prediction.label!r}, {quantiles})"


def _grid(source: Source, classifier: Classifier) -> tuple[int, ...]:
    """(H, W) of the photo's map."""
    return tuple(source.image.shape[-2:]) if isinstance(source.image, Tensor) else classifier.size


def _unpainted(grid: tuple[int, ...]) -> NDArray[np.int8]:
    blank = np.zeros(grid, np.int8)
    blank.flags.writeable = False
    return blank


def _add_discs(sides: NDArray[np.int8], discs: ArrayLike, size: object, side: object) -> None:
    """Paint discs of diameter `size` around pixels (column, row) in place, clipped to the picture."""
    centres = np.asarray(discs, np.float64).reshape(-1, 2)
    if side not in (-1, 0, 1) or not isinstance(size, int | float) or not np.isfinite([*centres.ravel(), size]).all():
        raise ValueError(say("localisation.discs", side=side, size=size))
    rows, columns = np.ogrid[: sides.shape[0], : sides.shape[1]]
    for column, row in centres:
        sides[4 * ((columns - column) ** 2 + (rows - row) ** 2) <= size**2] = side


def _binding(hard: Seeds | None, strokes: NDArray[np.int8]) -> Seeds | None:
    """The pixels that the cut must not change; where a stroke and a seed disagree, the stroke counts."""
    if hard is None and not strokes.any():
        return None
    foreground, background = strokes > 0, strokes < 0
    if hard is None:
        return Seeds(foreground, background)
    return Seeds(foreground | (hard.foreground & ~background), background | (hard.background & ~foreground))


def _shares(box: Box, image: Image.Image) -> list[float]:
    """A box in shares of the picture's sides, which the browser draws at any size."""
    return [box[0] / image.width, box[1] / image.height, box[2] / image.width, box[3] / image.height]


def _in_numbers(models: ColourModels) -> list[list[tuple[float, list[int]]]]:
    """Weight and mean colour of each component of the foreground and the background mixture, heaviest first."""

    def listed(mixture: Mixture) -> list[tuple[float, list[int]]]:
        parts = [(float(w), [round(v) for v in m]) for w, m in zip(mixture.weights, mixture.means, strict=True)]
        return sorted(parts, reverse=True)

    return [listed(models.foreground), listed(models.background)]


def _summary(result: Localisation, boxes: int, iou: float | None) -> str:
    text = say(
        "localisation.summary", label=result.prediction.label, box=result.box,
        foreground=int(result.seeds.foreground.sum()), background=int(result.seeds.background.sum()),
        cut=result.cut.mask.mean(), largest=result.mask.sum() / result.cut.mask.sum(),
    )  # fmt: skip
    if iou is None:
        return text
    whose = say("localisation.true_box" if boxes == 1 else "localisation.true_boxes", boxes=boxes)
    verdict = say("localisation.found" if iou >= 0.5 else "localisation.missed")
    return text + say("localisation.iou", iou=iou, whose=whose, verdict=verdict)


def _scaled(box: Box, image: Image.Image, shown: Image.Image) -> Box:
    """A box in the photo's pixels as a box in the pixels of the smaller picture, never empty."""
    left, top, right, bottom = (round(s * n) for s, n in zip(_shares(box, image), 2 * shown.size, strict=True))
    return left, top, max(right, left + 1), max(bottom, top + 1)


def localisation(image: ImageLike | Tensor | None = None, classifier: Classifier | None = None) -> LocalisationExplorer:
    """Explore how a map becomes a box: seeds, colour models, costs, cut, largest component.

    Args:
        image: anything that `open_image` takes, or a prepared tensor; one of `photos()` has its true boxes too;
            without it a shipped photo, the red panda.
        classifier: the network; without one the network that ships with the package.

    Returns:
        A widget that shows itself as a cell's last line; its `result` is the `Localisation`, its `strokes` are what the
        brush has painted.

    Raises:
        ValueError: a bad image, or a network that cannot score it.
        TypeError: no image, or no `Classifier`.

    Source: paper, Section 3.2.
    """
    return LocalisationExplorer(image, classifier)
