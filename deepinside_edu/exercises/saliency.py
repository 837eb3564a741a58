"""Checks of lesson 2's exercises: the map from w, and the average over mirrored crops."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import deepcopy
from functools import cache
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ..images import Crop
from .answer import Array
from .exercise import Exercise, Probe
from .small_network import slope_by_differences, small_network
from .verdict import Verdict


def check_map(function: Callable[..., Any]) -> Verdict:
    """Check a learner's M_ij = max_c |w_ijc| for a w whose channels come last, as the paper writes it.

    Args:
        function: from w, a tensor `(H, W, C)`, to the map, `(H, W)`.

    Returns:
        A `Verdict` that names the mistake if it is a known one.
    """
    return _map_exercise().check(function)


def check_average(function: Callable[..., Any]) -> Verdict:
    """Check a learner's average of one class's maps over crops, some of them mirrored.

    Args:
        function: from (network, x, c, crops) to the map `(H, W)`: `network` gives scores `(1, classes)` for an image
            of any size, `x` is `(1, 3, H, W)`, `c` the class index, `crops` a list of (top, left, height, width,
            mirrored) that covers x.

    Returns:
        A `Verdict` that names the mistakes if they are known ones.
    """
    return _average_exercise().check(function)


@cache
def _map_exercise() -> Exercise:
    generator = torch.Generator().manual_seed(0)
    probes = []
    # Sizes differ, so that a maximum over a wrong axis shows; then come a square and one channel.
    for shape in ((4, 5, 3), (3, 3, 4), (3, 4, 1)):
        w = torch.randn(shape, generator=generator)
        right = np.array([[max(abs(value) for value in pixel) for pixel in row] for row in w.tolist()])
        probes.append(Probe((w,), right, f"w of shape {shape} (height, width, channels)"))
    return Exercise(
        probes=probes,
        praise="You took the absolute value first, then the maximum over the channels: one number per pixel.",
        expected="a map",
        knobs=(_OF_CHANNELS, _AXIS),
        mistaken=lambda probe, of_channels, axis: of_channels(axis(probe.given[0].double().numpy())),
        remark=lambda probe, at: f"There w is [{', '.join(f'{value:.2f}' for value in probe.given[0][at])}].",
        about_shape=_about_shape_of_map,
        untouched="Your function changes w itself, but other code still needs it. Use abs(), not abs_().",
    )


_OF_CHANNELS: dict[str, Callable[[Array], Array]] = {
    "": lambda w: np.abs(w).max(-1),
    "You took the signed maximum: a large negative entry matters just as much. Take abs first, then max.": (
        lambda w: w.max(-1)
    ),
    "The abs comes too late: of -4 and 1, the maximum has lost the -4. Take abs first, then max.": (
        lambda w: np.abs(w.max(-1))
    ),
    "You count only negative entries, as -min(w): a large positive one matters as much. Take abs first, then max.": (
        lambda w: -w.min(-1)
    ),
    "You took the minimum of w: a large positive entry matters as much as a negative one. Take abs first, then max.": (
        lambda w: w.min(-1)
    ),
    "The abs comes too late: the minimum has lost the large positive entries. Take abs first, then max.": (
        lambda w: np.abs(w.min(-1))
    ),
    "You dropped negative entries, as a ReLU does: a large negative one matters as much. Take abs first, then max.": (
        lambda w: w.clip(min=0).max(-1)
    ),
    "You dropped positive entries: they matter as much as negative ones. Take abs first, then max.": (
        lambda w: (-w).clip(min=0).max(-1)
    ),
    "You took the channel sum: entries of opposite sign cancel. The paper takes the largest |w|, not a sum.": (
        lambda w: w.sum(-1)
    ),
    "You took the channel sum, then abs: entries of opposite sign have already cancelled. Take max |w|.": (
        lambda w: np.abs(w.sum(-1))
    ),
    "You took the sum of |w| over the channels. Many programs do so, but the paper takes the maximum.": (
        lambda w: np.abs(w).sum(-1)
    ),
    "You took the mean of |w| over the channels. The paper takes the maximum.": lambda w: np.abs(w).mean(-1),
    "You took the median of |w| over the channels. The paper takes the maximum.": lambda w: np.median(np.abs(w), -1),
    "You took the mean over the channels: entries of opposite sign cancel. Take max |w|.": lambda w: w.mean(-1),
    "You took the mean over the channels, then abs: signs have already cancelled. Take max |w|.": (
        lambda w: np.abs(w.mean(-1))
    ),
    "You took the Euclidean length over the channels. The paper takes the maximum of |w|.": (
        lambda w: np.sqrt((w**2).sum(-1))
    ),
    "You took the sum of squares over the channels. The paper takes the maximum of |w|.": lambda w: (w**2).sum(-1),
    "You took the product over the channels. The paper takes the maximum of |w|.": lambda w: np.abs(w.prod(-1)),
    "You took the product over the channels. The paper takes the maximum of |w|. ": lambda w: w.prod(-1),
    "You took the minimum of |w|. The paper takes the maximum: one strong channel is enough.": (
        lambda w: np.abs(w).min(-1)
    ),
    "You took the range, max − min, over the channels. The paper takes the maximum of |w|.": lambda w: np.ptp(w, -1),
    "You took the standard deviation over the channels. The paper takes the maximum of |w|.": lambda w: w.std(-1),
    "This is the place of the largest |w|, but the map has its value. Take .amax(-1), not .argmax(-1).": (
        lambda w: np.abs(w).argmax(-1)
    ),
    "This is the place of the largest w, but the map has the value of the largest |w|.": lambda w: w.argmax(-1),
    "This is the largest |w| with its sign: the map has only its size.": lambda w: np.take_along_axis(
        w, np.abs(w).argmax(-1)[..., None], -1
    )[..., 0],
    "Only the first channel is used: take the maximum over all of them.": lambda w: np.abs(w[..., 0]),
    "Only the last channel is used: take the maximum over all of them.": lambda w: np.abs(w[..., -1]),
    "Only the first channel is used, with its sign: take abs, then the maximum over all channels.": lambda w: w[..., 0],
    "Only the last channel is used, with its sign: take abs, then the maximum over all channels.": lambda w: w[..., -1],
    "One step is missing: the maximum over the channels.": np.abs,
    "You scaled the map to 1. Leave the numbers as they are, so that maps can be compared.": (
        lambda w: np.abs(w).max(-1) / np.abs(w).max()
    ),
    "That is one number for all pixels: name the axis of the channels, -1.": lambda w: np.abs(w).max(),
}
_AXIS: dict[str, Callable[[Array], Array]] = {
    "": lambda w: w,
    "Wrong axis: you reduced over the height. The channels are the last axis, -1.": lambda w: w.transpose(1, 2, 0),
    "Wrong axis: you reduced over the width. The channels are the last axis, -1.": lambda w: w.transpose(0, 2, 1),
}


def _about_shape_of_map(got: tuple[int, ...], probe: Probe) -> str:
    height, width, channels = probe.given[0].shape
    if got == ():
        return "That is one number for all pixels: name the axis of the channels, -1."
    if got in {(height, channels), (width, channels)}:
        return "The channels are the last axis, -1: reduce over that one."
    return "Return one number for each pixel."


_PLACES = ((0, 0, 5, 5), (0, 3, 5, 5), (2, 1, 5, 6))


@cache
def _average_exercise() -> Exercise:
    network = small_network()
    generator = torch.Generator().manual_seed(2)
    x, other = (torch.randn(1, 3, *size, generator=generator) for size in ((7, 8), (6, 9)))
    # One thing is added at a time, so that a message can say what was right before.
    steps: Sequence[tuple[str, Tensor, int, list[Crop]]] = (
        ("one crop, all of x, not mirrored", x, 1, [Crop(0, 0, 7, 8, False)]),
        ("one crop, all of x, mirrored", x, 1, [Crop(0, 0, 7, 8, True)]),
        ("two crops that overlap, none mirrored", other, 2, [Crop(0, 0, 6, 6, False), Crop(0, 3, 6, 6, False)]),
        # Some pixels are seen by one crop and some by many, so that a divisor other than the count shows.
        ("eight crops, some of them mirrored", x, 1, [Crop(*place, flip) for flip in (False, True) for place in _PLACES]
         + [Crop(3, 0, 4, 4, False), Crop(3, 4, 4, 4, True)]),
    )  # fmt: skip
    probes = [
        Probe((network, image, c, crops), _average_by_differences(network, image, c, crops), words)
        for words, image, c, crops in steps
    ]
    return Exercise(
        probes=probes,
        praise="You took the score of class c, mirrored maps back, and divided each pixel by its number of crops.",
        expected="a map as high and wide as x",
        knobs=(_CLASS, _QUANTITY, _GRADIENT, _REDUCTION, _MIRRORING, _READING, _COMBINING),
        mistaken=_mistaken_average,
        remark=_remark_on_average,
        about_shape=_about_shape_of_average,
        untouched="Your function changes x itself. Mirror a copy: crop.flip(3) makes one.",
        hints={
            "does not require grad": "Call requires_grad_() on the crop before the network sees it.",
            "does not have a grad_fn": "Call requires_grad_() on the crop before the network sees it.",
            "leaf": "A crop of x is a view: detach or clone it, then call requires_grad_().",
            "not have been used": "Take the gradient with respect to the very tensor that the network saw.",
            "scalar outputs": "The scores are (1, classes): take scores[0, c], one number.",
        },
    )


def _average_by_differences(network: nn.Module, x: Tensor, c: int, crops: Sequence[Crop]) -> Array:
    """The oracle: each pixel's list of the values that crops saw there."""
    exact = deepcopy(network).double()
    seen: list[list[list[float]]] = [[[] for _ in range(x.shape[3])] for _ in range(x.shape[2])]
    for top, left, height, width, mirrored in crops:
        crop = x[:, :, top : top + height, left : left + width]
        seen_by_network = crop.flip(3) if mirrored else crop
        m = slope_by_differences(lambda images: exact(images)[:, c], seen_by_network).abs().amax(1)[0].numpy()
        for i, j in np.ndindex(height, width):
            seen[top + i][left + j].append(m[i, width - 1 - j if mirrored else j])
    return np.array([[sum(values) / len(values) for values in row] for row in seen])


_CLASS: dict[str, Callable[[Tensor, int], int]] = {
    "": lambda scores, c: c,
    "You follow the predicted class, the one with the highest score; the question was about class c.": (
        lambda scores, c: int(scores.argmax())
    ),
} | {
    f"You follow class {k} whatever c is: take scores[0, c].": lambda scores, c, k=k: k for k in (0, 1, 2)
}  # fmt: skip
_QUANTITY: dict[str, Callable[[Tensor, int], Tensor]] = {
    "": lambda scores, c: scores[c],
    "That is the gradient of a probability: leave the softmax out and take the score itself.": (
        lambda scores, c: scores.softmax(0)[c]
    ),
    "That is the gradient of log P_c, as in a cross-entropy: leave the softmax out and take the score itself.": (
        lambda scores, c: scores.log_softmax(0)[c]
    ),
    "That is the gradient of all scores together: take the score of class c alone.": lambda scores, c: scores.sum(),
    "That is the gradient of the mean of all scores: take the score of class c alone.": (
        lambda scores, c: scores.mean()
    ),
    "That is the gradient of the squared score: take the score of class c itself.": lambda scores, c: scores[c] ** 2,
}
_GRADIENT: dict[str, str] = {
    "": "",
    "Each crop's gradient is added to those of the crops before it: set x.grad to None in each turn, or use "
    "torch.autograd.grad.": "added up",
    "Each crop's gradient is multiplied by the crop: the map is made of w alone.": "times input",
    "Negative entries of w are dropped, as a ReLU does: take abs of w.": "relu",
    "You use the crop itself instead of the gradient w.": "input",
}
_REDUCTION: dict[str, Callable[[Array], Array]] = {
    "": lambda w: np.abs(w).max(0),
    "You took the signed maximum over the channels: take abs first, then the maximum.": lambda w: w.max(0),
    "The abs comes too late, after the maximum over the channels: take abs first, then the maximum.": (
        lambda w: np.abs(w.max(0))
    ),
    "You took the sum of |w| over the channels: the paper takes the maximum.": lambda w: np.abs(w).sum(0),
    "You took the mean of |w| over the channels: the paper takes the maximum.": lambda w: np.abs(w).mean(0),
    "You took the sum of w over the channels, where signs cancel: the paper takes the maximum of |w|.": (
        lambda w: w.sum(0)
    ),
    "You took the sum of w over the channels, then abs: signs have already cancelled. Take the maximum of |w|.": (
        lambda w: np.abs(w.sum(0))
    ),
    "You took the mean of w over the channels, where signs cancel: the paper takes the maximum of |w|.": (
        lambda w: w.mean(0)
    ),
    "You took the mean of w over the channels, then abs: signs have already cancelled. Take the maximum of |w|.": (
        lambda w: np.abs(w.mean(0))
    ),
    "You took the minimum of |w| over the channels: the paper takes the maximum.": lambda w: np.abs(w).min(0),
    "Only the first channel is used: take the maximum of |w| over all.": lambda w: np.abs(w[0]),
    "You took the Euclidean length over the channels: the paper takes the maximum of |w|.": (
        lambda w: np.sqrt((w**2).sum(0))
    ),
    "You squared the maximum: leave |w| as it is.": lambda w: np.square(w).max(0),
    "Each crop's map is scaled to 1 before the average: then a weak crop counts as much as a strong one.": (
        lambda w: np.abs(w).max(0) / np.abs(w).max()
    ),
    "Each crop's map is scaled to add up to 1 before the average: leave the numbers as they are.": (
        lambda w: np.abs(w).max(0) / np.abs(w).max(0).sum()
    ),
    "Each crop's map is scaled to 0..1 before the average: then a weak crop counts as much as a strong one.": (
        lambda w: (np.abs(w).max(0) - np.abs(w).max(0).min()) / np.ptp(np.abs(w).max(0))
    ),
}
_MIRRORING: dict[str, tuple[int | None, int | None]] = {
    "": (1, 1),
    "The map of a mirrored crop lies on the image the wrong way round: flip it once, after the network saw the crop "
    "mirrored. (A gradient with respect to the crop from *before* the flip is in its place already: do not flip that "
    "one.)": (1, None),
    "The crops are never mirrored: where `mirrored` is true, the network must see crop.flip(3).": (None, None),
    "The network sees the crop as it is and the map is mirrored: flip the crop before, the map after.": (None, 1),
    "The crop and its map are turned upside down: left and right are axis 3 of (N, C, H, W), so use flip(3).": (0, 0),
    "The crop is mirrored and the map is turned upside down: columns are the map's axis 1, so use flip(1).": (1, 0),
    "The crop is turned upside down and the map mirrored: left and right are axis 3 of x, so use crop.flip(3).": (
        (0, 1)
    ),
    "The crop is turned upside down and its map is not turned back: use flip(3) before and flip(1) after.": (
        (0, None)
    ),
}
"""The axes along which a mirrored crop is flipped before the network, and its map after it: 0 is height, 1 is width."""

_READING: dict[str, Callable[[Crop], Crop | None]] = {
    "": lambda crop: crop,
    "Mirrored crops are left out: they count too.": lambda crop: None if crop.mirrored else crop,
    "Only mirrored crops are used: the others count too.": lambda crop: crop if crop.mirrored else None,
    "Top and left are exchanged: a crop is (top, left, height, width, mirrored).": (
        lambda crop: Crop(crop.left, crop.top, crop.height, crop.width, crop.mirrored)
    ),
    "Height and width are exchanged: a crop is (top, left, height, width, mirrored).": (
        lambda crop: Crop(crop.top, crop.left, crop.width, crop.height, crop.mirrored)
    ),
    "Rows and columns are exchanged: a crop is (top, left, height, width, mirrored).": (
        lambda crop: Crop(crop.left, crop.top, crop.width, crop.height, crop.mirrored)
    ),
    "You read a crop as (top, left, bottom, right): its third and fourth numbers are height and width.": (
        lambda crop: Crop(crop.top, crop.left, crop.height - crop.top, crop.width - crop.left, crop.mirrored)
    ),
    "The crop's last row and column are missing: x[:, :, top : top + height, left : left + width].": (
        lambda crop: Crop(crop.top, crop.left, crop.height - 1, crop.width - 1, crop.mirrored)
    ),
    "Your condition is reversed: mirror where `mirrored` is true.": (
        lambda crop: Crop(crop.top, crop.left, crop.height, crop.width, not crop.mirrored)
    ),
    "Every crop is mirrored: mirror only where `mirrored` is true.": (
        lambda crop: Crop(crop.top, crop.left, crop.height, crop.width, True)
    ),
}


Stack = Array
"""One canvas per crop, NaN outside the crop: (crops, H, W)."""


def _overwritten(stack: Stack) -> Array:
    """The last crop to see a pixel wins."""
    canvas = np.zeros(stack.shape[1:])
    for each in stack:
        canvas[~np.isnan(each)] = each[~np.isnan(each)]
    return canvas


def _seen(stack: Stack) -> Any:
    return (~np.isnan(stack)).sum(0)


_COMBINING: dict[str, Callable[[Stack], Array]] = {
    "": lambda stack: np.nansum(stack, 0) / _seen(stack),
    "You divide by the number of crops. Few of them see a corner: divide each pixel by its own count.": (
        lambda stack: np.nansum(stack, 0) / len(stack)
    ),
    "You divide by 10, the paper's number of crops: divide each pixel by the number of crops that saw it.": (
        lambda stack: np.nansum(stack, 0) / 10
    ),
    "You divide by the largest count: divide each pixel by its own.": (
        lambda stack: np.nansum(stack, 0) / _seen(stack).max()
    ),
    "This is a sum: divide each pixel's sum by the number of crops that saw it.": lambda stack: np.nansum(stack, 0),
    "Where crops overlap, the later one overwrites: add up, with += and not =, and divide by the count.": _overwritten,
    "Where crops overlap, the later one overwrites: add up, with += and not =, before you divide by the count.": (
        lambda stack: _overwritten(stack) / _seen(stack)
    ),
    "You take the largest value of all crops that see a pixel: take the average.": (
        lambda stack: np.nanmax(stack, 0)
    ),
    "You take the smallest value of all crops that see a pixel: take the average.": (
        lambda stack: np.nanmin(stack, 0)
    ),
    "You take the median of the crops that see a pixel: take the average.": (
        lambda stack: np.nanmedian(stack, 0)
    ),
    "Your count starts at 1 and also grows where a crop sees nothing: start at 0, and add 1 only inside the crop.": (
        lambda stack: np.nansum(stack, 0) / (1 + len(stack))
    ),
    "Your count starts at 1: start at 0.": lambda stack: np.nansum(stack, 0) / (1 + _seen(stack)),
    "Only the last crop counts: each turn of the loop overwrites the result.": (
        lambda stack: np.nan_to_num(stack[-1])
    ),
    "Only the first crop counts (does a return in the loop end it too early?).": lambda stack: np.nan_to_num(stack[0]),
    "You divide by the number of pixels: divide by the number of crops that saw each pixel.": (
        lambda stack: np.nansum(stack, 0) / stack[0].size
    ),
    "The gradients are averaged before the abs, so those of several crops cancel: make each crop's map first.": (
        lambda stack: np.empty(0)  # not computed from maps: see below
    ),
    "The gradients are added before the abs, so those of several crops cancel: make each crop's map first.": (
        lambda stack: np.empty(1)
    ),
}


def _mistaken_average(
    probe: Probe,
    class_of: Callable[[Tensor, int], int],
    quantity: Callable[[Tensor, int], Tensor],
    gradient: str,
    reduction: Callable[[Array], Array],
    mirroring: tuple[int | None, int | None],
    reading: Callable[[Crop], Crop | None],
    combining: Callable[[Stack], Array],
) -> Array:
    network, x, c, crops = probe.given
    before, after = mirroring
    read = [crop for crop in map(reading, crops) if crop is not None]
    grads = np.full((len(read), *x.shape[1:]), np.nan)
    added = np.zeros(x.shape[1:])
    for n, (top, left, height, width, mirrored) in enumerate(read):
        place = (slice(None), slice(top, top + height), slice(left, left + width))
        crop = x[0][place]
        seen = crop.flip(before + 1) if mirrored and before is not None else crop
        w = _gradient(network, seen, c, class_of, quantity)
        w = np.flip(w, after + 1) if mirrored and after is not None else w
        if gradient == "added up":
            added[place] += w
            w = added[place].copy()
        elif gradient == "times input":
            w = w * crop.numpy()
        elif gradient == "relu":
            w = w.clip(min=0)
        elif gradient == "input":
            w = np.asarray(crop.numpy(), np.float64)
        grads[(n, *place)] = w
    early = np.asarray(combining(grads[:, 0])).size
    if early < 2:
        total = np.nansum(grads, 0)
        return reduction(total / _seen(grads[:, 0]) if early == 0 else total)
    stack = np.full((len(read), *x.shape[2:]), np.nan)
    for n, (top, left, height, width, _) in enumerate(read):
        rows, columns = slice(top, top + height), slice(left, left + width)
        stack[n, rows, columns] = reduction(grads[n][:, rows, columns])
    return combining(stack)


_GRADIENTS: dict[tuple[Any, ...], Array] = {}
"""Thousands of combinations of mistakes share a few hundred gradients."""


def _gradient(
    network: nn.Module,
    crop: Tensor,
    c: int,
    class_of: Callable[[Tensor, int], int],
    quantity: Callable[[Tensor, int], Tensor],
) -> Array:
    key = (class_of, quantity, c, tuple(crop.shape), crop.contiguous().numpy().tobytes())
    if key not in _GRADIENTS:
        with torch.enable_grad():
            leaf = crop[None].double().requires_grad_()
            scores = deepcopy(network).double()(leaf)[0]
            (w,) = torch.autograd.grad(quantity(scores, class_of(scores, c)), leaf)
        _GRADIENTS[key] = np.asarray(w[0].numpy(), np.float64)
    return _GRADIENTS[key]


def _remark_on_average(probe: Probe, at: tuple[int, ...]) -> str:
    crops = probe.given[3]
    if len(crops) == 1:
        return (
            "That map is max |w| of the crop as the network saw it, mirrored back." if crops[0].mirrored
            else "That map is max |w| over the channels, and w is the gradient of scores[0, c]."
        )  # fmt: skip
    count = sum(
        top <= at[0] < top + height and left <= at[1] < left + width for top, left, height, width, _ in crops
    )
    return f"{count} of the crops see{'s' if count == 1 else ''} this pixel: its value is the mean of their maps there."


def _about_shape_of_average(got: tuple[int, ...], probe: Probe) -> str:
    if got == probe.right.shape[::-1]:
        return "Height comes first: rows and columns are swapped."
    return "Start from zeros of shape x.shape[2:]."
