"""Checks for lesson 1: the softmax of a table of scores, and a convolution by hand."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .verdict import Verdict, ask

Array = NDArray[np.float64]


def check_softmax(function: Callable[[Any], Any]) -> Verdict:
    """Check a softmax over the classes, P_c = exp S_c / Σ_k exp S_k, that huge scores do not break.

    Args:
        function: from scores `(N, classes)`, float64, one photo a row, to probabilities of the same shape.

    Returns:
        A `Verdict` that names the mistake.
    """
    small = np.array([[2.0, 1.0, 0.0], [0.5, 3.0, -1.0]])
    # One row far above the other: the largest score of the whole table would turn the other row into 0 / 0.
    huge = np.array([[1000.0, 1001.0, 999.0], [-1000.0, -1002.0, -1001.0]])
    for scores in (small, huge):
        answer = _ask(function, scores)
        if isinstance(answer, Verdict):
            return answer
        if answer.shape != scores.shape:
            return Verdict(
                False,
                f"You returned an array of shape {answer.shape} for scores {scores.shape}: expected one "
                f"probability for each score.{_shape_hint(answer.shape, scores.shape)}",
            )
        if not _near(answer, _softmax(scores)):
            return Verdict(False, _softmax_mistake(answer, scores))
    return Verdict(True, "Each row adds up to 1, and scores of 1,000 do not overflow.")


def _softmax(scores: Array) -> Array:
    """The oracle: for each entry the sum of exp(S_k − S_c) from its definition, so that nothing can overflow to NaN."""
    table = np.zeros_like(scores)
    for n, row in enumerate(scores):
        for c, score in enumerate(row):
            table[n, c] = 1 / sum(np.exp(min(other - score, 700.0)) for other in row)
    return table


def _softmax_mistake(answer: Array, scores: Array) -> str:
    with np.errstate(all="ignore"):
        powers = np.exp(scores)
        one_maximum = np.exp(scores - scores.max())
        known = {
            "these columns add up to 1, so your sum runs over the photos (the wrong axis). Sum over the classes "
            "of one photo: axis=1, keepdims=True.": _softmax(scores.T).T,
            "the whole table adds up to 1: you divided by the sum over every photo. Sum over the classes of one "
            "photo: axis=1, keepdims=True.": powers / powers.sum(),
            "these are the powers exp S_c alone: divide each by the sum of its row.": powers,
            "you divided the scores by their sum: take the exponential of each score first.": (
                scores / scores.sum(1, keepdims=True)
            ),
            "these are logarithms, log P_c: take exp of them.": np.log(_softmax(scores)),
            "the best class got 1 and all others 0: that is the arg max. A softmax leaves every class a share.": (
                (scores == scores.max(1, keepdims=True)).astype(float)
            ),
            "the sign is turned round: the highest score got the lowest probability.": _softmax(-scores),
            "you subtracted the largest score, but did not divide by the sum of the row.": (
                np.exp(scores - scores.max(1, keepdims=True))
            ),
            "you used 2 as the base: the softmax uses e, np.exp.": _softmax(scores * np.log(2)),
        }
        for message, wrong in known.items():
            if np.isfinite(wrong).all() and _near(answer, wrong):
                return f"For ordinary scores, {message}" if scores.max() < 100 else f"For huge scores, {message}"
        overflow, underflow = powers / powers.sum(1, keepdims=True), one_maximum / one_maximum.sum(1, keepdims=True)
    if not np.isfinite(answer).all():
        if np.allclose(answer, underflow, equal_nan=True) and np.isfinite(answer[0]).all():
            return (
                "one photo's scores are far below the other's, and its row became nan: you subtracted the largest "
                "score of the whole table. Subtract the largest of each row: S.max(axis=1, keepdims=True)."
            )
        if np.allclose(answer, overflow, equal_nan=True):
            return (
                "right for ordinary scores, but exp(1000) overflows to inf, and inf / inf is nan. Adding a constant "
                "to a row changes nothing in P_c: subtract the row's largest score first."
            )
        return "there are values that are not finite (nan or inf). Where do you divide by 0, or overflow?"
    if np.allclose(answer.sum(1), 1):
        return "each row adds up to 1, as it should, but the shares are not exp S_c / Σ_k exp S_k."
    return (
        f"a row of probabilities must add up to 1; your first row adds up to {answer[0].sum():.3g}. "
        "Divide exp S_c by the sum of exp S_k over the row."
    )


def check_convolution(function: Callable[[Any, Any, Any, Any], Any]) -> Verdict:
    """Check one output map of a convolution layer as networks compute it (the kernel is not flipped).

    Args:
        function: from x `(channels, H, W)`, K `(channels, h, w)`, a bias b and a stride, to the map
            `((H − h) // stride + 1, (W − w) // stride + 1)`; float64 throughout, no padding.

    Returns:
        A `Verdict` that names the mistake.
    """
    random = np.random.default_rng(0)
    # (x, K, stride): square first, where swapped axes run and can be named; then oblong ones.
    cases = [((2, 7, 7), (2, 3, 3), 2), ((3, 5, 8), (3, 2, 3), 1), ((1, 9, 6), (1, 3, 2), 3)]
    for x_shape, k_shape, stride in cases:
        x = random.integers(-4, 5, x_shape).astype(float)
        kernel = random.integers(-3, 4, k_shape).astype(float)
        bias = 0.5
        answer = _ask(function, x, kernel, bias, stride)
        if isinstance(answer, Verdict):
            if x_shape[1] != x_shape[2]:
                return Verdict(False, f"{answer.message} (x was oblong, {x_shape}: rows come first, then columns.)")
            return answer
        expected = _convolve(x, kernel, bias, stride)
        if answer.shape != expected.shape or not _near(answer, expected):
            return Verdict(False, _convolution_mistake(answer, x, kernel, bias, stride))
    return Verdict(True, "Windows, stride, channels and bias are all as in the network's own layers.")


def _convolve(x: Array, kernel: Array, bias: float, stride: int) -> Array:
    """The oracle: one product at a time."""
    channels, height, width = kernel.shape
    out = np.full(((x.shape[1] - height) // stride + 1, (x.shape[2] - width) // stride + 1), bias)
    for i, j in np.ndindex(*out.shape):
        for c, u, v in np.ndindex(channels, height, width):
            out[i, j] += x[c, i * stride + u, j * stride + v] * kernel[c, u, v]
    return out


def _convolution_mistake(answer: Array, x: Array, kernel: Array, bias: float, stride: int) -> str:
    kernels = {
        "": kernel,
        "the kernel is flipped: networks lay it on as it is (K[u, v] on x[i + u, j + v])": kernel[:, ::-1, ::-1],
    }
    if kernel.shape[1] == kernel.shape[2]:
        kernels["x and y are swapped in the kernel: rows (u) come first, then columns (v)"] = kernel.transpose(0, 2, 1)
    biases = {
        "": bias,
        "the bias is missing: add b once to each output": 0.0,
        "the bias is added once for every product: add it once, after the sum over all": bias * kernel.size,
    }
    if len(kernel) > 1:
        biases["the bias is added once for every channel: add it once, after the sum over all"] = bias * len(kernel)
    for about_kernel, some_kernel in kernels.items():
        for about_bias, some_bias in biases.items():
            right = _convolve(x, some_kernel, some_bias, stride)
            dense = _convolve(x, some_kernel, some_bias, 1)
            places = {
                "": right,
                "the stride is forgotten: the window must start at row i · stride and column j · stride": dense,
                "the stride is forgotten in the windows: they must start at row i · stride and column j · stride": (
                    dense[: right.shape[0], : right.shape[1]]
                ),
                "x and y are swapped: i counts rows (the first axis of the map), j counts columns": right.T,
            }
            for about_place, wrong in places.items():
                if _near(answer, wrong):
                    return _several(about_kernel, about_bias, about_place)
    right = _convolve(x, kernel, bias, stride)
    plain = right - bias
    sums = {
        "you kept one map a channel: sum over the channels too": np.stack(
            [_convolve(x[c : c + 1], kernel[c : c + 1], 0, stride) for c in range(len(x))]
        ),
        "only the first channel is used: sum over all of them": _convolve(x[:1], kernel[:1], 0, stride),
        "you took the mean of the products: a convolution takes their sum": plain / kernel.size,
    }
    for about_sum, wrong in sums.items():
        for about_bias, some_bias in biases.items():
            if _near(answer, wrong + some_bias):
                return _several(about_sum, about_bias)
    if _near(answer, right.clip(0)):
        return "there is a ReLU in it already: return the convolution alone, negative values too."
    if answer.shape != right.shape:
        return (
            f"your map has shape {answer.shape}; expected {right.shape} for x {x.shape}, K {kernel.shape} and stride "
            f"{stride}: (H − h) // stride + 1 rows, and columns likewise.{_shape_hint(answer.shape, right.shape)}"
        )
    i, j = (int(n) for n in np.argwhere(~np.isclose(answer, right))[0])
    return (
        f"output [{i}, {j}] is {answer[i, j]:.3g}; expected {right[i, j]:.3g}. It is the sum of "
        f"x[:, {i * stride}:{i * stride + kernel.shape[1]}, {j * stride}:{j * stride + kernel.shape[2]}] * K, plus b."
    )


def _ask(function: Callable[..., Any], *arguments: Any) -> Array | Verdict:
    """The learner's answer as an array; a function written for tensors is as right as one for arrays."""
    import torch

    stops: list[Verdict] = []
    for convert in (np.array, torch.tensor):  # both copy, so that the learner's function may write into them
        given = [convert(each) if isinstance(each, np.ndarray) else each for each in arguments]
        with np.errstate(all="ignore"):  # a warning on stderr says less than the verdict
            answer = ask(function, *given)
        if isinstance(answer, Verdict):
            stops.append(answer)
            continue
        try:
            return np.asarray(answer, dtype=float)
        except (TypeError, ValueError, RuntimeError):
            return Verdict(False, f"You returned {type(answer).__name__}; expected an array of numbers.")
    # What NumPy's array lacks is no news to someone who wrote for tensors.
    return stops["numpy" in stops[0].message]


def _near(answer: Array, expected: Array) -> bool:
    # float32 answers are right answers too.
    return answer.shape == expected.shape and bool(np.allclose(answer, expected, rtol=1e-4, atol=1e-6))


def _several(*messages: str) -> str:
    said = [message for message in messages if message]
    return "; and ".join(said) + "."


def _shape_hint(got: tuple[int, ...], expected: tuple[int, ...]) -> str:
    if got == expected[::-1]:
        return " Rows and columns are swapped."
    return " Return the whole array, not one number." if got == () else ""
