"""Checks of lesson 2's exercises: the map from w, and the average over mirrored crops."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from copy import deepcopy
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ..images import Crop
from .verdict import Verdict, ask

TOLERANCE = 1e-3
"""Relative to the largest value of the right answer; every known mistake is much farther off."""

Array = NDArray[np.float64]


def check_map(function: Callable[..., Any]) -> Verdict:
    """Check a learner's M_ij = max_c |w_ijc| for a w whose channels come last, as the paper writes it.

    Args:
        function: from w, a tensor `(H, W, C)`, to the map, `(H, W)`.

    Returns:
        A `Verdict` that names the mistake where it is a known one.
    """
    generator = torch.Generator().manual_seed(0)
    # Sizes that differ from one another, so that a maximum over a wrong axis shows.
    for shape in ((4, 5, 3), (3, 4, 1)):
        w = torch.randn(shape, generator=generator)
        given = w.clone()
        got = _to_array(ask(function, given), (shape[0], shape[1]), _explain_shape_of_map(shape))
        if isinstance(got, Verdict):
            return got
        if not torch.equal(given, w):
            return Verdict(False, "Your function changes w itself, which others still need. Use abs(), not abs_().")
        right = np.array([[max(abs(value) for value in pixel) for pixel in row] for row in w.tolist()])
        if not _close(got, right):
            return Verdict(False, _name_map_mistake(got, w.double().numpy()))
    return Verdict(True, "First the absolute value, then the maximum over the channels, one number a pixel.")


def _explain_shape_of_map(shape: tuple[int, ...]) -> Callable[[tuple[int, ...]], str]:
    height, width, channels = shape

    def explain(got: tuple[int, ...]) -> str:
        expected = f"w is {shape} (height, width, channels), so the map must be {(height, width)}; yours is {got}."
        if got in {(height, channels), (width, channels)}:
            taken = "height" if got == (width, channels) else "width"
            return f"{expected} Wrong axis: you reduced over the {taken}. The channels are the last axis, -1."
        if got == (height, width, 1):
            return f"{expected} Drop the last axis: leave out keepdim."
        if got == shape:
            return f"{expected} One step is missing: the maximum over the channels."
        if got == ():
            return f"{expected} That is one number for all pixels: name the axis of the channels, -1."
        return f"{expected} Reduce over the last axis, -1, and no other."

    return explain


def _name_map_mistake(got: Array, w: Array) -> str:
    size = np.abs(w)
    known = (
        (w.max(-1), "Signed maximum: a large negative entry matters as much as a positive one. First abs, then max."),
        (np.abs(w.max(-1)), "The abs comes too late: of -4 and 1 the maximum has lost the -4. First abs, then max."),
        (w.sum(-1), "Channel sum: entries of opposite sign cancel. The paper takes the largest |w|, not a sum."),
        (np.abs(w.sum(-1)), "Channel sum, then abs: entries of opposite sign have already cancelled. Take max |w|."),
        (size.sum(-1), "Sum of |w| over the channels. Many programs do so; the paper takes the maximum."),
        (size.mean(-1), "Mean of |w| over the channels. The paper takes the maximum."),
        (w.mean(-1), "Mean over the channels: entries of opposite sign cancel. Take max |w|."),
        (np.abs(w.mean(-1)), "Mean over the channels, then abs: signs have already cancelled. Take max |w|."),
        (np.sqrt((w**2).sum(-1)), "Euclidean length over the channels. The paper takes the maximum of |w|."),
        (size.min(-1), "Minimum of |w|. The paper takes the maximum: one strong channel is enough."),
        (size.max(-1) / size.max(), "You scaled the map to 1. Leave the numbers as they are, to compare maps."),
    )
    for values, message in known:
        if _close(got, values):
            return message
    example = ", ".join(f"{value:.2f}" for value in w[0, 0])
    return f"The values are wrong: where w is [{example}] the map is {size[0, 0].max():.2f}; yours is {got[0, 0]:.2f}."


def check_average(function: Callable[..., Any]) -> Verdict:
    """Check a learner's average of one class's maps over crops, some of them seen in the mirror.

    Args:
        function: from (network, x, c, crops) to the map `(H, W)`: `network` gives scores `(1, classes)` for an image
            of any size, `x` is `(1, 3, H, W)`, `c` the class index, `crops` a list of (top, left, height, width,
            mirrored) that covers x.

    Returns:
        A `Verdict` that names the mistake, or several, where they are known ones.
    """
    network = _small_network()
    x = torch.randn(1, 3, 7, 8, generator=torch.Generator().manual_seed(2))
    c = 1
    places = ((0, 0, 5, 5), (0, 3, 5, 5), (2, 1, 5, 6))
    crops = [Crop(*place, mirrored) for mirrored in (False, True) for place in places]
    # Some pixels are seen by one crop and some by many, so that another divisor than the count shows.
    crops += [Crop(3, 0, 4, 4, False), Crop(3, 4, 4, 4, True)]
    given = x.clone()
    answer = ask(function, network, given, c, list(crops))
    got = _to_array(answer, (7, 8), _explain_shape_of_average)
    if isinstance(got, Verdict):
        return got
    if not torch.equal(given, x):
        return Verdict(False, "Your function changes x itself. Mirror a copy: crop.flip(3) makes one.")
    if _close(got, _average(x, crops, lambda crop: _map_by_differences(network, crop, c))):
        return Verdict(True, "Class c, the score, each map mirrored back, each pixel divided by the crops that saw it.")
    return Verdict(False, _name_average_mistake(got, network, x, c, crops))


def _small_network() -> nn.Module:
    """Five scores for an image of any size. Class 3 always wins, so the predicted class is never the target."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        first, final = nn.Conv2d(3, 6, 3, padding=1), nn.Conv2d(6, 5, 3, padding=1)
    with torch.no_grad():
        final.weight *= 3
        final.bias.add_(3 * torch.eye(5)[3])  # type: ignore[union-attr]
    network = nn.Sequential(first, nn.ReLU(), final, nn.AdaptiveAvgPool2d(1), nn.Flatten())
    return network.eval().requires_grad_(False)


def _map_by_differences(network: nn.Module, crop: Tensor, c: int) -> Array:
    """max_c |∂S_c/∂I| without autograd: each entry is moved a little up and down."""
    step = 1e-6
    double = crop.double()
    moves = step * torch.eye(double.numel(), dtype=torch.float64).reshape(-1, *double.shape[1:])
    exact = deepcopy(network).double()
    with torch.no_grad():
        slope = (exact(double + moves)[:, c] - exact(double - moves)[:, c]) / (2 * step)
    return np.asarray(slope.reshape(double.shape[1:]).abs().amax(0).numpy(), np.float64)


def _average(
    x: Tensor,
    crops: Sequence[Crop],
    map_of: Callable[[Tensor], Array],
    mirroring: str = "",
    division: str = "",
) -> Array:
    """Average the maps of the crops, with the named mistakes in mirroring and in division, if any."""
    total, count = np.zeros(x.shape[2:]), np.zeros(x.shape[2:])
    for top, left, height, width, mirrored in crops:
        rows, columns = slice(top, top + height), slice(left, left + width)
        crop = x[:, :, rows, columns]
        before, after = _MIRRORING[mirroring] if mirrored else (None, None)
        m = map_of(crop if before is None else crop.flip(before + 2))
        m = m if after is None else np.flip(m, after)
        total[rows, columns] += m
        count[rows, columns] += 1
    return np.asarray(total / _DIVISION[division](count, len(crops)))


_MIRRORING: dict[str, tuple[int | None, int | None]] = {
    "": (1, 1),
    "The map of a mirrored crop is laid on the image without mirroring it back: flip it again first.": (1, None),
    "The crops are never mirrored: where `mirrored` is true, the network must see crop.flip(3).": (None, None),
    "The network sees the crop as it is and the map is mirrored: flip the crop before, the map after.": (None, 1),
    "Turned upside down, not mirrored: left and right are axis 3 of (N, C, H, W), so flip(3).": (0, 0),
}
"""What a mirrored crop is flipped along before the network sees it, and its map after: 0 is height, 1 is width."""

_DIVISION: dict[str, Callable[[Array, int], Array | int]] = {
    "": lambda count, crops: count,
    "You divide by the number of crops. Few of them see a corner: divide each pixel by its own count.": (
        lambda count, crops: crops
    ),
    "It is a sum: divide each pixel's sum by the number of crops that saw it.": lambda count, crops: 1,
}
_QUANTITY: dict[str, Callable[[Tensor, int], Tensor]] = {
    "": lambda scores, c: scores[c],
    "That is the gradient of a probability: leave the softmax out and take the score itself.": (
        lambda scores, c: scores.softmax(0)[c]
    ),
    "You follow the predicted class, the one with the highest score; the question was about class c.": (
        lambda scores, c: scores.max()
    ),
    "That is the gradient of all scores together: take the score of class c alone.": lambda scores, c: scores.sum(),
}
_REDUCTION: dict[str, Callable[[Tensor], Tensor]] = {
    "": lambda w: w.abs().amax(0),
    "Signed maximum over the channels: abs first, then the maximum.": lambda w: w.amax(0),
    "Sum of |w| over the channels: the paper takes the maximum.": lambda w: w.abs().sum(0),
}


def _name_average_mistake(got: Array, network: nn.Module, x: Tensor, c: int, crops: Sequence[Crop]) -> str:
    gradients: dict[tuple[str, bytes], Tensor] = {}  # 180 combinations share a few dozen of them

    def map_of(crop: Tensor) -> Array:
        key = (quantity, crop.contiguous().numpy().tobytes())
        if key not in gradients:
            with torch.enable_grad():
                leaf = crop.clone().requires_grad_()
                (gradients[key],) = torch.autograd.grad(_QUANTITY[quantity](network(leaf)[0], c), leaf)
        return np.asarray(_REDUCTION[reduction](gradients[key][0]).numpy(), np.float64)

    choices = itertools.product(_QUANTITY, _REDUCTION, _MIRRORING, _DIVISION)
    # The fewest mistakes that explain the answer are the likeliest.
    for choice in sorted(choices, key=lambda choice: sum(map(bool, choice))):
        quantity, reduction, mirroring, division = choice
        if _close(got, _average(x, crops, map_of, mirroring, division)):
            return " ".join(message for message in choice if message)
    return "The values are wrong. Try one crop that is not mirrored first: its map is max |w| of that crop."


def _explain_shape_of_average(got: tuple[int, ...]) -> str:
    if got == (1, 7, 8):
        return "The map must be (7, 8), as high and wide as x; yours is (1, 7, 8). Drop the batch's axis: m[0]."
    if got == (8, 7):
        return "The map must be (7, 8), height first; yours is (8, 7): rows and columns are swapped."
    return f"The map must be (7, 8), as high and wide as x; yours is {got}. Start from zeros of x.shape[2:]."


def _to_array(answer: Any, shape: tuple[int, int], explain: Callable[[tuple[int, ...]], str]) -> Array | Verdict:
    """Turn an answer into numbers of the right shape, or into a `Verdict` that says why it is none."""
    if isinstance(answer, Verdict):
        return answer
    if isinstance(answer, tuple) and hasattr(answer, "indices"):
        return Verdict(False, "torch's .max(axis) gives values and their places: take .values, or use .amax(axis).")
    if isinstance(answer, Tensor):
        answer = answer.detach().cpu()
    try:
        values = np.asarray(answer, np.float64)
    except (TypeError, ValueError, RuntimeError):
        kind = type(answer).__name__
        return Verdict(False, f"Return the map as a tensor or an array of shape {shape}; yours is of type {kind}.")
    if values.shape != shape:
        return Verdict(False, explain(values.shape))
    if not np.isfinite(values).all():
        return Verdict(False, "There is NaN or infinity in your map: somewhere you divide by zero.")
    return values


def _close(got: Array, expected: Array) -> bool:
    return bool(np.abs(got - expected).max() <= TOLERANCE * np.abs(expected).max())
