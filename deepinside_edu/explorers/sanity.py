"""Explore whether a map changes while the network forgets what it learnt, layer by layer from the last one down."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import numpy as np
import traitlets
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from .. import figures
from ..classifier import Classifier, Prediction
from ..deconvnet import NoReluError
from ..evaluation.maps import METHODS, compute_maps
from ..evaluation.sanity import Cascade, Similarity, compare_maps
from ..opening import ImageLike
from .explorer import ClassExplorer, upto
from .joined import browser_half
from .language import say
from .settings import ReadOnly, Refused, Whole
from .stills import GROUND, panels, titled, under_each_other
from .widget import Source, in_words

Maps = dict[str, NDArray[np.float32]]


@dataclass(frozen=True, eq=False)
class SanityResult:
    """What the explorer shows, for further work in a cell.

    Attributes:
        prediction: the class of the maps, with its score and probability in the trained network.
        down_to: how many layers are random, counted from the last; 0 is the trained network.
        layer: the name of the deepest random layer; empty if there is none.
        now: the same class, with its score and probability in the network with random layers.
        top: the class that the network with random layers puts first.
        maps: for each of the explorer's methods (usually "gradient", "deconvnet" and "guided") the map in the network
            with random layers, `(H, W)` float32.
        trained: for each method the map in the trained network, `(H, W)` float32.
        similarities: for each method the `Similarity` (rank_correlation, ssim) of the two maps.
    """

    prediction: Prediction
    down_to: int
    layer: str
    now: Prediction
    top: Prediction
    maps: Maps
    trained: Maps
    similarities: dict[str, Similarity]

    def __repr__(self) -> str:
        ranks = ", ".join(f"{method} {each.rank_correlation:.2f}" for method, each in self.similarities.items())
        layers = "1 layer" if self.down_to == 1 else f"{self.down_to} layers"
        return f"SanityResult({self.prediction.label!r}, {layers} random, rank correlation: {ranks})"


class _Wish(NamedTuple):
    source: Source
    class_index: int | None
    cascade: Cascade
    down_to: int


class SanityExplorer(ClassExplorer[SanityResult | None]):
    """Three maps of one class while the network forgets; the traits are the controls.

    Attributes:
        down_to: how many layers have random weights, counted from the last one.
        random_state: the seed of these weights; another number is another draw.
        layers: the layers with weights, from the last one to the first.
        methods: the methods whose maps are shown.
    """

    _esm, _css = browser_half("sanity")
    stages: ClassVar = {
        "rank": "source", "train": "class_index", "look": "down_to", "pause": "down_to", "compare": "down_to",
    }  # fmt: skip

    down_to = Whole(0, say("sanity.down_to")).tag(sync=True)
    random_state = Whole(0, say("sanity.random_state"), 0, 2**32 - 1).tag(sync=True)
    layers = ReadOnly().tag(sync=True)
    methods = ReadOnly().tag(sync=True)

    def __init__(
        self,
        image: ImageLike | Tensor | None = None,
        classifier: Classifier | None = None,
        methods: Sequence[str] | None = None,
    ) -> None:
        super().__init__(image, classifier)
        self._cascade = Cascade(self.classifier)
        self.set_trait("layers", list(self._cascade.layers))
        self._left_out = ""
        self.set_trait("methods", list(METHODS if methods is None else _checked(methods)))
        try:
            self._do_now("rank", "train")
        except NoReluError as error:
            if methods is not None:
                raise
            self._left_out = say("sanity.left_out", why=error.why)
            self.set_trait("methods", ["gradient"])
            self._do_now("train")
        compare_maps(*2 * [next(iter(self._trained.values()))])  # raises if the maps are too small to compare
        self._begin("down_to")

    def _wish(self) -> _Wish:
        return _Wish(self._source, self._chosen, self._cascade, self.down_to)

    @traitlets.validate("down_to")
    def _possible_depth(self, proposal: dict[str, Any]) -> int:
        if not 0 <= proposal["value"] <= len(self.layers):
            raise Refused(say("sanity.too_many", most=len(self.layers), got=proposal["value"]))
        return int(proposal["value"])

    @traitlets.observe("random_state")
    def _on_draw(self, change: dict[str, Any]) -> None:
        """Draw the weights here: the worker would disturb the random numbers of a cell."""
        with self._changed:
            self._cascade = Cascade(self.classifier, change["new"])
            self._ask()

    def _train(self, wish: _Wish) -> None:
        """Compute the maps in the trained network, for a new photo or class."""
        prediction = self._wanted_class(wish)
        self._run = None  # three rules need a recording of their own
        x = self._x(wish.source)
        maps = compute_maps(self.classifier, x, prediction.class_index, self.methods)
        self._tell_picture(wish.source)
        self._tell("trained", *map(_levels, maps.values()), size=self._picture.size, prediction=prediction._asdict())
        self._class, self._trained, self._of = prediction, maps, upto(wish, "class_index")
        self._drawn: Cascade | None = None

    def _look(self, wish: _Wish) -> None:
        """Compute the maps in this network, unless it was visited before."""
        if self._of != upto(wish, "class_index"):  # the trained network has no maps of this class
            return
        if self._drawn is not wish.cascade:
            self._drawn = wish.cascade
            self._maps: dict[int, Maps] = {0: self._trained}
            self._results: dict[int, SanityResult] = {}
        k = wish.down_to
        if k not in self._maps:
            self._maps[k] = compute_maps(wish.cascade(k), self._x(wish.source), self._class.class_index, self.methods)
        self._tell("maps", *map(_levels, self._maps[k].values()), size=self._picture.size, down_to=k)

    def _compare(self, wish: _Wish) -> str:
        """Compare these maps with those of the trained network, and find the class that this network puts first."""
        k = wish.down_to
        if self._of != upto(wish, "class_index") or k not in self._maps:  # there is nothing to compare
            return ""
        maps = self._maps[k]
        if k not in self._results:
            ranking = wish.cascade(k).top(self._x(wish.source), len(self.classifier.labels))
            now = next(each for each in ranking if each.class_index == self._class.class_index)
            similarities = {method: compare_maps(self._trained[method], maps[method]) for method in self.methods}
            layer = self.layers[k - 1] if k else ""
            self._results[k] = SanityResult(self._class, k, layer, now, ranking[0], maps, self._trained, similarities)
        self._result = result = self._results[k]
        known = [(at, [_for_json(each.similarities[m]) for m in self.methods])
                 for at, each in sorted(self._results.items())]  # fmt: skip
        self._tell("likeness", down_to=k, now=result.now._asdict(), top=result.top._asdict(), known=known)
        flat = [method for method, m in maps.items() if not m.any()]
        name = "sanity.zeros" if len(flat) > 1 else "sanity.zeros_one"
        zeros = say(name, maps=say("sanity.and").join(flat)) if flat else ""
        return " ".join(filter(None, (self._left_out, zeros)))

    def still(self) -> Image.Image:
        """Draw the photo and the trained network's maps; below them, if layers are random, this network's maps."""
        result = self.result
        photo = self._picture, say("photo.as_the_network_saw_it")
        if result is None:
            return titled(say("sanity.nothing", message=self.message), panels(photo))
        title = in_words(result.prediction)
        trained = panels(photo, *(
            (figures.heat_map(m), say("sanity.trained", rule=say(f"rule.{method}")))
            for method, m in result.trained.items()
        ))  # fmt: skip
        if not result.down_to:
            return titled(say("sanity.none_random", title=title), trained)
        says = Image.new("RGB", self._picture.size, GROUND), say("sanity.says", class_in_words=in_words(result.top))
        random = panels(says, *(
            (figures.heat_map(m), _alike(method, result.similarities[method]))
            for method, m in result.maps.items()
        ))  # fmt: skip
        layers = say("sanity.layers", down_to=result.down_to, layers=len(self.layers), layer=result.layer)
        return under_each_other(titled(title, trained), titled(layers, random))

    def __repr__(self) -> str:
        label = self.classifier.labels[self.class_index]
        return f"SanityExplorer({self.photo!r}, {label!r}, {self.down_to} of {len(self.layers)} layers random)"


def _levels(m: NDArray[np.float32]) -> NDArray[np.uint8]:
    """A map as `figures.heat_map` draws it, before the colours."""
    return (m / figures.brightest(m) * 255).clip(max=255).astype(np.uint8)


def _alike(method: str, similarity: Similarity) -> str:
    rank, ssim = ("–" if math.isnan(each) else f"{each:.2f}".replace("-", "−") for each in similarity)
    return say("sanity.like", rule=say(f"rule.{method}"), rank=rank, ssim=ssim)


def _for_json(similarity: Similarity) -> list[float | None]:
    return [None if math.isnan(value) else value for value in similarity]


def _checked(methods: Sequence[str]) -> Sequence[str]:
    if isinstance(methods, str) or not methods or set(methods) - set(METHODS) or len(set(methods)) < len(methods):
        raise ValueError(say("sanity.methods", methods=", ".join(METHODS), got=methods))
    return methods


def sanity(
    image: ImageLike | Tensor | None = None,
    classifier: Classifier | None = None,
    methods: Sequence[str] | None = None,
) -> SanityExplorer:
    """Explore what maps depend on: with random weights in the last k layers, how much of each of three maps remains.

    Args:
        image: anything that `open_image` takes, or a prepared tensor; without it a shipped photo, the red panda.
        classifier: the network; without one the network that ships with the package.
        methods: some of "gradient", "deconvnet" and "guided", as in `sanity_check`; without them all that have a
            meaning in this network, and the widget says why it leaves out the others.

    Returns:
        A widget that shows itself as a cell's last line; its `result` holds maps, similarities and the class that the
        network with random layers puts first.

    Raises:
        ValueError: a bad image, or a method in `methods` that has no meaning in this network.
        TypeError: no image, or no `Classifier`.

    Source: Adebayo et al. 2018, Section 4.1; paper, Section 4.
    """
    return SanityExplorer(image, classifier, methods)
