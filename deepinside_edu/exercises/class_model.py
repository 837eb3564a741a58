"""Checks of lesson 4's exercises: the gradient of the objective, and the picture of a class image."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from functools import cache
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from .answer import Array
from .exercise import ANYTHING, Answered, Exercise, Probe
from .small_network import slope_by_differences, small_network
from .verdict import Verdict

LEVEL = 1.0
"""How many levels of 255 an answer may be off, because rounding and truncating are both right."""


def check_gradient(function: Callable[..., Any]) -> Verdict:
    """Check a learner's ∇J = ∂S_c/∂x − 2λx of the objective J(x) = S_c(x) − λ‖x‖₂².

    Args:
        function: from (network, x, c, lam) to a tensor or an array of x's shape: `network` gives scores
            `(1, classes)`, `x` is `(1, 3, H, W)`, `c` the class index, `lam` λ.

    Returns:
        A `Verdict` that names the mistakes if they are known ones.
    """
    return _gradient_exercise().check(function)


def check_picture(function: Callable[..., Any]) -> Verdict:
    """Check a learner's way from a class image to a picture: 255 (std · x + mean), whole levels from 0 to 255.

    Args:
        function: from (x, mean, std) to uint8 levels `(H, W, 3)`: `x` is `(1, 3, H, W)` in normalised space, `mean`
            and `std` are tuples with one number per channel on the scale 0..1.

    Returns:
        A `Verdict` that names the mistakes if they are known ones.
    """
    return _picture_exercise().check(function)


@cache
def _gradient_exercise() -> Exercise:
    network = small_network()
    generator = torch.Generator().manual_seed(4)
    x, other = (0.5 * torch.randn(1, 3, *size, generator=generator) for size in ((5, 6), (4, 7)))
    probes = [
        Probe((network, image, c, lam), _by_differences(network, image, c, lam), words)
        for image, c, lam, words in (
            (x, 1, 0.0, "c = 1 and lam = 0 (J is S_c alone)"),
            (x, 1, 0.3, "c = 1 and lam = 0.3"),
            (other, 2, 0.1, "c = 2, lam = 0.1 and x of shape (1, 3, 4, 7)"),
        )
    ]
    return Exercise(
        probes=probes,
        praise="You climb the slope of the score, descend the slope of the penalty, and leave out the softmax.",
        expected="a gradient, shaped like x",
        knobs=(_CLASS, _VALUE, _PENALTY, _STEP),
        mistaken=_mistaken_gradient,
        remark=lambda probe, at: f"There x is {probe.given[1][at]:.3g}.",
        about_shape=lambda got, probe: (
            "Is that J itself? The gradient has a number for each entry of x." if got == () else ""
        ),
        untouched="Your function changes x itself, but the step comes later. Work on x.clone().",
        hints={
            "does not require grad": "Call requires_grad_() on x.clone() before the network sees it.",
            "does not have a grad_fn": "Call requires_grad_() on x.clone() before the network sees it.",
            "not have been used": "Take the gradient with respect to the very tensor that the network saw.",
            "scalar outputs": "The scores are (1, classes): take scores[0, c], one number.",
        },
        most=3,
    )


def _by_differences(network: nn.Module, x: Tensor, c: int, lam: float) -> Array:
    """∇J without autograd."""
    exact = deepcopy(network).double()

    def objective(images: Tensor) -> Tensor:
        scores: Tensor = exact(images)
        return scores[:, c] - lam * images.square().sum((1, 2, 3))

    return np.asarray(slope_by_differences(objective, x).numpy(), np.float64)


_CLASS: dict[str, Callable[[Tensor, int], int]] = {
    "": lambda scores, c: c,
    "This climbs the class that the network predicts: take scores[0, c].": lambda scores, c: int(scores.argmax()),
} | {
    f"This climbs class {k} whatever c is: take scores[0, c].": lambda scores, c, k=k: k for k in (0, 1, 2)
}  # fmt: skip
_VALUE: dict[str, Callable[[Tensor, int], Tensor]] = {
    "": lambda scores, c: scores[0, c],
    "The score's sign is reversed: this descends S_c.": lambda scores, c: -scores[0, c],
    "This is the gradient of the probability P_c: the paper climbs the score, before the softmax.": (
        lambda scores, c: scores.softmax(1)[0, c]
    ),
    "This is the gradient of log P_c: the paper climbs the score, before the softmax.": (
        lambda scores, c: scores.log_softmax(1)[0, c]
    ),
    "This is the gradient of the cross-entropy, −log P_c: the paper climbs the score, before the softmax.": (
        lambda scores, c: -scores.log_softmax(1)[0, c]
    ),
    "This climbs the sum of all scores: take scores[0, c].": lambda scores, c: scores.sum(),
    "This climbs the mean of all scores: take scores[0, c].": lambda scores, c: scores.mean(),
    "This climbs the squared score: take scores[0, c] as it is.": lambda scores, c: scores[0, c] ** 2,
    "Nothing is left of the score's slope, only the penalty's remains. (A softmax over axis 0, the batch, is 1 for "
    "one image, and 1 has no slope.)": lambda scores, c: 0 * scores.sum(),
}
_UNSQUARED = "The norm is not squared: x/‖x‖ is the slope of λ‖x‖"
_PENALTY: dict[str, Callable[[Array, float], Any]] = {
    "": lambda x, lam: -2 * lam * x,
    "The penalty's sign is reversed: subtract its slope, 2λx.": lambda x, lam: 2 * lam * x,
    "The factor 2 is forgotten: the derivative of x² is 2x.": lambda x, lam: -lam * x,
    "The factor 2 is forgotten, and the penalty's sign is reversed: the term is − 2λx.": lambda x, lam: lam * x,
    "The factor 2 is there twice: the derivative of x² is 2x.": lambda x, lam: -4 * lam * x,
    f"{_UNSQUARED}. The paper has λ‖x‖², with slope 2λx.": lambda x, lam: -lam * x / np.linalg.norm(x),
    f"{_UNSQUARED} (without a 2). The paper has λ‖x‖², with slope 2λx.": (
        lambda x, lam: -2 * lam * x / np.linalg.norm(x)
    ),
    "The norm is not squared, and the penalty's sign is reversed: the term is − 2λx.": (
        lambda x, lam: lam * x / np.linalg.norm(x)
    ),
    "You use the mean of x²: the paper's penalty is the sum, with slope 2λx.": lambda x, lam: -2 * lam * x / x.size,
    "You subtract the penalty itself, λ‖x‖²: subtract its slope, 2λx.": lambda x, lam: -lam * np.square(x).sum(),
    "You subtract the penalty itself, λx²: subtract its slope, 2λx.": lambda x, lam: -lam * np.square(x),
    "You use the sum of |x|: the paper squares x, with slope 2λx.": lambda x, lam: -lam * np.sign(x),
    "The factor λ is forgotten in the penalty: the term is − 2λx.": lambda x, lam: -2 * x,
    "The factor λ is squared in the penalty: the term is − 2λx.": lambda x, lam: -2 * lam**2 * x,
    "The factor x is forgotten in the penalty: the term is − 2λx.": lambda x, lam: -2 * lam,
    "The penalty is missing: subtract 2λx.": lambda x, lam: 0.0,
}
_STEP: dict[str, Callable[[Array, Array], Array]] = {
    "": lambda slope, x: slope,
    "All signs are reversed: this is a descent. To climb, return J's own gradient.": lambda slope, x: -slope,
    "You divided by the length: leave the gradient as long as it is.": (
        lambda slope, x: slope / (np.linalg.norm(slope) or 1)
    ),
    "You divided by the largest entry: leave the gradient as long as it is.": (
        lambda slope, x: slope / np.abs(slope).max()
    ),
    "You kept only the signs: leave the gradient's numbers as they are.": lambda slope, x: np.sign(slope),
    "This is x after a step: return the gradient alone.": lambda slope, x: x + slope,
    "This is x after a step of 0.1: return the gradient alone.": lambda slope, x: x + 0.1 * slope,
    "The gradient is multiplied by x: leave it as it is.": lambda slope, x: x * slope,
    "The size of each entry is right, but signs are lost: leave the abs out.": lambda slope, x: np.abs(slope),
}


_SLOPES: dict[tuple[Any, ...], Array] = {}
"""Hundreds of combinations of mistakes share a few slopes."""


def _mistaken_gradient(
    probe: Probe,
    class_of: Callable[[Tensor, int], int],
    value: Callable[[Tensor, int], Tensor],
    penalty: Callable[[Array, float], Any],
    step: Callable[[Array, Array], Array],
) -> Array:
    network, x, c, lam = probe.given
    plane = x.double().numpy()
    key = (value, class_of, c, plane.tobytes())
    if key not in _SLOPES:
        with torch.enable_grad():
            leaf = x.double().requires_grad_()
            scores = deepcopy(network).double()(leaf)
            (slope,) = torch.autograd.grad(value(scores, class_of(scores, c)), leaf)
        _SLOPES[key] = np.asarray(slope.numpy(), np.float64)
    return step(_SLOPES[key] + penalty(plane, lam), plane)


@cache
def _picture_exercise() -> Exercise:
    probes = []
    generator = torch.Generator().manual_seed(1)
    # Means differ, so that channels in a wrong order show; values go beyond 0..255 on both sides; sizes differ.
    for height, width, mean, std in (
        (4, 6, (0.55, 0.4, 0.25), (0.3, 0.2, 0.25)),
        (5, 3, (0.3, 0.5, 0.6), (0.2, 0.25, 0.15)),
    ):
        x = 1.5 * torch.randn(1, 3, height, width, generator=generator)
        right = np.empty((height, width, 3))
        for i, j, channel in np.ndindex(height, width, 3):
            level = 255 * (float(x[0, channel, i, j]) * std[channel] + mean[channel])
            right[i, j, channel] = min(max(level, 0.0), 255.0)
        words = f"x of shape (1, 3, {height}, {width}), mean = {mean} and std = {std}"
        probes.append(Probe((x, mean, std), right, words, slack=LEVEL))
    return Exercise(
        probes=probes,
        praise="You added the mean colour once, made whole levels, and clipped what is too dark or too bright.",
        expected="a picture, height first and colours last",
        knobs=(_LAYOUT, _INSTEAD, _INPUT, _MEAN, _SPREAD, _ORDER, _FACTOR, _LIMITS),
        mistaken=_mistaken_picture,
        forms={},
        remark=_remark_on_picture,
        about_shape=_about_shape_of_picture,
        symptom=_nearly_black,
        dtype=("uint8", "a picture has whole levels, dtype uint8, and yours has others: end with .astype(np.uint8)."),
        untouched="Your function changes x itself, but the next step still needs it. Do not write into it.",
        hints={
            "must match the size": "Colours come last: x[0].permute(1, 2, 0) is (H, W, 3), so that mean and std fit.",
            "broadcast": "Colours come last: x[0].permute(1, 2, 0) is (H, W, 3), so that mean and std fit.",
        },
    )


def _nearly_black(answered: Answered) -> str:
    if any(answer.values.size == 0 or answer.values.max() > 1 for _, answer in answered):
        return ""
    return "No level is above 1, so the picture is almost black: levels go from 0 to 255. Is the factor 255 missing?"


_LAYOUT: dict[str, Callable[[Array], Array]] = {
    "": lambda x: x.transpose(1, 2, 0),
    "A reshape does not move the channels, it mixes pixels: use x[0].permute(1, 2, 0).": (
        lambda x: x.reshape(*x.shape[1:], 3)
    ),
    "The picture stands upside down: keep the order of the rows.": lambda x: x.transpose(1, 2, 0)[::-1],
    "The picture is mirrored: keep the order of the columns.": lambda x: x.transpose(1, 2, 0)[:, ::-1],
    "Rows and columns are swapped, but height comes first: use x[0].permute(1, 2, 0).": lambda x: x.transpose(2, 1, 0),
    "Colours must be last: use x[0].permute(1, 2, 0).": lambda x: x,
}
_EARLY = "You clip x before the normalising is undone: clip the levels, at the end."
_INPUT: dict[str, Callable[[Array, Array, Array], Array]] = {
    "": lambda plane, mean, std: plane,
    _EARLY: lambda plane, mean, std: plane.clip(0, 1),
    _EARLY + " ": lambda plane, mean, std: plane.clip(-1, 1),
    _EARLY + "  ": lambda plane, mean, std: plane.clip(min=0),
    "You take |x|: keep its sign.": lambda plane, mean, std: np.abs(plane),
}
_INSTEAD: dict[str, Callable[[Array, Array, Array], Array] | None] = {
    "": None,
    "You show x itself, as if it were a picture: undo the normalising, std · x + mean.": lambda plane, mean, std: plane,
    "You normalise again, (x − mean) / std: undo it, std · x + mean.": lambda plane, mean, std: (plane - mean) / std,
    "You stretched the values to 0..255: that is another picture. Undo the normalising: std · x + mean.": (
        lambda plane, mean, std: (plane - plane.min()) / np.ptp(plane)
    ),
    "You stretched each channel to 0..255: that is another picture. Undo the normalising: std · x + mean.": (
        lambda plane, mean, std: (plane - plane.min((0, 1))) / np.ptp(plane, (0, 1))
    ),
    "You mapped −1..1 to 0..255: that is another picture. Undo the normalising: std · x + mean.": (
        lambda plane, mean, std: (plane + 1) / 2
    ),
    "You sent x through a sigmoid: that is another picture. Undo the normalising: std · x + mean.": (
        lambda plane, mean, std: 1 / (1 + np.exp(-plane))
    ),
}
"""What is done instead of undoing the normalising."""

_ONE_MEAN = "The mean is one number for all channels: each channel has its own."
_MEAN: dict[str, Callable[[Array, Array], Any]] = {
    "": lambda mean, std: mean,
    "The mean is added twice: zero in normalised space is the mean colour already, so add it once.": (
        lambda mean, std: 2 * mean
    ),
    "The mean is added twice, once before std: zero in normalised space is the mean colour already.": (
        lambda mean, std: mean + std * mean
    ),
    "The mean is not added: a zero image would be black instead of the mean colour.": lambda mean, std: 0.0,
    "The mean is subtracted instead of added.": lambda mean, std: -mean,
    "The mean is added before x is multiplied by std: multiply first, std · x + mean.": lambda mean, std: std * mean,
    _ONE_MEAN: lambda mean, std: mean.mean(),
    _ONE_MEAN + " ": lambda mean, std: mean[0],
    "You always add 0.5 as the mean colour: add the mean that is given.": lambda mean, std: 0.5,
    "You add ImageNet's mean, whatever is given: add the mean that is given.": (
        lambda mean, std: np.array([0.485, 0.456, 0.406])
    ),
}
_SPREAD: dict[str, Callable[[Array], Any]] = {
    "": lambda std: std,
    "The factor std is forgotten: normalising divided by it, so multiply by it.": lambda std: 1.0,
    "You divide by std: normalising did so already, so multiply by it.": lambda std: 1 / std,
    "You multiply by std twice: once is enough.": lambda std: std**2,
    "The sign of x is reversed.": lambda std: -std,
    "You use one spread for all channels: each channel has its own std.": lambda std: std.mean(),
    "You use ImageNet's std, whatever is given: use the std that is given.": (
        lambda std: np.array([0.229, 0.224, 0.225])
    ),
}
_ORDER = {
    "": [0, 1, 2],
    "Red and blue are swapped: keep the order of the channels.": [2, 1, 0],
    "All three channels show red: keep each channel's own numbers.": [0, 0, 0],
}
_FACTOR = {
    "": 255.0,
    "Levels are multiplied by 100: they go from 0 to 255.": 100.0,
    "Levels are multiplied by 128: they go from 0 to 255.": 128.0,
}
_LIMITS: dict[str, Callable[[Array], Array]] = {
    "": lambda levels: levels.clip(0, 255),
    "The picture is a negative: each level is 255 minus the right one.": lambda levels: 255 - levels.clip(0, 255),
    "You take abs of a negative level, but it is darker than black: clip it to 0.": (
        lambda levels: np.abs(levels).clip(0, 255)
    ),
    "Only the upper end is clipped: a level below 0 wraps around in uint8. Clip at 0 as well.": (
        lambda levels: np.where(levels >= 0, levels.clip(max=255), ANYTHING)
    ),
    "Only the lower end is clipped: a level above 255 wraps around in uint8. Clip at 255 as well.": (
        lambda levels: np.where(levels <= 255, levels.clip(min=0), ANYTHING)
    ),
    "You forgot to clip: a level below 0 or above 255 wraps around in uint8. Clip first, then convert.": (
        lambda levels: np.where((levels >= 0) & (levels <= 255), levels, ANYTHING)  # processors do not agree on these
    ),
}


def _mistaken_picture(
    probe: Probe,
    layout: Callable[[Array], Array],
    instead: Callable[[Array, Array, Array], Array] | None,
    first: Callable[[Array, Array, Array], Array],
    mean_of: Callable[[Array, Array], Any],
    spread: Callable[[Array], Any],
    order: list[int],
    factor: float,
    limits: Callable[[Array], Array],
) -> Array:
    x, mean, std = probe.given[0][0].double().numpy(), np.array(probe.given[1]), np.array(probe.given[2])
    plane = first(x.transpose(1, 2, 0), mean, std)
    plane = instead(plane, mean, std) if instead else plane * spread(std) + mean_of(mean, std)
    levels = limits(factor * plane)[:, :, order]
    if (levels == ANYTHING).any() and ((levels > 0) & (levels < 255)).mean() < 0.2:
        raise ValueError("Almost all levels wrap around, are black or white: too few are left to recognise a mistake.")
    return layout(levels.transpose(2, 0, 1))


def _remark_on_picture(probe: Probe, at: tuple[int, ...]) -> str:
    if len(at) != 3:
        return ""
    x, mean, std = probe.given
    i, j, channel = at
    value, colour = float(x[0, channel, i, j]), ("red", "green", "blue")[channel]
    level = 255 * (value * std[channel] + mean[channel])
    clipped = "" if 0 <= level <= 255 else f", clipped to {min(max(level, 0), 255):.0f}"
    return (
        f"There x is {value:.2f} in {colour}, and 255 · ({std[channel]:g} · {value:.2f} + {mean[channel]:g}) is "
        f"{level:.0f}{clipped}."
    )


def _about_shape_of_picture(got: tuple[int, ...], probe: Probe) -> str:
    height, width, _ = probe.right.shape
    if got in ((3, height, width), (1, 3, height, width)):
        return "Colours come last: x[0].permute(1, 2, 0)."
    if got == (width, height, 3):
        return "Height comes first: x and y are swapped."
    return ""
