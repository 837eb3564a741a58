"""Explore a saliency map: choose photo, class and crops, lay the map over the photo, read M and w at a pixel."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from .. import figures
from ..classifier import Classifier, Prediction
from ..opening import ImageLike
from ..saliency import max_abs, saliency_map
from .explorer import ClassExplorer
from .joined import browser_half
from .language import say
from .settings import Choice, Number
from .stills import panels, titled
from .widget import Source, in_words


@dataclass(frozen=True, eq=False)
class SaliencyResult:
    """What the explorer shows, for further work in a cell.

    Attributes:
        prediction: the class: index, label, score, probability.
        saliency: the map M, `(H, W)` float32, of one crop or the average over ten.
        w: ∂S_c/∂I of the whole picture, `(1, C, H, W)`; with one crop M is max |w| over its channels.
        crops: 1 or 10.
    """

    prediction: Prediction
    saliency: NDArray[np.float32]
    w: Tensor
    crops: int

    def __repr__(self) -> str:
        return f"SaliencyResult({self.prediction.label!r}, crops={self.crops}, map {self.saliency.shape})"


class _Wish(NamedTuple):
    source: Source
    class_index: int | None
    crops: int


class SaliencyExplorer(ClassExplorer[SaliencyResult]):
    """Photo, map and overlay of one class; the traits are the controls, `result` is what was computed.

    Attributes:
        crops: 1 or 10.
        strength: how strong the overlay is, 0 (photo alone) to 1 (map alone); the kernel uses it only in `still`.
    """

    _esm, _css = browser_half("saliency")
    stages: ClassVar = {"rank": "source", "compute": "crops"}

    crops = Choice((1, 10), 1, "crops").tag(sync=True)
    strength = Number(0.6, say("saliency.strength"), 0, 1).tag(sync=True)

    def __init__(self, image: ImageLike | Tensor | None = None, classifier: Classifier | None = None) -> None:
        super().__init__(image, classifier)
        self._do_now("rank", "compute")
        self._begin("crops")

    def _wish(self) -> _Wish:
        return _Wish(self._source, self._chosen, self.crops)

    def _compute(self, wish: _Wish) -> str:
        """Compute w by one back-propagation, and M from it or from ten crops; the browser needs no more."""
        prediction = self._wanted_class(wish)
        x, w = self._x(wish.source), self._line(wish, prediction.class_index).w
        if wish.crops == 1:
            m = max_abs(w)[0].float().cpu().numpy()
        else:
            self._drop_if_old(wish)
            m = saliency_map(self.classifier, x, prediction.class_index, wish.crops)
        if not np.isfinite(m).all():
            raise ValueError(say("saliency.not_finite"))
        self._tell_picture(wish.source)
        self._result = SaliencyResult(prediction, m, w, wish.crops)
        self._tell(
            "map", m, w.float(), size=[m.shape[1], m.shape[0]], prediction=prediction._asdict(), crops=wish.crops,
            brightest=figures.brightest(m),
        )  # fmt: skip
        return "" if m.any() else say("saliency.zeros")

    def still(self) -> Image.Image:
        """Draw the photo as the network saw it, the map, and the overlay, each with a caption."""
        result = self.result
        m, photo = result.saliency, self._picture
        about_map = "saliency.averaged" if result.crops == 10 else "saliency.map"
        row = panels(
            (photo, say("photo.as_the_network_saw_it")),
            (figures.heat_map(m), say(about_map, brightest=figures.brightest(m))),
            (figures.overlay(photo, m, self.strength), say("saliency.overlay", strength=self.strength)),
        )
        return titled(in_words(result.prediction), row)

    def __repr__(self) -> str:
        result = self.result
        return f"SaliencyExplorer({self.photo!r}, {result.prediction.label!r}, crops={result.crops})"


def saliency(image: ImageLike | Tensor | None = None, classifier: Classifier | None = None) -> SaliencyExplorer:
    """Explore M_ij = max_c |∂S_c/∂I_ijc|: photo, map and overlay of any class, from one crop or ten.

    Args:
        image: anything that `open_image` takes, or a prepared tensor; without it a shipped photo, the red panda.
        classifier: the network; without one the network that ships with the package.

    Returns:
        A widget that shows itself as a cell's last line; its `result` holds class, map and w.

    Raises:
        ValueError: a bad image.
        TypeError: no image, or no `Classifier`.

    Source: paper, Section 3.1.
    """
    return SaliencyExplorer(image, classifier)
