"""Explore a score and its tangent line: walk away from the photo and see where the line leaves the score."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import numpy as np
import torch
import traitlets
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from .. import images
from ..classifier import Classifier
from ..opening import ImageLike
from .explorer import ClassExplorer
from .joined import browser_half
from .language import say
from .settings import Choice, Number, ReadOnly
from .stills import drawn, panels, titled
from .widget import Source, in_words

FAR = 2.0 ** (np.arange(-27, 19) / 3)
PLACES = np.concatenate([-FAR[::-1], [0.0], FAR])
"""Where scores are computed: 1/512 to 64 root-mean-square grey levels (of 255) from the photo, to either side.

Three places per doubling, so that the curve is as detailed at every reach of the chart.
"""

REACHES = (0.01, 0.05, 0.25, 1, 4, 16, 64)
"""How far the chart can reach on either side of the photo, in levels."""

AT_ONCE = 6
"""Places in one batch; a newer wish is noticed between two batches."""

HOLDS = 1.0
"""The line holds while its error is at most this, in units of score."""

BLUE, ORANGE = "#0072b2", "#c85a00"

SIDE = 224
"""The side of the photo in the still picture, in pixels."""

DIRECTIONS = "gradient", "noise", "grey", "another photo"


class _Wish(NamedTuple):
    source: Source
    class_index: int | None
    direction: str


@dataclass(frozen=True, eq=False)
class TaylorResult:
    """What the explorer shows, for further work in a cell.

    Attributes:
        class_index: c.
        x: I₀, the photo as the network takes it, `(1, C, H, W)`.
        direction: d, `(1, C, H, W)` in normalised space, one root-mean-square level of 255 long.
        s: the distances along d, `(93,)`, ascending from −64 to 64 levels.
        scores: S_c(I₀ + s·d), `(93,)`.
        score: S_c(I₀).
        slope: wᵀd; the line is score + slope · s.
        holds: (from, to), the farthest s on either side up to which line and score differ by at most 1.
    """

    class_index: int
    x: Tensor
    direction: Tensor
    s: NDArray[np.float64]
    scores: NDArray[np.float64]
    score: float
    slope: float
    holds: tuple[float, float]

    def __repr__(self) -> str:
        start, end = self.holds
        return f"TaylorResult(class {self.class_index}, the line holds from {start:.2g} to {end:.2g} levels)"


class TaylorExplorer(ClassExplorer[TaylorResult | None]):
    """A photo on its way along a direction, its score, and the line wᵀI + b; `result` has the numbers.

    Attributes:
        direction: "gradient" (w itself), "noise", "grey" (towards the mean colour), or "another photo".
        s: the distance along it in root-mean-square levels of 255, −64 to 64, rounded to the nearest of `places`.
        places: every s at which a score is computed.
    """

    _esm, _css = browser_half("taylor")
    stages: ClassVar = {"rank": "source", "look": "source", "walk": "direction"}

    direction = Choice(DIRECTIONS, DIRECTIONS[0], say("taylor.direction")).tag(sync=True)
    s = Number(0.0, say("taylor.s"), PLACES[0], PLACES[-1]).tag(sync=True)
    places = ReadOnly(PLACES.tolist()).tag(sync=True)
    reaches = ReadOnly(list(REACHES)).tag(sync=True)

    def __init__(self, image: ImageLike | Tensor | None = None, classifier: Classifier | None = None) -> None:
        super().__init__(image, classifier)
        self._do_now("rank")
        self._begin("direction", "s")  # the page draws another s by itself; the kernel only answers

    def _wish(self) -> _Wish:
        return _Wish(self._source, self._chosen, self.direction)

    @traitlets.validate("s")
    def _nearest_place(self, proposal: dict[str, Any]) -> float:
        return float(PLACES[np.abs(PLACES - proposal["value"]).argmin()])

    def _look(self, wish: _Wish) -> None:
        """Send I₀ once per photo; it does not depend on class and direction."""
        x = self._x(wish.source)
        self._tell("photo", _levels(self.classifier, x, mean=True), size=[*x.shape[:1:-1]])

    def _walk(self, wish: _Wish) -> str:
        """Send the line at once, after one backward pass; then the scores, nearest places first."""
        c = self._wanted_class(wish).class_index
        x, line = self._x(wish.source), self._line(wish, c)
        d, far = self._along(wish, x, line.w)
        score = float(line.score)
        slope = float((line.w.cpu().double() * d.cpu().double()).sum())  # float64 is not on every device
        scores = np.where(PLACES == 0, score, np.nan)
        self._tell_walk(wish, c, scores, score, slope)
        self._tell("way", _levels(self.classifier, d, mean=False), direction=wish.direction, far=far)
        nearest_first = np.argsort(np.abs(PLACES), kind="stable")[1:]
        for some in np.split(nearest_first, range(AT_ONCE, len(nearest_first), AT_ONCE)):
            self._drop_if_old(wish)
            steps = torch.from_numpy(PLACES[some]).to(x.dtype).to(x.device)[:, None, None, None]
            with torch.no_grad():
                scores[some] = self.classifier.scores(x + steps * d)[:, c].cpu().double().numpy()
            holds = self._tell_walk(wish, c, scores, score, slope)
        self._result = TaylorResult(c, x, d, PLACES.copy(), scores, score, slope, holds)
        return "" if line.w.any() else say("taylor.level")

    def _tell_walk(
        self, wish: _Wish, c: int, scores: NDArray[np.float64], score: float, slope: float
    ) -> tuple[float, float]:
        """Send the line and the scores so far, NaN where none is yet; return how far the line holds by them."""
        there = np.isfinite(scores)
        holds = _holds(PLACES[there], (scores - score - slope * PLACES)[there])
        self._tell(
            "walk", scores, score=score, slope=slope, holds=holds, reach=_reach(holds), done=bool(there.all()),
            label=self.classifier.labels[c], direction=wish.direction,
        )  # fmt: skip
        return holds

    def _along(self, wish: _Wish, x: Tensor, w: Tensor) -> tuple[Tensor, float | None]:
        """d, one root-mean-square level long (or 0 everywhere), and the distance of its goal, if it has one."""
        if wish.direction == "gradient":
            d = w
        elif wish.direction == "noise":
            random = torch.Generator("cpu").manual_seed(0)
            d = torch.randn(x.shape, generator=random, dtype=torch.float32, device="cpu").to(x)
        elif wish.direction == "grey":
            d = -x
        else:
            d = self.classifier.prepare(_after(wish.source.image), (x.shape[2], x.shape[3])) - x
        std = x.new_tensor(self.classifier.std)[:, None, None]
        length = (255 * std * d).square().mean().sqrt()
        far = float(length) if wish.direction in ("grey", "another photo") else None
        return (d / length if length > 0 else d), far

    def still(self) -> Image.Image:
        """Draw the photo s levels along d and, beside it, its score and the line over s."""
        result = self.result
        if result is None:
            return titled(say("taylor.nothing", message=self.message))
        photo = self.classifier.picture(result.x + self.s * result.direction).convert("RGB").resize((SIDE, SIDE))
        start, end = result.holds
        row = panels(
            (photo, say("taylor.photo", s=self.s, along=say(f"taylor.along_{self.direction}"))),
            (_chart(result, self.s), say("taylor.holds", start=start, end=end, slope=result.slope)),
        )
        return titled(in_words(self._wanted_class(self._wish())), row)

    def __repr__(self) -> str:
        label = self.classifier.labels[self.class_index]
        return f"TaylorExplorer({self.photo!r}, {label!r}, along {self.direction!r}, s = {self.s:.3g})"


def _after(image: object) -> images.Photo:
    """The shipped photo after this one; after a learner's own photo the first."""
    every = images.photos()
    return every[(every.index(image) + 1) % len(every)] if isinstance(image, images.Photo) else every[0]


def _levels(classifier: Classifier, x: Tensor, mean: bool) -> NDArray[np.float32]:
    """The levels (of 255, not rounded) of an image; without the mean, how far a direction moves each level."""
    std, middle = (x.new_tensor(each)[:, None, None] for each in (classifier.std, classifier.mean))
    levels = 255 * (x[0] * std + (middle if mean else 0))
    return levels.permute(1, 2, 0).expand(-1, -1, 3).float().cpu().contiguous().numpy()


def _holds(s: NDArray[np.float64], wrong: NDArray[np.float64]) -> tuple[float, float]:
    """The last place on either side of 0 before the first with an error of the line above HOLDS."""
    within = np.abs(wrong) <= HOLDS
    start, end = s[(s < 0) & ~within].max(initial=-np.inf), s[(s > 0) & ~within].min(initial=np.inf)
    inside = s[(s > start) & (s < end)]
    return float(inside.min()), float(inside.max())


def _reach(holds: tuple[float, float]) -> float:
    """The first reach of the chart: 1.5 times as far as the line holds, so that one sees it leave the score."""
    return next((reach for reach in REACHES if reach >= 1.5 * max(-holds[0], holds[1])), REACHES[-1])


def _chart(result: TaylorResult, s: float) -> Image.Image:
    """A chart of the score and the line around the photo, as far as the page shows them, with a mark at s."""
    from matplotlib.figure import Figure

    reach = max(_reach(result.holds), abs(s))
    shown = np.abs(result.s) <= reach
    places, scores = result.s[shown], result.scores[shown]
    air = 0.12 * float(np.ptp(scores)) or 1.0
    figure = Figure((3.6, SIDE / 100), layout="constrained")
    axes = figure.add_subplot()
    axes.plot(places, scores, color=BLUE, label=say("taylor.score"))
    axes.plot(places, result.score + result.slope * places, "--", color=ORANGE, label=say("taylor.line"))
    axes.axvline(s, color="black", linewidth=0.8, linestyle=":")
    axes.set(xlim=(-reach, reach), ylim=(scores.min() - air, scores.max() + air), ylabel=say("taylor.y"))
    axes.set_xlabel(say("taylor.x"), fontsize=8)
    axes.tick_params(labelsize=8)
    axes.legend(fontsize=7)
    return drawn(figure)


def taylor(image: ImageLike | Tensor | None = None, classifier: Classifier | None = None) -> TaylorExplorer:
    """Explore how far from the photo the line S_c(I₀) + s·wᵀd stays close to the score S_c(I₀ + s·d).

    Args:
        image: anything that `open_image` takes, or a prepared tensor; without it the first of the shipped photos.
        classifier: the network; without one the network that ships with the package.

    Returns:
        A widget that shows itself as a cell's last line; its `result` has places, scores, slope and direction.

    Raises:
        ValueError: a bad image, or a network that cannot score it.
        TypeError: no image, or no `Classifier`.

    Source: paper, Section 3, equations 3 and 4.
    """
    return TaylorExplorer(image, classifier)
