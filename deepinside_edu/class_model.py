"""Gradient ascent on a class score, one step at a time: the image that the network likes best for a class."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, overload

import torch
from PIL import Image
from torch import Tensor

from . import accept
from .ascent import Ascent, Places, Recipe, widen
from .classifier import Classifier, NotFiniteError, check_classifier
from .images import all_finite
from .names import is_one
from .opening import ImageLike
from .trial import own_mode

NOISE = 0.1
"""Standard deviation of the start "noise", in normalised space: about six of 255 levels."""

PRESETS = {
    "paper": Recipe(),
    "readable": Recipe(
        steps=150, regularisation=5e-4, step_rule="unit", step_size=10.0, last_step_size=4.0, momentum=0.0,
        jitter=32, mirror=True, samples=2, exponent=0.5, blur=0.5, last_blur=0.3, contrast=2.0,
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
    """The objective is not finite any more.

    Attributes:
        last: the last good step, number 0 if that was the start; of several classes a tuple.

    Example:
        >>> try:
        ...     list(di.class_model(classifier, "goldfish", step_rule="fixed", step_size=1e30))
        ... except di.DivergedError as error:
        ...     print(error.last.number)
        0
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

    Some scores have no gradient at the start, so nothing says which way is up. SqueezeNet's last ReLU holds eight of
    1,000 scores at 0 at the zero image, and a network that standardises each image, (x − mean) / std, computes 0 / 0
    for an image of one colour. Only such a class begins from the start plus faint noise. The noise is normal; it is
    drawn by `random_state` with standard deviations of 0.01, 0.02, 0.04 … 1.28 until there is a gradient, and
    `Step.noise` says which one it was. The paper does not say what it did with such classes.

    Args:
        classifier: the network; nothing of it is changed.
        class_index: c, an index, a name or a WordNet id. Several of them, in a list or a tensor, climb side by side in
            one batch, which is faster than one after the other.
        preset: "paper" is the paper's objective and nothing else; "readable" adds later work's regularisers.
        start: "zero" (the mean colour, as in the paper), "noise", or a photo: whatever `open_image` takes, or a
            tensor `(1, C, H, W)`, or `(N, C, H, W)` for N classes.
        random_state: of noise, jitter and mirror, from 0 on. The same call gives the same bits on the same machine.
        options: any attribute of `Recipe` in the place of the preset's: `steps=50, regularisation=0.01`.

    Returns:
        An iterator of `Step`, one for each of `steps`; if there are several classes, of tuples of one `Step` per class.
        A rising ascent ends early if it finds no higher point; in a batch such a class keeps its last step, which is
        number 0 if it never left the start.

    Raises:
        ValueError: an unknown class, preset, objective or rule, a number out of range, a start of the wrong size, a
            class whose score does not depend on the image, neither at the start nor with noise added to it.
        TypeError: an unknown option, or one of another type.
        DivergedError: (a ValueError, while iterating) the objective is not finite any more. It has the last good step.

    Source: paper, Section 2.

    Example:
        >>> steps = list(di.class_model(classifier, "goldfish", steps=3))
        >>> steps[2].number, steps[2].picture.size, steps[0].score < steps[2].score
        (3, (224, 224), True)
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
        ascent = Ascent(classifier, torch.tensor(classes, device=x.device), recipe, random)
    steps = _climb(ascent, x)
    return steps if several else _unpack_single(steps)


def _unpack_single(steps: Iterator[tuple[Step, ...]]) -> Iterator[Step]:
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
    # If only the first value is given, it is kept for the whole run.
    ends = {f"last_{name}": None for name in ("step_size", "blur") if name in options}
    if "step_rule" in options:
        ends["last_step_size"] = None
    return replace(PRESETS[preset], **ends | options)


def _start(classifier: Classifier, start: ImageLike | Tensor, count: int, random: torch.Generator) -> Tensor:
    """Make the images to begin with, `(count, C, H, W)`, in memory of their own."""
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


def _climb(ascent: Ascent, x: Tensor) -> Iterator[tuple[Step, ...]]:
    """Turn the places of an ascent into steps, and numbers that overflow into an error that says what to lower."""
    recipe, everyone = ascent.recipe, range(len(x))
    with own_mode(x.device):
        try:
            start, gradient, noise = ascent.begin(x)
        except NotFiniteError as error:
            raise ValueError(
                f"at the start {error} Faint noise added to it does not help. Begin with start='noise', or with a "
                f"picture: start=classifier.prepare(picture); or lower regularisation={recipe.penalty:g}."
            ) from error
        latest = _make_steps(ascent, 0, start, {}, noise)
    climbing = ascent.climb(start, gradient)
    for number in range(1, recipe.steps + 1):
        try:
            with own_mode(x.device):
                places = next(climbing, None)
        except NotFiniteError as error:
            raise DivergedError(
                f"the ascent diverged in step {number}: {error} Lower step_size={recipe.step_size:g}, or use "
                "step_rule='rising', which halves a step that is too long. The last good step is this error's `last`.",
                tuple(latest[i] for i in everyone),
            ) from error
        if places is None:
            if number > 1:
                return
            raise ValueError(
                "the start is a peak already: no step from it leads higher. Pass start='noise', or a photo: "
                "start=di.photo('macaw')."
            )
        with own_mode(x.device):
            latest = _make_steps(ascent, number, places, latest, noise)
        yield tuple(latest[i] for i in everyone)


def _make_steps(
    ascent: Ascent, number: int, places: Places, before: dict[int, Step], noise: list[float]
) -> dict[int, Step]:
    """Make a step for each class that moved; the others keep their last."""
    probabilities = widen(places.scores).softmax(1)
    moved = {}
    for i in places.moved:
        c = int(ascent.classes[i])
        score, probability, objective = places.scores[i, c], probabilities[i, c], places.objective[i]
        moved[i] = Step(
            number, c, places.x[i : i + 1], places.scores[i], float(score), float(probability), float(objective),
            ascent.classifier, noise[i],
        )  # fmt: skip
    return before | moved
