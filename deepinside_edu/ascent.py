"""The numerics of the class model: how images climb, by a line search and walks, or by steps of a given length."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import conv2d, pad

from . import accept
from .classifier import CUT_OFF, Classifier, NotFiniteError, explain_checkpoint

OBJECTIVES = ("score", "probability")
STEP_RULES = ("rising", "fixed", "unit")

BACKTRACKS = 12
"""A line search that has halved its stride this often is held at a kink, and the class walks on."""

MOMENTUM_TRIALS = 3
"""A line search that has failed this often along the momentum goes on along the gradient alone."""

GROWTH = 1.05
"""After each rising step the next stride is this much longer, so that a short one does not stay short. Each stride that
turns out too long costs a forward pass: at 1.05 every fourteenth does, at 1.1 every seventh."""

WALK = 20
"""The strides of one walk. At a kink of S_c no direction is guaranteed to lead up; the zero image is one, because every
pooling window ties there. So a walk follows the gradient of each point that it reaches and only compares heights."""

WAKING = tuple(0.01 * 2**k for k in range(8))
"""Where a score has no gradient, noise of these standard deviations is tried, and the first that gives it one is added
to the start: from half a level of 255 to as much as a photo varies."""


@dataclass(frozen=True)
class Recipe:
    """How the ascent climbs. As it stands it has the paper's objective and nothing else, like the preset "paper".

    J(I) = S_c(I) − λ‖I‖₂², the norm squared, so ∇J = ∂S_c/∂I − 2λI. The paper gives neither λ, nor the optimiser, nor
    the number of steps; here they are ours.

    Attributes:
        steps: how many, at least 1.
        regularisation: λ, at least 0. None is 0.03 for a score and 0.001 for a probability, which is 1 at most.
        objective: "score" is S_c, before the softmax, as in the paper; "probability" is P_c, after it, which the
            paper tried and found less prominent.
        step_rule: what a step does with its direction d = ∇J + momentum · (the last d).
            "rising": J is higher after every step. A backtracking line search looks for the length: it goes along
            d/‖d‖₂ and halves the stride until J is higher than before; after three failures it forgets the momentum.
            The next step begins with a stride 1.05 times longer. Where 12 halvings do not help, the image is at a
            kink of S_c, which ReLU and max-pooling make, and the step walks instead: up to 20 strides of
            `step_size`, each along the direction at the point that the last one reached, until one point is higher
            than all before. If none is, the step walks again from where it began, half as far. The zero image is
            such a kink, so the first step always walks. The ascent ends when strides are too short to change I.
            "unit": one stride of length η along d/‖d‖₂, whether J rises or not.
            "fixed": I + ηd, however long that is. Simple, and diverges if η is large.
        step_size: η of the first step, above 0; "rising" goes on from there by itself.
        last_step_size: for "fixed" and "unit", η of the last step, with a straight line between; None: as the first.
            (In `class_model`, `step_size` or `step_rule` without it means None; so does `blur` without `last_blur`.)
        momentum: at least 0, below 1 (Polyak 1964). Without it an ascent zigzags between the kinks that ReLU and
            max-pooling make.
        jitter: the image is rolled by up to this many pixels, at random, for each gradient (Mordvintsev et al.
            2015, "Inceptionism").
        mirror: for each gradient the image is mirrored or not, at random, because what a class looks like does not
            depend on it.
        samples: each gradient is the mean over this many, each with a jitter and a mirroring of its own (Athalye et
            al. 2017, arXiv 1707.07397, "expectation over transformation").
        exponent: each entry of d is raised to this power, its sign kept, before a "unit" step: below 1 the few
            largest entries count for less. It is steepest ascent for another norm, ℓ_q with q = 1 + 1 / exponent
            (Boyd & Vandenberghe 2004, Section 9.4); 1 is the plain gradient. Above 0, at most 1.
        blur: standard deviation in pixels of a Gaussian blur after a step (Yosinski et al. 2015, arXiv 1506.06579).
        last_blur: that of the last step, with a straight line between; None: as the first.
        blur_every: the blur is applied after every `blur_every`-th step.
        contrast: I is multiplied by this in the last step. Blur and short strides leave pale pictures.
    """

    steps: int = 150
    regularisation: float | None = None
    objective: str = "score"
    step_rule: str = "rising"
    step_size: float = 5.0
    last_step_size: float | None = None
    momentum: float = 0.9
    jitter: int = 0
    mirror: bool = False
    samples: int = 1
    exponent: float = 1.0
    blur: float = 0.0
    last_blur: float | None = None
    blur_every: int = 1
    contrast: float = 1.0

    @property
    def penalty(self) -> float:
        """λ, whether it was chosen or not."""
        usual = 0.03 if self.objective == "score" else 0.001
        return usual if self.regularisation is None else self.regularisation

    def __post_init__(self) -> None:
        """Refuse what cannot be climbed, with the remedy."""
        accept.choice("objective", self.objective, OBJECTIVES)
        accept.choice("step rule", self.step_rule, STEP_RULES)
        self._set("mirror", accept.flag("mirror", self.mirror))
        for name, least, most, remedy in (
            ("steps", 1, None, "150 are a good start."),
            ("blur_every", 1, None, "1 blurs after each step."),
            ("jitter", 0, 10_000, "In pixels; 0 leaves it out."),
            ("samples", 1, 1_000, "Each costs a backward pass in every step; 2 are usual."),
        ):
            self._set(name, accept.whole(name, getattr(self, name), least, most, remedy))
        for name, highest, remedy in (
            ("regularisation", 1e6, "Below 0 it would reward large values without end; 0 leaves it out."),
            ("momentum", 1, "0 leaves it out, 0.9 is usual."),
            ("step_size", math.inf, "Below 0 the ascent would be a descent."),
            ("last_step_size", math.inf, "Below 0 the ascent would be a descent."),
            ("exponent", 1, "1 is the plain gradient."),
            ("contrast", 1e6, "1 leaves it as it is."),
            ("blur", 1e4, "In pixels; 0 leaves it out."),
            ("last_blur", 1e4, "In pixels; None keeps the first."),
        ):
            value = getattr(self, name)
            if value is None and name in ("regularisation", "last_step_size", "last_blur"):
                continue
            self._set(name, accept.number(name, value, 0, highest, remedy))
        if self.momentum == 1:
            raise ValueError("expected a momentum below 1, got 1, which forgets nothing. 0 leaves it out.")
        positive = ("step_size", "last_step_size", "exponent", "contrast")
        still = next((name for name in positive if getattr(self, name) == 0), None)
        if still:
            raise ValueError(f"expected {still} above 0, got 0, with which nothing would be left to see or to climb.")
        if self.exponent != 1 and self.step_rule == "fixed":
            raise ValueError("exponent changes the gradient's length: it needs step_rule='unit'. Or leave it at 1.")
        if self.samples > 1 and not (self.jitter or self.mirror):
            raise ValueError("without jitter or mirror all samples are the same: pass one of them, or samples=1.")
        changed = self.jitter or self.mirror or self.blur or self.last_blur or self.contrast != 1
        if self.step_rule == "rising" and (changed or self.last_step_size is not None):
            raise ValueError(
                "jitter, mirror, blur, contrast and last_step_size do not ask whether J rises: they need "
                "step_rule='unit' or 'fixed'. preset='readable' has them all."
            )

    def _set(self, name: str, value: object) -> None:
        object.__setattr__(self, name, value)  # frozen for everyone else


class Evaluation(NamedTuple):
    """What the network says of a batch of images, and the graph that a gradient needs."""

    x: Tensor  # (N, C, H, W)
    scores: Tensor  # (N, classes)
    objective: Tensor  # (N,)
    value: Tensor  # (N,): S_c or P_c, with its graph
    leaf: Tensor

    def slope(self) -> Tensor:
        """∂S_c/∂I. Each image's score depends on that image alone, so one sum serves them all."""
        g = None
        if self.value.requires_grad:
            with explain_checkpoint():
                (g,) = torch.autograd.grad(self.value.sum(), self.leaf, allow_unused=True)
        if g is None:
            raise ValueError(CUT_OFF)
        return g


class Places(NamedTuple):
    """Where the images of all classes are after a step, and which of them moved."""

    x: Tensor  # (N, C, H, W)
    scores: Tensor  # (N, classes)
    objective: Tensor  # (N,)
    moved: list[int]  # rows


class Point(NamedTuple):
    """A point that a class has reached on a rising ascent."""

    x: Tensor  # I, (1, C, H, W)
    gradient: Tensor  # ∇J at I
    direction: Tensor  # d, along which I was reached


class Climber:
    """One class on a rising ascent: its highest point so far, and where it strides from there."""

    def __init__(self, row: int, x: Tensor, scores: Tensor, objective: float, gradient: Tensor, length: float) -> None:
        self.row, self.length = row, length
        self.scores, self.objective = scores, objective
        self.highest = self.here = Point(x, gradient, torch.zeros_like(x))

    def keep(self, scores: Tensor, objective: float) -> None:
        """Make this point the highest one."""
        self.highest, self.scores, self.objective = self.here, scores, objective

    def go_back(self) -> None:
        """Return to the highest point, for a stride half as long."""
        self.here = self.highest
        self.length /= 2

    def forget(self) -> None:
        """Begin again at the highest point along the gradient alone."""
        self.here = self.highest = self.highest._replace(direction=torch.zeros_like(self.highest.x))

    def can_move(self) -> bool:
        """Whether a stride is long enough to change I."""
        x = self.highest.x
        return self.length > torch.finfo(x.dtype).eps * max(1.0, float(x.norm()))


@dataclass(frozen=True)
class Ascent:
    """What stays the same from the first step to the last."""

    classifier: Classifier
    classes: Tensor  # (N,)
    recipe: Recipe
    random: torch.Generator

    def evaluate(
        self, x: Tensor, rows: slice | list[int] = slice(None), transform: Callable[[Tensor], Tensor] | None = None
    ) -> Evaluation:
        """Compute J(I) = S_c(I) − λ‖I‖₂², where the network may see I transformed."""
        leaf = x.detach().requires_grad_()
        scores = self.classifier.scores(transform(leaf) if transform else leaf)
        of_all = scores if self.recipe.objective == "score" else scores.softmax(1)
        value = of_all.gather(1, self.classes[rows, None])[:, 0]
        objective = widen(value.detach()) - self.recipe.penalty * widen(x).square().sum((1, 2, 3))
        if not bool(objective.isfinite().all()):
            raise NotFiniteError("the objective is not finite.")
        return Evaluation(x, scores.detach(), objective, value, leaf)

    def gradient(self, at: Evaluation) -> Tensor:
        """∇J = ∂S_c/∂I − 2λI."""
        return at.slope() - 2 * self.recipe.penalty * at.x

    def sample_gradient(self, x: Tensor) -> Tensor:
        """Compute the mean of ∇J over images that are rolled, and mirrored or not, at random."""
        total, most = torch.zeros_like(x), self.recipe.jitter
        for _ in range(self.recipe.samples):
            shift = torch.randint(-most, most + 1, (2,), generator=self.random, device="cpu").tolist()
            mirrored = self.recipe.mirror and bool(torch.randint(2, (), generator=self.random, device="cpu"))
            total += self.gradient(self.evaluate(x, transform=partial(_transform, shift=shift, mirrored=mirrored)))
        return total / self.recipe.samples

    # The start

    def begin(self, start: Tensor) -> tuple[Places, Tensor, list[float]]:
        """Give the start, ∇J there, and the noise that each class's image got so that its score has a gradient."""
        x, noise, slope = start.clone(), [0.0] * len(start), torch.full_like(start, math.nan)
        scores, objective = dict[int, Tensor](), dict[int, Tensor]()
        # A generator of its own, so that the jitter is what it always is.
        random = torch.Generator("cpu").manual_seed(self.random.initial_seed())
        held, images, why = list(range(len(start))), start, NotFiniteError("the gradient is not finite.")
        for sigma in (0.0, *WAKING):
            if sigma:
                grain = torch.randn(start.shape[1:], generator=random, dtype=torch.float32, device="cpu").to(start)
                images = start[held] + sigma * grain
            for rows, found in self._evaluate_each(images, held):
                if isinstance(found, NotFiniteError):
                    why = found
                    continue
                x[rows], slope[rows] = found.x, found.slope()
                for place, i in enumerate(rows):
                    scores[i], objective[i], noise[i] = found.scores[place], found.objective[place], sigma
            steepest = slope.abs().amax((1, 2, 3))
            held = (~((steepest > 0) & steepest.isfinite())).nonzero()[:, 0].tolist()
            if not held:
                break
        for c, most in zip(self.classes.tolist(), steepest.tolist(), strict=True):
            if most == 0:
                raise ValueError(
                    f"the {self.recipe.objective} of {self.classifier.labels[c]!r} ({c}) does not change with the "
                    f"image at this start, nor with noise of up to {WAKING[-1]:g} added to it: a ReLU holds it, or the "
                    "softmax is saturated. Begin with a photo of the class."
                )
            if not math.isfinite(most):
                raise why
        here, height = (torch.stack([each[i] for i in range(len(x))]) for each in (scores, objective))
        return Places(x, here, height, list(range(len(x)))), slope - 2 * self.recipe.penalty * x, noise

    def _evaluate_each(self, x: Tensor, rows: list[int]) -> Iterator[tuple[list[int], Evaluation | NotFiniteError]]:
        """Evaluate all images at once, or each alone if one of them has no finite score."""
        try:
            yield rows, self.evaluate(x, rows)
        except NotFiniteError as error:
            if len(rows) == 1:
                yield rows, error
            else:
                for i in range(len(rows)):
                    yield from self._evaluate_each(x[i : i + 1], rows[i : i + 1])

    def climb(self, start: Places, gradient: Tensor) -> Iterator[Places]:
        """Go from step to step, as the recipe's rule says."""
        return (self._rise if self.recipe.step_rule == "rising" else self._take_steps)(start, gradient)

    # "rising"

    def _rise(self, start: Places, gradients: Tensor) -> Iterator[Places]:
        """Each step ends at a point where J is higher than at all points before."""
        climbers = [
            Climber(i, start.x[i : i + 1], start.scores[i], float(start.objective[i]), g[None], self.recipe.step_size)
            for i, g in enumerate(gradients)
        ]
        moving = climbers
        for number in itertools.count(1):
            held = self._search_line(moving) if number > 1 else moving
            self._walk(held)
            moving = [climber for climber in moving if climber.can_move()]
            if not moving:
                return
            for climber in moving:
                climber.length *= GROWTH
            x, scores = torch.cat([c.highest.x for c in climbers]), torch.stack([c.scores for c in climbers])
            heights = torch.tensor([c.objective for c in climbers], dtype=start.objective.dtype, device=x.device)
            yield Places(x, scores, heights, [climber.row for climber in moving])

    def _search_line(self, climbers: list[Climber]) -> list[Climber]:
        """Halve each stride until J is higher than before, and say which climbers are held at a kink."""
        for trial in range(1, BACKTRACKS + 1):
            climbers = self._stride([climber for climber in climbers if climber.can_move()])
            for climber in climbers:
                climber.go_back()
                if trial == MOMENTUM_TRIALS:
                    climber.forget()
        for climber in climbers:
            climber.length = self.recipe.step_size
        return climbers

    def _walk(self, climbers: list[Climber]) -> None:
        """Follow the gradient from point to point until J is higher than before; in vain, walk again, half as far."""
        while climbers:
            for _ in range(WALK):
                climbers = self._stride([climber for climber in climbers if climber.can_move()], walking=True)
            for climber in climbers:
                climber.go_back()

    def _stride(self, climbers: list[Climber], walking: bool = False) -> list[Climber]:
        """Move each by one stride along d/‖d‖₂, and give those that have not reached a new height."""
        if not climbers:
            return []
        recipe = self.recipe
        ways = [recipe.momentum * climber.here.direction + climber.here.gradient for climber in climbers]
        ahead = [
            climber.here.x + climber.length * _bearing(raise_entries(way, recipe.exponent))
            for climber, way in zip(climbers, ways, strict=True)
        ]
        try:
            x = torch.cat(ahead) if len(ahead) > 1 else ahead[0]
            found = self.evaluate(x, [climber.row for climber in climbers])
        except NotFiniteError:  # the stride is so long that numbers overflow
            if len(climbers) > 1:
                return [each for climber in climbers for each in self._stride([climber], walking)]
            climbers[0].go_back()
            return climbers
        heights = found.objective.tolist()
        higher = [height > climber.objective for height, climber in zip(heights, climbers, strict=True)]
        if walking or any(higher):
            gradients = self.gradient(found)
            for i, climber in enumerate(climbers):
                climber.here = Point(x[i : i + 1], gradients[i : i + 1], ways[i])
                if higher[i]:
                    climber.keep(found.scores[i], heights[i])
        return [climber for climber, risen in zip(climbers, higher, strict=True) if not risen]

    # "unit" and "fixed"

    def _take_steps(self, start: Places, gradient: Tensor) -> Iterator[Places]:
        """Each step goes along d/‖d‖₂, or d, as far as the recipe says."""
        recipe, x = self.recipe, start.x
        direction = torch.zeros_like(x)
        sampled = recipe.jitter > 0 or recipe.mirror
        for number in itertools.count(1):
            share = (number - 1) / max(recipe.steps - 1, 1)
            gradient = self.sample_gradient(x) if sampled else gradient
            direction = recipe.momentum * direction + gradient
            size = _interpolate(recipe.step_size, recipe.last_step_size, share)
            unit = recipe.step_rule == "unit"
            x = x + size * (to_unit_length(raise_entries(direction, recipe.exponent)) if unit else direction)
            if number % recipe.blur_every == 0:
                x = blur(x, _interpolate(recipe.blur, recipe.last_blur, share))
            if number == recipe.steps:
                x = recipe.contrast * x
            found = self.evaluate(x)
            yield Places(x, found.scores, found.objective, start.moved)
            gradient = gradient if sampled else self.gradient(found)


def to_unit_length(x: Tensor) -> Tensor:
    """Divide each image of the batch by its length ‖·‖₂; zero stays zero."""
    tiny = torch.finfo(x.dtype).tiny
    x = x / x.abs().amax((1, 2, 3), keepdim=True).clamp_min(tiny)  # so that no square overflows
    norm: Tensor = torch.linalg.vector_norm(x, dim=(1, 2, 3), keepdim=True)
    return x / norm.clamp_min(tiny)


def _bearing(d: Tensor) -> Tensor:
    """Compute d/‖d‖₂ of one image. Checking the norm first is cheaper than always guarding against overflow."""
    norm: Tensor = torch.linalg.vector_norm(d, dim=(1, 2, 3), keepdim=True)
    return d / norm if torch.finfo(d.dtype).tiny ** 0.5 < float(norm) < math.inf else to_unit_length(d)


def widen(x: Tensor) -> Tensor:
    """Convert to float32 at least: an image's square is too large for float16, and J's rises too small for bfloat16."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


def raise_entries(x: Tensor, exponent: float) -> Tensor:
    """Raise the absolute values to a power and keep their signs."""
    return x if exponent == 1 else x.sign() * x.abs() ** exponent


def blur(x: Tensor, sigma: float) -> Tensor:
    """Blur with a Gaussian, rows then columns; beyond its border the image is mirrored."""
    if not sigma:
        return x
    radius = min(math.ceil(3 * sigma), x.shape[2] - 1, x.shape[3] - 1)
    distance = torch.arange(-radius, radius + 1, dtype=x.dtype, device=x.device)
    kernel = torch.exp(-(distance / sigma).square() / 2)
    kernel = (kernel / kernel.sum()).repeat(x.shape[1], 1)
    x = pad(x, (radius,) * 4, mode="reflect")
    x = conv2d(x, kernel[:, None, :, None], groups=x.shape[1])
    return conv2d(x, kernel[:, None, None, :], groups=x.shape[1])


def _interpolate(first: float, last: float | None, share: float) -> float:
    return first if last is None else first + (last - first) * share


def _transform(x: Tensor, shift: list[int], mirrored: bool) -> Tensor:
    return (x.flip(3) if mirrored else x).roll(shift, (2, 3))
