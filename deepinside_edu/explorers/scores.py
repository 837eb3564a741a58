"""Explore the scores of a photo: its best classes as bars, and the rank of any other class."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, ClassVar, NamedTuple

import numpy as np
import torch
import traitlets
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from .. import figures
from ..classifier import Classifier, Prediction
from ..opening import ImageLike, open_image
from .explorer import Explorer
from .joined import browser_half
from .language import say
from .settings import Choice, ClassIndex, Refused, Whole
from .stills import DESCRIPTION, drawn, panels, titled
from .widget import Source, share

MOST_CLASSES = 20


@dataclass(frozen=True, eq=False, repr=False)
class ScoresResult:
    """What the explorer shows, for further work in a cell.

    Attributes:
        image: the photo, RGB.
        image_name: the name of the photo.
        x: the photo as the network takes it, `(1, C, H, W)`.
        scores: S_c before the softmax, `(classes,)`.
        probabilities: P_c = exp S_c / Σ_k exp S_k, `(classes,)`.
        top: the k classes with the highest scores, best first.
        searched: the class of the search, or None.
        rank: its place among all classes, 1 for the highest score, or None.
    """

    image: Image.Image
    image_name: str
    x: torch.Tensor
    scores: NDArray[np.float64]
    probabilities: NDArray[np.float64]
    top: tuple[Prediction, ...] = ()
    searched: Prediction | None = None
    rank: int | None = None

    def __repr__(self) -> str:
        return f"ScoresResult({self.image_name!r}, {len(self.scores)} scores, top: {self.top[0].label!r})"


class _Wish(NamedTuple):
    source: Source


class ScoresExplorer(Explorer[ScoresResult]):
    """A photo as the network sees it, its k best classes as bars, and the class of a search.

    The browser gets all scores of a photo at once; it decides by itself how many it lists, and how.

    Attributes:
        k: how many classes are listed, 1 to 20.
        shown: what the lengths of the bars mean, "score" or "probability".
        class_index: the class of the search, or None; can be set to what `classifier.find` understands.
    """

    _esm, _css = browser_half("scores")
    stages: ClassVar = {"score": "source"}

    k = Whole(5, "k", 1, MOST_CLASSES).tag(sync=True)
    shown = Choice(("score", "probability"), "score", say("scores.shown")).tag(sync=True)
    class_index = ClassIndex(None, allow_none=True).tag(sync=True)

    def __init__(self, image: ImageLike | Tensor | None = None, classifier: Classifier | None = None) -> None:
        super().__init__(image, classifier)
        self.k = min(self.k, len(self.classifier.labels))
        self._do_now("score")
        self._begin("k", "shown", "class_index")  # the kernel answers the page, although there is nothing to compute

    @property
    def result(self) -> ScoresResult:
        """All that is shown, newly put together; after an error, all of the last photo before it."""
        self.wait()
        seen: ScoresResult = self._result
        order = np.argsort(-seen.scores, kind="stable")
        top = tuple(_prediction(seen, int(c), self.classifier) for c in order[: self.k])
        if self.class_index is None:
            return replace(seen, top=top)
        searched = _prediction(seen, self.class_index, self.classifier)
        return replace(seen, top=top, searched=searched, rank=1 + int((seen.scores > searched.score).sum()))

    @property
    def search(self) -> str:
        """The name of the class of the search, empty for none.

        Can be set to what `classifier.find` understands: an index, a WordNet id or part of a name.
        """
        return "" if self.class_index is None else self.classifier.labels[self.class_index]

    @search.setter
    def search(self, text: str) -> None:
        self.class_index = self.classifier.find(text) if text.strip() else None

    def _find(self, text: str) -> None:
        self.search = text

    def _wish(self) -> _Wish:
        return _Wish(self._source)

    @traitlets.validate("k")
    def _possible_k(self, proposal: dict[str, Any]) -> int:
        k, most = proposal["value"], len(self.classifier.labels)
        if k > most:
            raise Refused(say("scores.too_many", most=most, k=k))
        return int(k)

    def _score(self, wish: _Wish) -> None:
        """Run one forward pass; the other controls change only how its result is shown."""
        given = wish.source.image
        x = self.classifier.prepare(given)
        with torch.no_grad():
            scores = self.classifier.scores(x)[0].cpu().double()
        picture = self.classifier.picture(x)
        image = picture if isinstance(given, torch.Tensor) else open_image(given)
        name = wish.source.name
        probabilities = scores.softmax(0)
        self._result = ScoresResult(image, name, x, scores.numpy(), probabilities.numpy())
        self._tell("scores", np.asarray(picture.convert("RGB")), scores, probabilities, name=name, size=[*picture.size])

    def still(self) -> Image.Image:
        """Draw the photo as the network sees it above its bars, RGB, 340 pixels wide."""
        result = self.result
        rows = [*result.top]
        if result.searched is not None and result.searched not in rows:
            rows.append(result.searched)
        by_score = self.shown == "score"
        chart = figures.score_bars(
            [say("scores.searched", label=each.label) if each == result.searched else each.label for each in rows],
            [each.score if by_score else round(each.probability, 4) for each in rows],
            say("scores.score" if by_score else "scores.probability"),
        )
        chart.set_size_inches(3.4, 0.55 + 0.25 * len(rows))
        photo = self.classifier.picture(result.x).convert("RGB").resize((130, 130), Image.Resampling.BICUBIC)
        name, k = result.image_name.replace("_", " "), len(result.top)
        title = say("scores.best" if k > 1 else "scores.best_one", k=k, classes=len(result.scores))
        page = titled(title, panels((photo, say("scores.photo", name=name))), drawn(chart))
        numbers = "; ".join(f"{each.label} {each.score:.3g}, {share(each.probability)}" for each in rows)
        page.info[DESCRIPTION] += say("scores.numbers", numbers=numbers)
        return page

    def __repr__(self) -> str:
        searched = f", searched: {self.search!r}" if self.search else ""
        return f"ScoresExplorer({self.photo!r}, k={self.k}{searched})"


def _prediction(seen: ScoresResult, c: int, classifier: Classifier) -> Prediction:
    return Prediction(c, classifier.labels[c], float(seen.scores[c]), float(seen.probabilities[c]))


def scores(image: ImageLike | Tensor | None = None, classifier: Classifier | None = None) -> ScoresExplorer:
    """Explore the class scores of a photo: its best classes, and the rank of any other class.

    Args:
        image: anything that `open_image` takes, or a prepared tensor; without it the first of the shipped photos.
        classifier: the network; without one the network that ships with the package.

    Returns:
        A widget that shows itself as a cell's last line; its `result` has scores, probabilities and the rank.

    Raises:
        ValueError: a bad image, or a network that cannot score it.
        TypeError: no image, or no `Classifier`.

    Source: paper, Section 2: the score before the softmax.
    """
    return ScoresExplorer(image, classifier)
