"""Checks for lesson 1: the softmax of a table of scores, and a convolution by hand."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np

from .answer import Array
from .exercise import FORMS, Exercise, Probe
from .verdict import Verdict


def check_softmax(function: Callable[[Any], Any]) -> Verdict:
    """Check a softmax over the classes, P_c = exp S_c / Σ_k exp S_k, that huge scores do not break.

    Args:
        function: from scores `(N, classes)`, float64, one photo per row, to probabilities of the same shape.

    Returns:
        A `Verdict` that names the mistake.
    """
    return _softmax_exercise().check(function)


def check_convolution(function: Callable[[Any, Any, Any, Any], Any]) -> Verdict:
    """Check one output map of a convolution layer as networks compute it (the kernel is not flipped).

    Args:
        function: from x `(channels, H, W)`, K `(channels, h, w)`, a bias b and a stride, to the map
            `((H − h) // stride + 1, (W − w) // stride + 1)`; float64 throughout, no padding.

    Returns:
        A `Verdict` that names the mistake.
    """
    return _convolution_exercise().check(function)


def _arrays(argument: Any) -> Any:
    return argument.copy() if isinstance(argument, np.ndarray) else argument


def _tensors(argument: Any) -> Any:
    """A function written for tensors is as right as one for arrays."""
    import torch

    return torch.tensor(argument) if isinstance(argument, np.ndarray) else argument


@cache
def _softmax_exercise() -> Exercise:
    tables = (
        [[2.0, 1.0, 0.0], [0.5, 3.0, -1.0]],
        [[0.3, -0.2, 1.1], [-2.0, 0.4, 0.1], [1.5, 1.0, 2.5]],  # square: sums along the wrong axis raise no error here
        [[-1.5, -0.5, -2.5, -3.0]],  # one photo, all scores below 0
        # Huge rows. Only the row's own largest score makes all of them harmless: its smallest, first, last or middle
        # score, or their mean, leaves something to overflow, and the table's largest turns the other row into 0 / 0.
        [[1000.0, 1001.0, 999.0], [-1000.0, -1002.0, -1001.0]],
        [[0.0, 1500.0, 1.0], [1.0, 0.0, 1500.0], [1500.0, 1.0, 0.0]],
        [[1000.0, 0.0, -1000.0], [-1000.0, 0.0, 1000.0]],
        [[0.0, 1000.0, 1.0]],
        [[998.0, 1001.0, 1000.0]],
        [[-1000.0, -1002.0, -1001.0]],
    )
    return Exercise(
        probes=[Probe((np.array(table),), _softmax(np.array(table)), f"S = {_short(table)}") for table in tables],
        praise="Each row adds up to 1, and scores of 1,000 do not overflow.",
        expected="one probability for each score",
        knobs=(_SHIFT, _POWER, _SHARE, _AFTER),
        mistaken=_softmax_with,
        remark=_remark_on_softmax,
        about_shape=lambda got, probe: "Return the whole table, not one number or row." if len(got) < 2 else "",
        hints={
            "broadcast": "A sum over axis 1 loses that axis: keepdims=True keeps the shapes.",
            "must match the size": "A sum over axis 1 loses that axis: keepdim=True keeps the shapes.",
        },
        ways=(_arrays, _tensors),
    )


def _short(table: list[list[float]]) -> str:
    return str([[int(score) if score == int(score) else score for score in row] for row in table])


def _softmax(scores: Array) -> Array:
    """The oracle: each entry is 1 over the sum of exp(S_k − S_c), so nothing can overflow to NaN."""
    table = np.zeros_like(scores)
    for n, row in enumerate(scores):
        for c, score in enumerate(row):
            table[n, c] = 1 / sum(np.exp(min(other - score, 700.0)) for other in row)
    return table


def _take(which: str) -> str:
    return (
        f"You subtract {which}, and a score that lies 1,000 above it still overflows to inf. "
        "Subtract the largest of each row, S.max(axis=1, keepdims=True)."
    )


_SHIFT: dict[str, Callable[[Array], Any]] = {
    "": lambda scores: scores.max(1, keepdims=True),
    "Huge scores break it: exp(1000) overflows to inf, and inf / inf is nan. Adding a constant to a row changes "
    "nothing in P_c, so subtract the row's largest score first.": lambda scores: 0,
    "You subtracted the largest score of the whole table. Where one photo's scores lie far below the other's, its row "
    "becomes 0 / 0 = nan. Subtract the largest of each row: S.max(axis=1, keepdims=True).": lambda scores: scores.max(),
    _take("the smallest score of the row"): lambda scores: scores.min(1, keepdims=True),
    _take("the smallest score of the table"): lambda scores: scores.min(),
    _take("the mean of the row"): lambda scores: scores.mean(1, keepdims=True),
    _take("the mean of the table"): lambda scores: scores.mean(),
    _take("the median of the row"): lambda scores: np.median(scores, 1, keepdims=True),
    _take("the row's first score"): lambda scores: scores[:, :1],
    _take("the row's last score"): lambda scores: scores[:, -1:],
    "You subtract the largest |S|: where all scores are far below 0, the row becomes 0 / 0 = nan. Subtract the largest "
    "score with its sign, S.max(axis=1, keepdims=True).": lambda scores: np.abs(scores).max(1, keepdims=True),
    "You subtract the largest score of each column, so the shares of a row change: axis=1, keepdims=True.": (
        lambda scores: scores.max(0)
    ),
    "You add the row's largest score: subtract it.": lambda scores: -scores.max(1, keepdims=True),
    "You subtract the same number whatever the scores are: subtract the row's largest score.": lambda scores: 1000.0,
}
_CAP = "You limit the scores to 700 or so, so all larger ones look equal: subtract the row's largest score instead."
_POWER: dict[str, Callable[[Array, Any], Array]] = {
    "": lambda scores, shift: np.exp(scores - shift),
    "The scores themselves are divided by their sum: take the exponential of each score first.": (
        lambda scores, shift: scores
    ),
    "You used 2 as the base: the softmax uses e, np.exp.": lambda scores, shift: 2.0 ** (scores - shift),
    "You used 10 as the base: the softmax uses e, np.exp.": lambda scores, shift: 10.0 ** (scores - shift),
    "The sign is reversed: the highest score got the lowest probability.": (
        lambda scores, shift: np.exp(-scores - (-scores).max(1, keepdims=True) * np.any(shift))
    ),
    "You took the exponential twice: once is enough.": lambda scores, shift: np.exp(np.exp(scores - shift)),
    "You squared the exponentials or doubled the scores: take exp S_c as it is.": (
        lambda scores, shift: np.exp(2 * (scores - shift))
    ),
    _CAP: lambda scores, shift: np.exp(scores.clip(-700, 700)),
    _CAP + " ": lambda scores, shift: np.exp(np.minimum(scores, 700)),
    _CAP + "  ": lambda scores, shift: np.exp(np.minimum(scores, 709)),
    _CAP + "   ": lambda scores, shift: np.exp(scores.clip(-500, 500)),
    _CAP + "    ": lambda scores, shift: np.exp(scores.clip(-100, 100)),
    "You divide the scores by the largest one: that changes the shares. Subtract it.": (
        lambda scores, shift: np.exp(scores / scores.max(1, keepdims=True))
    ),
    "You took the exponential of |S|: keep the sign.": lambda scores, shift: np.exp(np.abs(scores)),
    "Each score went through a sigmoid on its own: a softmax compares the scores of a row.": (
        lambda scores, shift: 1 / (1 + np.exp(-scores))
    ),
}
_SHARE: dict[str, Callable[[Array], Array]] = {
    "": lambda powers: powers / powers.sum(1, keepdims=True),
    "These columns add up to 1, so your sum runs over the photos (the wrong axis). Sum over the classes of one photo: "
    "axis=1, keepdims=True.": lambda powers: powers / powers.sum(0),
    "The whole table adds up to 1: you divided by the sum over every photo. Sum over the classes of one photo: "
    "axis=1, keepdims=True.": lambda powers: powers / powers.sum(),
    "You did not divide by the sum of the row: these are the exponentials, or their ratios to the largest.": (
        lambda powers: powers
    ),
    "You divide by the number of classes: divide by the sum of the row.": lambda powers: powers / powers.shape[1],
    "You divide by the mean of the row: divide by its sum.": lambda powers: powers / powers.mean(1, keepdims=True),
    "You divide by the root of the sum of squares: divide by the sum itself.": (
        lambda powers: powers / np.sqrt(np.square(powers).sum(1, keepdims=True))
    ),
    "You divide by 1 + the sum: divide by the sum alone.": lambda powers: powers / (1 + powers.sum(1, keepdims=True)),
    "Each of your sums leaves out the class itself: sum over all classes.": (
        lambda powers: powers / (powers.sum(1, keepdims=True) - powers)
    ),
    "The sums lie along the wrong axis: without keepdims=True they divide the columns and not the rows.": (
        lambda powers: powers / powers.sum(1)
    ),
}
_AFTER: dict[str, Callable[[Array, Array], Array]] = {
    "": lambda shares, scores: shares,
    "These are logarithms, log P_c: take exp of them.": lambda shares, scores: np.log(shares),
    "The best class got 1 and all others 0: that is the arg max. A softmax gives every class a share.": (
        lambda shares, scores: (scores == scores.max(1, keepdims=True)).astype(float)
    ),
    "You replace nan with a number afterwards, but an overflow has already lost the answer there. Subtract the "
    "row's largest score first.": lambda shares, scores: np.nan_to_num(shares),
    "This is 1 − P_c.": lambda shares, scores: 1 - shares,
}


def _softmax_with(
    probe: Probe,
    shift: Callable[[Array], Any],
    power: Callable[[Array, Any], Array],
    share: Callable[[Array], Array],
    after: Callable[[Array, Array], Array],
) -> Array:
    (scores,) = probe.given
    return after(share(power(scores, shift(scores))), scores)


def _remark_on_softmax(probe: Probe, at: tuple[int, ...]) -> str:
    return f"It is exp({probe.given[0][at]:g}) divided by the sum of exp over the row."


@cache
def _convolution_exercise() -> Exercise:
    random = np.random.default_rng(0)
    probes = []
    # One thing changes at a time, so that a message can say what was right before: a square x; an oblong one; an oblong
    # kernel; strides that leave rows and columns over.
    for x_shape, k_shape, stride in (
        ((2, 7, 7), (2, 3, 3), 2),
        ((2, 5, 8), (2, 3, 3), 1),
        ((3, 5, 8), (3, 2, 3), 1),
        ((1, 9, 6), (1, 3, 2), 3),
        ((3, 8, 11), (3, 3, 2), 2),
    ):
        x = random.integers(-4, 5, x_shape).astype(float)
        kernel = random.integers(-3, 4, k_shape).astype(float)
        words = f"x of shape {x_shape}, K of shape {k_shape}, b = 0.5 and stride {stride}"
        probes.append(Probe((x, kernel, 0.5, stride), _convolve(x, kernel, 0.5, stride), words))
    return Exercise(
        probes=probes,
        praise="Windows, stride, channels and bias are all as in the network's own layers.",
        expected="a map",
        knobs=(_KERNEL, _SUM, _BIAS, _PLACE),
        mistaken=_convolution_with,
        forms={"Your answer went through a ReLU: return the convolution alone, with negative values.": _relu} | FORMS,
        remark=_remark_on_convolution,
        about_shape=_about_shape_of_map,
        hints={
            "broadcast": "A window is x[:, top : top + h, left : left + w], and (h, w) is K.shape[1:].",
            "must match the size": "A window is x[:, top : top + h, left : left + w], and (h, w) is K.shape[1:].",
            "out of bounds": "There are (H − h) // stride + 1 rows and (W − w) // stride + 1 columns.",
        },
        ways=(_arrays, _tensors),
        most=3,
    )


def _convolve(x: Array, kernel: Array, bias: float, stride: int) -> Array:
    """The oracle: one product at a time."""
    channels, height, width = kernel.shape
    out = np.full(((x.shape[1] - height) // stride + 1, (x.shape[2] - width) // stride + 1), bias)
    for i, j in np.ndindex(*out.shape):
        for c, u, v in np.ndindex(channels, height, width):
            out[i, j] += x[c, i * stride + u, j * stride + v] * kernel[c, u, v]
    return out


def _relu(values: Array) -> Array:
    return values.clip(min=0)


def _windows(x: Array, kernel: Array) -> Array:
    """All windows of x with a stride of 1: (channels, rows, columns, h, w)."""
    return np.lib.stride_tricks.sliding_window_view(x, kernel.shape[1:], axis=(1, 2))


_FLIPPED = "The kernel is flipped: networks apply it as it is (K[u, v] times x[i + u, j + v])."
_KERNEL: dict[str, Callable[[Array], Array]] = {
    "": lambda kernel: kernel,
    _FLIPPED: lambda kernel: kernel[:, ::-1, ::-1],
    _FLIPPED + " ": lambda kernel: kernel[:, ::-1],
    _FLIPPED + "  ": lambda kernel: kernel[:, :, ::-1],
    "The kernel's channels are in reverse order: channel c of K belongs to channel c of x.": (
        lambda kernel: kernel[::-1]
    ),
    "Rows and columns are swapped in the kernel: rows (u) come first, then columns (v).": (
        lambda kernel: kernel.transpose(0, 2, 1)
    ),
    "Each window is multiplied by the kernel's first channel alone: channel c of K belongs to channel c of x.": (
        lambda kernel: np.broadcast_to(kernel[:1], kernel.shape)
    ),
}
_SUM: dict[str, Callable[[Array], Array]] = {
    "": lambda products: products.sum((0, -2, -1)),
    "You kept one map per channel: sum over the channels too.": lambda products: products.sum((-2, -1)),
    "Only the first channel is used: sum over all of them.": lambda products: products[0].sum((-2, -1)),
    "Only the last channel is used: sum over all of them (is a sum overwritten in the loop?).": (
        lambda products: products[-1].sum((-2, -1))
    ),
    "You took the mean of the products: a convolution takes their sum.": lambda products: products.mean((0, -2, -1)),
    "You took the mean over the channels: a convolution takes the sum.": (
        lambda products: products.sum((-2, -1)).mean(0)
    ),
    "You took the largest product: a convolution takes their sum.": lambda products: products.max((0, -2, -1)),
    "You took the largest channel: a convolution sums over the channels.": (
        lambda products: products.sum((-2, -1)).max(0)
    ),
    "Only the window's first position is used: sum over all positions of the kernel.": (
        lambda products: products[..., 0, 0].sum(0)
    ),
    "Only the window's last position is used: sum over all positions of the kernel (= for +=?).": (
        lambda products: products[-1, ..., -1, -1]
    ),
}
_BIAS: dict[str, Callable[[float, Array], float]] = {
    "": lambda bias, kernel: bias,
    "The bias is missing: add b once to each output.": lambda bias, kernel: 0.0,
    "The bias is added once for every product: add it once, after the sum over all.": (
        lambda bias, kernel: bias * kernel.size
    ),
    "The bias is added once for every channel: add it once, after the sum over all.": (
        lambda bias, kernel: bias * len(kernel)
    ),
    "The bias is added once for every position of the kernel: add it once, after the sum over all.": (
        lambda bias, kernel: bias * kernel[0].size
    ),
    "The bias is subtracted: add it.": lambda bias, kernel: -bias,
    "The bias is added twice.": lambda bias, kernel: 2 * bias,
}


def _stepped(windows: Array, stride: int) -> Array:
    return windows[:, ::stride, ::stride]


def _padded(x: Array, kernel: Array, stride: int) -> Array:
    around = ((0, 0), *((side // 2, side // 2) for side in kernel.shape[1:]))
    return _stepped(_windows(np.pad(x, around), kernel), stride)


def _like(windows: Array, rows: int, columns: int, stride: int = 1) -> Array:
    """Windows in `rows` rows and `columns` columns from the corner on; those beyond the last are empty."""
    out = np.zeros((len(windows), rows, columns, *windows.shape[-2:]))
    there = windows[:, ::stride, ::stride][:, :rows, :columns]
    out[:, : there.shape[1], : there.shape[2]] = there
    return out


_SIZE = "There are (H − h) // stride + 1 rows and (W − w) // stride + 1 columns"
_PLACE: dict[str, Callable[[Array, Array, int], Array]] = {
    "": lambda x, kernel, stride: _stepped(_windows(x, kernel), stride),
    "The stride is forgotten: the window must start at row i · stride and column j · stride.": (
        lambda x, kernel, stride: _windows(x, kernel)
    ),
    "The stride is forgotten in the windows: they must start at row i · stride and column j · stride.": (
        lambda x, kernel, stride: _like(
            _windows(x, kernel),
            (x.shape[1] - kernel.shape[1]) // stride + 1,
            (x.shape[2] - kernel.shape[2]) // stride + 1,
        )
    ),
    "The stride is used for the rows alone: columns need it too.": (
        lambda x, kernel, stride: _windows(x, kernel)[:, ::stride]
    ),
    "The stride is used for the columns alone: rows need it too.": (
        lambda x, kernel, stride: _windows(x, kernel)[:, :, ::stride]
    ),
    "Your windows are the kernel's size apart: they must be `stride` apart.": (
        lambda x, kernel, stride: _windows(x, kernel)[:, :: kernel.shape[1], :: kernel.shape[2]]
    ),
    "Rows and columns are swapped: i counts rows (the first axis of the map), j counts columns.": (
        lambda x, kernel, stride: _stepped(_windows(x, kernel), stride).swapaxes(1, 2)
    ),
    "Rows and columns are swapped in x: its axes are channel, row, column.": (
        lambda x, kernel, stride: _stepped(_windows(x.swapaxes(1, 2), kernel), stride)
    ),
    "You padded x: here, all windows lie within x.": _padded,
    f"The last row and column of windows are missing (did you forget the + 1?). {_SIZE}.": (
        lambda x, kernel, stride: _like(
            _windows(x, kernel),
            (x.shape[1] - kernel.shape[1]) // stride,
            (x.shape[2] - kernel.shape[2]) // stride,
            stride,
        )
    ),
    f"Your map has H // stride rows. {_SIZE}.": (
        lambda x, kernel, stride: _like(_windows(x, kernel), x.shape[1] // stride, x.shape[2] // stride, stride)
    ),
}


def _convolution_with(
    probe: Probe,
    kernel_of: Callable[[Array], Array],
    sum_of: Callable[[Array], Array],
    bias_of: Callable[[float, Array], float],
    place: Callable[[Array, Array, int], Array],
) -> Array:
    x, kernel, bias, stride = probe.given
    laid = kernel_of(kernel)
    return sum_of(place(x, laid, stride) * laid[:, None, None]) + bias_of(bias, kernel)


def _remark_on_convolution(probe: Probe, at: tuple[int, ...]) -> str:
    _, kernel, _, stride = probe.given
    (i, j), (_, height, width) = at, kernel.shape
    rows, columns = f"{i * stride}:{i * stride + height}", f"{j * stride}:{j * stride + width}"
    return f"It is the sum of x[:, {rows}, {columns}] * K, plus b."


def _about_shape_of_map(got: tuple[int, ...], probe: Probe) -> str:
    if not got:
        return "Return the whole map, not one number."
    swapped = " Rows and columns are swapped." if got == probe.right.shape[::-1] else ""
    return f"{_SIZE}.{swapped}"
