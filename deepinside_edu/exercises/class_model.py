"""Checks of lesson 4's exercises: the gradient of the objective, and the picture of a class image."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from copy import deepcopy
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from .saliency import TOLERANCE, _small_network
from .verdict import Verdict, ask

Array = NDArray[np.float64]

LEVEL = 1.01
"""Levels of 255 that an answer may be off: rounding and cutting off are both right."""


def check_gradient(function: Callable[..., Any]) -> Verdict:
    """Check a learner's ∇J = ∂S_c/∂x − 2λx of the objective J(x) = S_c(x) − λ‖x‖₂².

    Args:
        function: from (network, x, c, lam) to a tensor or an array of x's shape: `network` gives scores
            `(1, classes)`, `x` is `(1, 3, H, W)`, `c` the class index, `lam` λ.

    Returns:
        A `Verdict` that names the mistake, or several, where they are known ones.
    """
    network, c, lam = _small_network(), 1, 0.3
    x = 0.5 * torch.randn(1, 3, 5, 6, generator=torch.Generator().manual_seed(4))
    given = x.clone()
    answer = ask(function, network, given, c, lam)
    if not torch.equal(given.detach(), x):
        return Verdict(False, "Your function changes x itself, but the step comes later. Work on x.clone().")
    got = _to_array(answer, tuple(x.shape))
    if isinstance(got, Verdict):
        return got
    if _close(got, _by_differences(network, x, c, lam)):
        return Verdict(True, "Up the slope of the score, down the slope of the penalty, and nothing of the softmax.")
    return Verdict(False, _gradient_mistake(got, network, x, c, lam))


def _by_differences(network: nn.Module, x: Tensor, c: int, lam: float) -> Array:
    """∇J without autograd: each entry of x is moved a little up and down."""
    step = 1e-6
    double = x.double()
    moves = step * torch.eye(double.numel(), dtype=torch.float64).reshape(-1, *double.shape[1:])
    exact = deepcopy(network).double()

    def objective(images: Tensor) -> Tensor:
        scores: Tensor = exact(images)
        return scores[:, c] - lam * images.square().sum((1, 2, 3))

    with torch.no_grad():
        slope = (objective(double + moves) - objective(double - moves)) / (2 * step)
    return np.asarray(slope.reshape(double.shape).numpy(), np.float64)


_Values = Sequence[tuple[str, Callable[[Tensor], Tensor]]]


def _gradient_mistake(got: Array, network: nn.Module, x: Tensor, c: int, lam: float) -> str:
    values: _Values = (
        ("", lambda scores: scores[0, c]),
        ("The score's sign is turned round: this walks down S_c.", lambda scores: -scores[0, c]),
        (
            "This is the gradient of the probability P_c: the paper climbs the score, before the softmax.",
            lambda scores: scores.softmax(1)[0, c],
        ),
        (
            "This is the gradient of log P_c: the paper climbs the score, before the softmax.",
            lambda scores: scores.log_softmax(1)[0, c],
        ),
        ("This climbs the class that the network predicts: take scores[0, c].", lambda scores: scores.max()),
        ("This climbs the sum of all scores: take scores[0, c].", lambda scores: scores.sum()),
        ("The score is missing: only the penalty is left.", lambda scores: 0 * scores.sum()),
    )
    plane = x.double().numpy()
    norm = float(np.linalg.norm(plane))
    penalties = (
        ("", -2 * lam * plane),
        ("The penalty's sign is turned round: it is taken away, − 2λx.", 2 * lam * plane),
        ("The factor 2 is forgotten: the derivative of x² is 2x.", -lam * plane),
        ("The factor 2 is forgotten, and the penalty's sign is turned round: − 2λx.", lam * plane),
        ("The norm is not squared: x/‖x‖ is the slope of λ‖x‖, the paper has λ‖x‖², with slope 2λx.",
         -lam * plane / norm),
        ("The norm is not squared: x/‖x‖ is the slope of λ‖x‖ (without a 2). The paper has λ‖x‖², with slope 2λx.",
         -2 * lam * plane / norm),
        ("The norm is not squared, and the penalty's sign is turned round: − 2λx.", lam * plane / norm),
        ("The penalty itself is taken away, λ‖x‖²: take away its slope, 2λx.", -lam * norm**2),
        ("The penalty is the sum of |x|: the paper squares it, with slope 2λx.", -lam * np.sign(plane)),
        ("λ is forgotten in the penalty: − 2λx.", -2 * plane),
        ("The penalty is missing: take 2λx away.", 0.0),
    )  # fmt: skip
    scales: Sequence[tuple[str, Callable[[Array], Array]]] = (
        ("", lambda slope: slope),
        ("All signs are turned round: this is a descent. To climb, J's own gradient is added.", lambda slope: -slope),
        ("You divided by the length: leave the gradient as long as it is.", _unit),
    )
    exact = deepcopy(network).double()
    slopes = [(message, _slope(exact, x, value)) for message, value in values]
    # The fewest mistakes that explain the answer are the likeliest.
    for choice in sorted(
        itertools.product(slopes, penalties, scales), key=lambda choice: sum(bool(message) for message, _ in choice)
    ):
        (_, slope), (_, penalty), (_, scale) = choice
        if _close(got, scale(slope + penalty)):
            return " ".join(message for message, _ in choice if message)
    return "The values are wrong. Try lam = 0 first: then it is the gradient of scores[0, c] by x, and nothing else."


def _unit(slope: Array) -> Array:
    return slope / (np.linalg.norm(slope) or 1)


def _slope(network: nn.Module, x: Tensor, value: Callable[[Tensor], Tensor]) -> Array:
    leaf = x.double().requires_grad_()
    (slope,) = torch.autograd.grad(value(network(leaf)), leaf)
    return np.asarray(slope.numpy(), np.float64)


def check_picture(function: Callable[..., Any]) -> Verdict:
    """Check a learner's way from a class image to a picture: 255 (std · x + mean), whole levels from 0 to 255.

    Args:
        function: from (x, mean, std) to uint8 levels `(H, W, 3)`: `x` is `(1, 3, H, W)` in normalised space, `mean`
            and `std` are tuples, one number a channel on the scale 0..1.

    Returns:
        A `Verdict` that names the mistake, or several, where they are known ones.
    """
    # Means that differ, so that channels in a wrong order show; values beyond 0..255 on both sides.
    mean, std = (0.55, 0.4, 0.25), (0.3, 0.2, 0.25)
    x = 1.5 * torch.randn(1, 3, 4, 6, generator=torch.Generator().manual_seed(1))
    given = x.clone()
    with np.errstate(all="ignore"):  # what NumPy warns of when a negative number becomes uint8 the verdict says better
        answer = ask(function, given, mean, std)
    if not torch.equal(given.detach(), x):
        return Verdict(False, "Your function changes x itself, which the next step still needs. Do not write into it.")
    levels = _to_levels(answer)
    if isinstance(levels, Verdict):
        return levels
    plane = x[0].double().permute(1, 2, 0).numpy()
    right = np.empty((4, 6, 3))
    for y, column, channel in np.ndindex(4, 6, 3):
        level = 255 * (plane[y, column, channel] * std[channel] + mean[channel])
        right[y, column, channel] = min(max(float(level), 0.0), 255.0)
    if levels.shape == right.shape and np.abs(levels - right).max() <= LEVEL:
        return Verdict(True, "The mean colour once, whole levels, and what is too dark or too bright is clipped.")
    return Verdict(False, _picture_mistake(levels, plane, np.asarray(mean), np.asarray(std)))


def _to_levels(answer: Any) -> Array | Verdict:
    if isinstance(answer, Verdict):
        return answer
    try:
        levels = np.asarray(answer.detach().cpu() if isinstance(answer, Tensor) else answer)
    except (TypeError, ValueError, RuntimeError):
        return Verdict(False, f"Return an array (H, W, 3) of dtype uint8; yours is of type {type(answer).__name__}.")
    if levels.shape == (1, 4, 6, 3):
        return Verdict(False, "The picture must be (4, 6, 3); yours is (1, 4, 6, 3). Drop the batch's axis: x[0].")
    if levels.shape in ((3, 4, 6), (1, 3, 4, 6)):
        return Verdict(
            False, f"The picture must be (4, 6, 3), colours last; yours is {levels.shape}: x[0].permute(1, 2, 0)."
        )
    if levels.shape == (6, 4, 3):
        return Verdict(False, "The picture must be (4, 6, 3), height first; yours is (6, 4, 3): x and y are swapped.")
    if levels.shape != (4, 6, 3):
        return Verdict(False, f"For x (1, 3, 4, 6) the picture must be (4, 6, 3); yours is {levels.shape}.")
    if levels.dtype != np.uint8:
        return Verdict(
            False, f"A picture has whole levels, dtype uint8; yours has {levels.dtype}. Last: .astype(np.uint8)."
        )
    return levels.astype(np.float64)


def _picture_mistake(levels: Array, plane: Array, mean: Array, std: Array) -> str:
    around = np.zeros(3)  # broadcasts like a mean that is not there
    means = (
        ("", mean),
        ("The mean is added twice: zero in normalised space is the mean colour already, so add it once.", 2 * mean),
        ("The mean is added twice, once before std: zero in normalised space is the mean colour already.",
         mean + std * mean),
        ("The mean is not added: a zero image would be black instead of the mean colour.", around),
        ("The mean is taken away instead of added.", -mean),
        ("The mean is added before std is multiplied: the other way round, std · x + mean.", std * mean),
        ("The mean is one number for all channels: each has its own.", mean.mean() + around),
    )  # fmt: skip
    spreads = (
        ("", std),
        ("std is forgotten: normalising divided by it, so multiply by it.", np.ones(3)),
        ("You divide by std: normalising did so already, so multiply by it.", 1 / std),
    )
    orders = (
        ("", [0, 1, 2]),
        ("Red and blue are swapped: keep the order of the channels.", [2, 1, 0]),
    )
    unclipped = "You forgot to clip: a level below 0 or above 255 wraps around in uint8. Clip first, then convert."
    small = "The factor 255 is missing: levels go from 0 to 255, not from 0 to 1."
    scales = (("", 255.0, False), (unclipped, 255.0, True), (small, 1.0, False), (f"{small} {unclipped}", 1.0, True))
    choices = itertools.product(means, spreads, orders, scales)
    for choice in sorted(choices, key=lambda choice: sum(bool(part[0]) for part in choice)):
        (_, added), (_, spread), (_, order), (_, factor, wrapped) = choice
        wrong = (factor * (plane * spread + added))[:, :, order]
        inside = (wrong >= 0) & (wrong <= 255)
        near = np.abs(levels - wrong.clip(0, 255)) <= LEVEL
        # What lies outside becomes anything where it is not clipped: processors do not agree on it.
        if (inside.mean() > 0.2 and near[inside].all()) if wrapped else near.all():
            return " ".join(str(part[0]) for part in choice if part[0])
    if levels.min() == 0 and levels.max() == 255 and np.ptp(levels) == 255:
        low, high = plane.min(), plane.max()
        if np.abs(levels - 255 * (plane - low) / (high - low)).max() <= LEVEL:
            return "You stretched the values to 0..255: that is another picture. Undo the normalising: std · x + mean."
    return (
        f"The values are wrong: x = {plane[0, 0, 0]:.2f} in red, with mean {mean[0]:g} and std {std[0]:g}, is level "
        f"{255 * (plane[0, 0, 0] * std[0] + mean[0]):.0f}; yours is {levels[0, 0, 0]:.0f}."
    )


def _to_array(answer: Any, shape: tuple[int, ...]) -> Array | Verdict:
    """Turn an answer into numbers of the right shape, or into a `Verdict` that says why it is none."""
    if isinstance(answer, Verdict):
        return answer
    if isinstance(answer, tuple) and len(answer) == 1:
        return Verdict(False, "torch.autograd.grad gives a tuple: write (g,) = torch.autograd.grad(…).")
    try:
        values = np.asarray(answer.detach().cpu() if isinstance(answer, Tensor) else answer, np.float64)
    except (TypeError, ValueError, RuntimeError):
        kind = type(answer).__name__
        return Verdict(False, f"Return the gradient as a tensor or an array of shape {shape}; yours is of type {kind}.")
    if values.shape != shape:
        got = f"{values.shape}" if values.shape else "one number, perhaps J itself"
        return Verdict(False, f"The gradient must be {shape}, as x is; yours is {got}.")
    if not np.isfinite(values).all():
        return Verdict(False, "There is NaN or infinity in your gradient: somewhere you divide by zero.")
    return values


def _close(got: Array, expected: Array | float) -> bool:
    expected = np.asarray(expected)
    return bool(np.abs(got - expected).max() <= TOLERANCE * np.abs(expected).max())
