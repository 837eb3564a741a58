"""Gradient ascent on a class score, one step at a time: the image that the network likes best for a class."""

from __future__ import annotations

import difflib
import itertools
import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, fields, replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, overload

import torch
from PIL import Image
from torch import Tensor
from torch.nn.functional import conv2d, pad

from . import accept
from .classifier import CUT_OFF, Classifier, NotFiniteError, check_classifier
from .images import all_finite
from .names import is_one
from .opening import ImageLike
from .trial import own_mode

OBJECTIVES = ("score", "probability")
STEP_RULES = ("rising", "fixed", "unit")

PATIENCE = 20
"""At a kink of S_c no direction need lead up: a flat start is one, where every pooling window ties. There a rising
ascent walks so many strides, wherever they lead; if none is higher than where it began, it walks again, half as far."""

BACKTRACKS = 12
"""A rising step that was halved this often is held at a kink and walks on."""

LONGER = 1.05
"""After each rising step the next stride is this much longer, so that a short one does not stay short. Each stride that
turns out too long costs a forward pass: at 1.05 every fourteenth does, at 1.1 every seventh."""

MOMENTUM_TRIALS = 3
"""A rising step that fails this often along the momentum is tried along the gradient alone."""

NOISE = 0.1
"""Standard deviation of the start "noise", in normalised space: about six of 255 levels."""

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
            "rising": a stride along d/‖d‖₂, halved until J is higher than before; the next one is tried 1.05 times
            longer, and after three failures d starts again from ∇J. At a kink, such as the flat start, it is a walk
            of up to 20 strides, wherever they lead, until one is higher. So J rises in every step.
            "unit": one stride of length η along d/‖d‖₂, wherever it leads.
            "fixed": I + ηd, however long that is. Simple, and diverges if η is large.
        step_size: η of the first step, above 0; "rising" goes on from there by itself.
        last_step_size: for "fixed" and "unit", η of the last step, with a straight line between; None: as the first.
            (In `class_model`, `step_size` or `step_rule` without it means None; so does `blur` without `last_blur`.)
        momentum: at least 0, below 1 (Polyak 1964). Without it an ascent zigzags between the kinks that ReLU and
            max-pooling make.
        jitter: the image is rolled by up to this many pixels, at random, for each gradient (Mordvintsev et al.
            2015, "Inceptionism").
        mirror: for each gradient the image is seen in the mirror or not, at random (as jitter is: what a class looks
            like does not depend on it).
        glances: the gradient is the mean of so many, each with a jitter and a mirroring of its own (Athalye et al.
            2017, arXiv 1707.07397, "expectation over transformation").
        power: each entry of d is raised to this power, its sign kept, before a "unit" step: below 1 the few largest
            entries count for less. It is steepest ascent for another norm, ℓ_q with q = 1 + 1 / power (Boyd &
            Vandenberghe 2004, Section 9.4); 1 is the plain gradient. Above 0, at most 1.
        blur: standard deviation in pixels of a Gaussian blur now and then (Yosinski et al. 2015, arXiv 1506.06579).
        last_blur: that of the last step, with a straight line between; None: as the first.
        blur_every: it follows every so manieth step.
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
    glances: int = 1
    power: float = 1.0
    blur: float = 0.0
    last_blur: float | None = None
    blur_every: int = 1
    contrast: float = 1.0

    @property
    def weight(self) -> float:
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
            ("glances", 1, 1_000, "Each costs a backward pass in every step; 2 are usual."),
        ):
            self._set(name, accept.whole(name, getattr(self, name), least, most, remedy))
        for name, highest, remedy in (
            ("regularisation", 1e6, "Below 0 it would reward large values without end; 0 leaves it out."),
            ("momentum", 1, "0 leaves it out, 0.9 is usual."),
            ("step_size", math.inf, "Below 0 the ascent would be a descent."),
            ("last_step_size", math.inf, "Below 0 the ascent would be a descent."),
            ("power", 1, "1 is the plain gradient."),
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
        still = next((n for n in ("step_size", "last_step_size", "power", "contrast") if getattr(self, n) == 0), None)
        if still:
            raise ValueError(f"expected a {still} above 0, got 0, with which nothing would be left to see or to climb.")
        if self.power != 1 and self.step_rule == "fixed":
            raise ValueError("power changes the gradient's length: it needs step_rule='unit'. Or leave it at 1.")
        if self.glances > 1 and not (self.jitter or self.mirror):
            raise ValueError("without jitter or mirror all glances see the same: pass one of them, or glances=1.")
        changed = self.jitter or self.mirror or self.blur or self.last_blur or self.contrast != 1
        if self.step_rule == "rising" and (changed or self.last_step_size is not None):
            raise ValueError(
                "jitter, mirror, blur, contrast and last_step_size do not ask whether J rises: they need "
                "step_rule='unit' or 'fixed'. preset='readable' has them all."
            )

    def _set(self, name: str, value: object) -> None:
        object.__setattr__(self, name, value)  # frozen for everyone else


PRESETS = {
    "paper": Recipe(),
    "readable": Recipe(
        steps=150, regularisation=5e-4, step_rule="unit", step_size=10.0, last_step_size=4.0, momentum=0.0,
        jitter=32, mirror=True, glances=2, power=0.5, blur=0.5, last_blur=0.3, contrast=2.0,
    ),
}  # fmt: skip
"""Two recipes that must not be mixed up: the paper's own, and one with later work's regularisers."""


@dataclass(frozen=True, eq=False)
class Step:
    """One step of the ascent for one class.

    Attributes:
        number: 1 for the first.
        class_index: c.
        image: I, `(1, C, H, W)`, in normalised space.
        scores: of all classes at I, before the softmax, `(classes,)`: the target's and its rivals'.
        score: S_c at I.
        probability: P_c at I, after the softmax.
        objective: J at I.
        noise: standard deviation of the noise that was added to the start, because the score had no gradient there,
            or was no number; 0 if it had one.
    """

    number: int
    class_index: int
    image: Tensor
    scores: Tensor
    score: float
    probability: float
    objective: float
    classifier: Classifier = field(repr=False)
    noise: float = 0.0

    @property
    def picture(self) -> Image.Image:
        """I as a picture of 8-bit levels: the mean colour added once, then clipped to 0..255, nothing stretched."""
        return self.classifier.picture(self.image)

    def __repr__(self) -> str:
        """Say where the ascent is in one line."""
        return (
            f"Step({self.number}, {self.classifier.labels[self.class_index]}, S_c {self.score:.4g}, "
            f"P_c {self.probability:.3g}, J {self.objective:.4g}"
            + (f", noise {self.noise:g} added to the start)" if self.noise else ")")
        )


class DivergedError(ValueError):
    """The objective is no finite number any more.

    Attributes:
        last: the last good step, number 0 if that was the start; of several classes a tuple.
    """

    def __init__(self, message: str, last: Any) -> None:
        super().__init__(message)
        self.last = last


@overload
def class_model(
    classifier: Classifier,
    class_index: int | str,
    preset: str = ...,
    *,
    start: ImageLike | Tensor = ...,
    random_state: int = ...,
    **options: Any,
) -> Iterator[Step]: ...
@overload
def class_model(
    classifier: Classifier,
    class_index: Iterable[int],
    preset: str = ...,
    *,
    start: ImageLike | Tensor = ...,
    random_state: int = ...,
    **options: Any,
) -> Iterator[tuple[Step, ...]]: ...
def class_model(
    classifier: Classifier,
    class_index: int | str | Iterable[int],
    preset: str = "paper",
    *,
    start: ImageLike | Tensor = "zero",
    random_state: int = 0,
    **options: Any,
) -> Iterator[Step] | Iterator[tuple[Step, ...]]:
    """Climb to an image that maximises a class score: arg max over I of S_c(I) − λ‖I‖₂², step by step.

    The weights stay as they are, only the image moves. Nothing is computed before the first step is asked for, and
    nothing after the last one that is: a loop, a progress bar and a widget all drive the same iterator.

    Where the score of a class has no gradient at the start, nothing says which way is up: SqueezeNet's last ReLU holds
    eight of 1,000 scores at 0 at the zero image. Nor does it where a network standardises each image, (x − mean) / std:
    at an image of one colour that is 0 / 0. Such a class, and no other, begins from the start plus faint noise:
    normal, drawn by `random_state` anew for each standard deviation of 0.01, 0.02, 0.04 … 1.28, until there is a
    gradient. `Step.noise` tells which it was. The paper does not say what it did with such classes.

    Args:
        classifier: the network; nothing of it is changed.
        class_index: c, an int (or what `classifier.find` understands). Several of them, in a list or a tensor, climb
            side by side in one batch, which is faster than one after the other.
        preset: "paper" is the paper's objective and nothing else; "readable" adds later work's regularisers.
        start: "zero" (the mean colour, as in the paper), "noise", or a photo: whatever `open_image` takes, or a
            tensor `(1, C, H, W)`, or `(N, C, H, W)` for N classes.
        random_state: of noise, jitter and mirror, from 0 on. The same call gives the same bits on the same machine.
        options: any attribute of `Recipe` in the place of the preset's: `steps=50, regularisation=0.01`.

    Returns:
        An iterator of `Step`, one for each of `steps`; of tuples of `Step`, one for each class, if there are several.
        A rising ascent ends early where it finds no higher point; in a batch such a class keeps its last step, which
        is number 0 if it never left the start.

    Raises:
        ValueError: an unknown class, preset, objective or rule, a number out of range, a start of the wrong size, a
            class whose score does not depend on the image, neither at the start nor with noise added to it.
        TypeError: an unknown option, or one of another kind.
        DivergedError: (a ValueError, while iterating) the objective is not finite any more. It has the last good step.

    Source: paper, Section 2.
    """
    check_classifier(classifier)
    recipe = _recipe(preset, options)
    several = not is_one(class_index)
    classes = classifier.find_all(class_index)
    if not classes:
        raise ValueError("expected at least one class, got none. Pass an index, a name, or a list of them.")
    random = torch.Generator("cpu").manual_seed(accept.random_state(random_state))
    with own_mode(classifier.device):
        x = _start(classifier, start, len(classes), random)
        ascent = _Ascent(classifier, torch.tensor(classes, device=x.device), recipe, random)
    steps = _climb(ascent, x)
    return steps if several else _alone(steps)


def _alone(steps: Iterator[tuple[Step, ...]]) -> Iterator[Step]:
    try:
        for (step,) in steps:
            yield step
    except DivergedError as error:
        error.last = error.last[0]
        raise


def _recipe(preset: str, options: dict[str, Any]) -> Recipe:
    accept.choice("preset", preset, PRESETS)
    names = [each.name for each in fields(Recipe)]
    unknown = next((name for name in options if name not in names), None)
    if unknown is not None:
        near = difflib.get_close_matches(unknown, names, n=1)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        raise TypeError(f"class_model has no option {unknown!r}; there are {', '.join(names)}.{hint}")
    # Who says how it begins means it to stay so, unless the end is said too.
    ends = {f"last_{name}": None for name in ("step_size", "blur") if name in options}
    if "step_rule" in options:
        ends["last_step_size"] = None
    return replace(PRESETS[preset], **ends | options)


def _start(classifier: Classifier, start: ImageLike | Tensor, count: int, random: torch.Generator) -> Tensor:
    """The images to begin with, `(count, C, H, W)`, nobody else's memory."""
    shape = (count, len(classifier.mean), *classifier.size)
    if isinstance(start, str) and start == "zero":
        x = torch.zeros(shape, device="cpu")
    elif isinstance(start, str) and start == "noise":
        x = (NOISE * torch.randn(shape[1:], generator=random, dtype=torch.float32, device="cpu")).expand(shape)
    elif isinstance(start, Tensor):
        if start.ndim != 4 or start.shape[0] not in (1, count) or start.shape[1:] != shape[1:]:
            first = "1" if count == 1 else f"1 or {count}"
            raise ValueError(
                f"expected a start ({first}, {', '.join(map(str, shape[1:]))}), the network's own size, got "
                f"{tuple(start.shape)}. Pass the picture itself, or classifier.prepare(picture)."
            )
        if not start.is_floating_point() or not all_finite(start):
            raise ValueError("expected a start of finite floats in normalised space. Use classifier.prepare(picture).")
        x = start.detach().expand(shape)
    elif isinstance(start, str) and not Path(start).exists():
        raise ValueError(
            f"expected the start 'zero', 'noise' or a photo, such as di.photo('macaw'), and there is no file {start!r}."
        )
    else:
        x = classifier.prepare(start).expand(shape)
    return x.to(classifier.device, classifier.dtype).clone(memory_format=torch.channels_last)


class _View(NamedTuple):
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
            try:
                (g,) = torch.autograd.grad(self.value.sum(), self.leaf, allow_unused=True)
            except RuntimeError as error:
                if "use_reentrant" not in str(error):
                    raise
                raise ValueError(
                    "a reentrant checkpoint in the network's forward gives no gradient for the image alone. Call "
                    "torch.utils.checkpoint.checkpoint(…, use_reentrant=False) there."
                ) from error
        if g is None:
            raise ValueError(CUT_OFF)
        return g


class _Climber:
    """One class on a rising ascent: the highest point so far, and where it strides from there."""

    def __init__(self, row: int, x: Tensor, scores: Tensor, objective: float, gradient: Tensor, length: float) -> None:
        self.row, self.length = row, length
        self.x, self.scores, self.objective, self.gradient = x, scores, objective, gradient
        self.here, self.slope = x, gradient
        self.momentum = self.direction = self.before = torch.zeros_like(x)

    def reach(self, scores: Tensor, objective: float) -> None:
        """Here it is higher than ever before."""
        self.x, self.scores, self.objective = self.here, scores, objective
        self.gradient, self.momentum = self.slope, self.direction

    def go_back(self) -> None:
        """To the highest point, for a stride half as long."""
        self.here, self.slope = self.x, self.gradient
        self.direction = self.before = self.momentum
        self.length /= 2

    def bearing(self, power: float) -> Tensor:
        """The direction at length 1. To ask for its length first is quicker than to be ready for an overflow."""
        d = _raised(self.direction, power)
        norm: Tensor = torch.linalg.vector_norm(d, dim=(1, 2, 3), keepdim=True)
        return d / norm if torch.finfo(d.dtype).tiny ** 0.5 < float(norm) < math.inf else _unit(d)

    def forget(self) -> None:
        """Begin again along the gradient alone."""
        self.momentum = self.direction = self.before = torch.zeros_like(self.x)


class _Place(NamedTuple):
    """Where the classes are after a step, and which of them it moved."""

    x: Tensor
    scores: Tensor
    objective: Tensor
    going: Tensor  # rows of the classes that moved


def _as_it_is(x: Tensor) -> Tensor:
    return x


def _glance(x: Tensor, shift: list[int], mirrored: bool) -> Tensor:
    return (x.flip(3) if mirrored else x).roll(shift, (2, 3))


@dataclass(frozen=True)
class _Ascent:
    """What stays the same from the first step to the last."""

    classifier: Classifier
    classes: Tensor  # (N,)
    recipe: Recipe
    random: torch.Generator

    def look(
        self, x: Tensor, rows: slice | Tensor = slice(None), seen: Callable[[Tensor], Tensor] = _as_it_is
    ) -> _View:
        """J(I) = S_c(I) − λ‖I‖₂², where the network may see I in another way than it is."""
        leaf = x.detach().requires_grad_()
        scores = self.classifier.scores(seen(leaf))
        of_all = scores if self.recipe.objective == "score" else scores.softmax(1)
        value = of_all.gather(1, self.classes[rows, None])[:, 0]
        objective = _wide(value.detach()) - self.recipe.weight * _wide(x).square().sum((1, 2, 3))
        if not bool(objective.isfinite().all()):
            raise NotFiniteError("the objective is not finite.")
        return _View(x, scores.detach(), objective, value, leaf)

    def gradient(self, view: _View) -> Tensor:
        """∇J = ∂S_c/∂I − 2λI."""
        return view.slope() - 2 * self.recipe.weight * view.x

    def awake(self, start: Tensor) -> tuple[_Place, Tensor, list[float]]:
        """The start, ∇J there, and the noise that each class's image was given so that its score has a gradient."""
        everyone = torch.arange(len(start), device=start.device)
        x, noise, slope = start.clone(), [0.0] * len(start), torch.full_like(start, math.nan)
        scores, objective = dict[int, Tensor](), dict[int, Tensor]()
        # Numbers of its own: the jitter is what it always is.
        random = torch.Generator("cpu").manual_seed(self.random.initial_seed())
        held, images, why = everyone, start, NotFiniteError("the gradient is not finite.")
        for sigma in (0.0, *WAKING):
            if sigma:
                grain = torch.randn(start.shape[1:], generator=random, dtype=torch.float32, device="cpu").to(start)
                images = start[held] + sigma * grain
            for rows, view in self.looks(images, held):
                if isinstance(view, NotFiniteError):
                    why = view
                    continue
                x[rows], slope[rows] = view.x, view.slope()
                for place, i in enumerate(rows.tolist()):
                    scores[i], objective[i], noise[i] = view.scores[place], view.objective[place], sigma
            steepest = slope.abs().amax((1, 2, 3))
            held = (~((steepest > 0) & steepest.isfinite())).nonzero()[:, 0]
            if not len(held):
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
        begun = _Place(x, here, height, everyone)
        return begun, slope - 2 * self.recipe.weight * x, noise

    def looks(self, x: Tensor, rows: Tensor) -> Iterator[tuple[Tensor, _View | NotFiniteError]]:
        """What the network says of all images at once, or of each alone if one of them has no finite score."""
        try:
            yield rows, self.look(x, rows)
        except NotFiniteError as error:
            if len(rows) == 1:
                yield rows, error
            else:
                for i in range(len(rows)):
                    yield from self.looks(x[i : i + 1], rows[i : i + 1])

    def rising(self, start: _Place, gradients: Tensor) -> Iterator[_Place]:
        """Stride until J is higher than before, from the same point and half as long if it is not."""
        recipe, eps = self.recipe, torch.finfo(start.x.dtype).eps
        climbers = [
            _Climber(i, start.x[i : i + 1], start.scores[i], float(start.objective[i]), g[None], recipe.step_size)
            for i, g in enumerate(gradients)
        ]
        going = climbers
        for number in itertools.count(1):
            left = going
            shortest = [eps * max(1.0, float(climber.x.norm())) for climber in climbers]
            for trial in itertools.count(1 if number > 1 else BACKTRACKS + 1):
                walking = trial > BACKTRACKS
                left = self.stride(left, walking)
                for climber in left:
                    if not walking or (trial - BACKTRACKS) % PATIENCE == 0:
                        climber.go_back()
                    if trial == MOMENTUM_TRIALS:
                        climber.forget()
                    if trial == BACKTRACKS:
                        climber.length = recipe.step_size
                left = [climber for climber in left if climber.length > shortest[climber.row]]
                if not left:
                    break
            going = [climber for climber in going if climber.length > shortest[climber.row]]
            if not going:
                return
            for climber in going:
                climber.length *= LONGER
            x, scores = torch.cat([each.x for each in climbers]), torch.stack([each.scores for each in climbers])
            heights = torch.tensor([each.objective for each in climbers], dtype=start.objective.dtype, device=x.device)
            yield _Place(x, scores, heights, torch.tensor([climber.row for climber in going], device="cpu"))

    def stride(self, group: list[_Climber], walking: bool) -> list[_Climber]:
        """Move some climbers by one stride, and say which have reached no new height."""
        for climber in group:
            climber.direction = self.recipe.momentum * climber.direction + climber.slope
        ahead = [each.here + each.length * each.bearing(self.recipe.power) for each in group]
        try:
            rows = torch.tensor([climber.row for climber in group], device=self.classes.device)
            view = self.look(torch.cat(ahead) if len(ahead) > 1 else ahead[0], rows)
        except NotFiniteError:  # so long a stride that numbers overflow
            if len(group) > 1:
                for climber in group:
                    climber.direction = climber.before
                return [each for climber in group for each in self.stride([climber], walking)]
            group[0].go_back()
            return group
        heights = view.objective.tolist()
        higher = [height > climber.objective for height, climber in zip(heights, group, strict=True)]
        slopes = self.gradient(view) if walking or any(higher) else None
        for i, climber in enumerate(group):
            climber.here, climber.before = view.x[i : i + 1], climber.direction
            if slopes is not None:
                climber.slope = slopes[i : i + 1]
            if higher[i]:
                climber.reach(view.scores[i], heights[i])
        return [climber for climber, risen in zip(group, higher, strict=True) if not risen]

    def striding(self, start: _Place, gradient: Tensor) -> Iterator[_Place]:
        """Each step goes along d, or d/‖d‖, as far as the recipe says."""
        recipe, x = self.recipe, start.x
        direction = torch.zeros_like(x)
        glances = recipe.jitter > 0 or recipe.mirror
        going = torch.arange(len(x), device=x.device)
        for number in itertools.count(1):
            share = (number - 1) / max(recipe.steps - 1, 1)
            gradient = self.glances(x) if glances else gradient
            direction = recipe.momentum * direction + gradient
            size = _between(recipe.step_size, recipe.last_step_size, share)
            x = x + size * (_unit(_raised(direction, recipe.power)) if recipe.step_rule == "unit" else direction)
            if number % recipe.blur_every == 0:
                x = _blurred(x, _between(recipe.blur, recipe.last_blur, share))
            if number == recipe.steps:
                x = recipe.contrast * x
            view = self.look(x)
            yield _Place(x, view.scores, view.objective, going)
            gradient = gradient if glances else self.gradient(view)

    def glances(self, x: Tensor) -> Tensor:
        """The mean gradient of some glances at each image: rolled, and perhaps in the mirror, at random."""
        total = torch.zeros_like(x)
        for _ in range(self.recipe.glances):
            most = self.recipe.jitter
            shift = torch.randint(-most, most + 1, (2,), generator=self.random, device="cpu").tolist()
            mirrored = self.recipe.mirror and bool(torch.randint(2, (), generator=self.random, device="cpu"))
            total += self.gradient(self.look(x, seen=partial(_glance, shift=shift, mirrored=mirrored)))
        return total / self.recipe.glances


def _climb(ascent: _Ascent, x: Tensor) -> Iterator[tuple[Step, ...]]:
    """Turn the places of an ascent into steps, and numbers that overflow into an error that says what to lower."""
    recipe, everyone = ascent.recipe, range(len(x))
    with own_mode(x.device):
        try:
            start, gradient, noise = ascent.awake(x)
        except NotFiniteError as error:
            raise ValueError(
                f"at the start {error} Faint noise added to it does not help. Begin with start='noise', or with a "
                f"picture: start=classifier.prepare(picture); or lower regularisation={recipe.weight:g}."
            ) from error
        latest = _steps(ascent, 0, start, {}, noise)
    places = (ascent.rising if recipe.step_rule == "rising" else ascent.striding)(start, gradient)
    for number in range(1, recipe.steps + 1):
        try:
            with own_mode(x.device):
                place = next(places, None)
        except NotFiniteError as error:
            raise DivergedError(
                f"the ascent diverged in step {number}: {error} Lower step_size={recipe.step_size:g}, or use "
                "step_rule='rising', which halves a step that is too long. The last good step is this error's `last`.",
                tuple(latest[i] for i in everyone),
            ) from error
        if place is None:
            if number > 1:
                return
            raise ValueError("the start is a peak already: no step from it leads higher. Begin somewhere else.")
        with own_mode(x.device):
            latest = _steps(ascent, number, place, latest, noise)
        yield tuple(latest[i] for i in everyone)


def _steps(
    ascent: _Ascent, number: int, place: _Place, before: dict[int, Step], noise: list[float]
) -> dict[int, Step]:
    """A step for each class that moved; the others keep their last."""
    probabilities = _wide(place.scores).softmax(1)
    moved = {}
    for i in place.going.tolist():
        c = int(ascent.classes[i])
        score, probability, objective = place.scores[i, c], probabilities[i, c], place.objective[i]
        moved[i] = Step(
            number, c, place.x[i : i + 1], place.scores[i], float(score), float(probability), float(objective),
            ascent.classifier, noise[i],
        )  # fmt: skip
    return before | moved


def _unit(x: Tensor) -> Tensor:
    """Each image of the batch divided by its length ‖·‖₂; zero stays zero."""
    tiny = torch.finfo(x.dtype).tiny
    x = x / x.abs().amax((1, 2, 3), keepdim=True).clamp_min(tiny)  # so that no square overflows
    norm: Tensor = torch.linalg.vector_norm(x, dim=(1, 2, 3), keepdim=True)
    return x / norm.clamp_min(tiny)


def _wide(x: Tensor) -> Tensor:
    """In float32 at least: the square of an image is beyond float16, and J rises by less than bfloat16 can tell."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


def _raised(x: Tensor, power: float) -> Tensor:
    return x if power == 1 else x.sign() * x.abs() ** power


def _between(first: float, last: float | None, share: float) -> float:
    return first if last is None else first + (last - first) * share


def _blurred(x: Tensor, sigma: float) -> Tensor:
    """A Gaussian blur, rows then columns, that sees the image mirrored beyond its border."""
    if not sigma:
        return x
    radius = min(math.ceil(3 * sigma), x.shape[2] - 1, x.shape[3] - 1)
    distance = torch.arange(-radius, radius + 1, dtype=x.dtype, device=x.device)
    kernel = torch.exp(-(distance / sigma).square() / 2)
    kernel = (kernel / kernel.sum()).repeat(x.shape[1], 1)
    x = pad(x, (radius,) * 4, mode="reflect")
    x = conv2d(x, kernel[:, None, :, None], groups=x.shape[1])
    return conv2d(x, kernel[:, None, None, :], groups=x.shape[1])


def _is_one_of(names: Iterable[str], value: object) -> bool:
    return isinstance(value, str) and value in tuple(names)
