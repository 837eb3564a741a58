"""One layer's way back, by hand: flipped kernels for a convolution, switches for a pooling, masks for a ReLU."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import conv2d, pad

RULES = ("gradient", "deconvnet", "guided")
"""Three ways back through a ReLU: the paper compares the first two; guided back-propagation is later work."""

Pair = int | tuple[int, int]


def relu_backward(x: Tensor, r: Tensor, rule: str = "gradient", ceiling: float = math.inf) -> Tensor:
    """Take R one step back through a ReLU: R_n from R_{n+1} and the layer's input X_n.

    gradient: R_n = R_{n+1} · 1(X_n > 0), what back-propagation does.
    deconvnet: R_n = R_{n+1} · 1(R_{n+1} > 0), a ReLU on the way back (Zeiler & Fergus 2014).
    guided: R_n = R_{n+1} · 1(X_n > 0) · 1(R_{n+1} > 0), both (Springenberg et al. 2014, after the paper).

    ReLU6, min(max(X, 0), 6), has a ceiling: its gradient mask is 1(0 < X_n < 6). DeconvNet never met one. Here its
    mask stays 1(R_{n+1} > 0), because 6 is a bound on activities and R has another scale; guided is both, as before.

    Args:
        x: X_n, the ReLU's input, any shape.
        r: R_{n+1}, what comes down to its output, of the same shape.
        rule: one of `RULES`.
        ceiling: above 0; 6 for ReLU6.

    Returns:
        R_n, like r.

    Raises:
        ValueError: an unknown rule, shapes that differ, a ceiling that is not above 0.

    Source: paper, Section 4.

    Example:
        >>> x, r = torch.tensor([-1.0, 2.0, 3.0]), torch.tensor([4.0, 5.0, -6.0])
        >>> di.relu_backward(x, r), di.relu_backward(x, r, "deconvnet")
        (tensor([ 0.,  5., -6.]), tensor([4., 5., 0.]))
    """
    check_rule(rule)
    _check_tensors(x, r)
    if x.shape != r.shape:
        raise ValueError(f"expected X_n and R_n+1 of one shape, got {tuple(x.shape)} and {tuple(r.shape)}.")
    if not ceiling > 0:
        raise ValueError(f"expected a ceiling above 0, got {ceiling}; 6 is ReLU6's, math.inf is none.")
    if rule == "deconvnet":
        return r.clamp_min(0)
    below = torch.where(forward_mask(x, ceiling), r, 0)
    return below.clamp_min(0) if rule == "guided" else below


def _check_tensors(*values: object) -> None:
    for value in values:
        if not isinstance(value, Tensor):
            raise TypeError(f"expected tensors, got {type(value).__name__}. Use torch.from_numpy(values).")


def forward_mask(x: Tensor, ceiling: float = math.inf) -> Tensor:
    """Where a ReLU lets changes of its input through: 1(X_n > 0), for ReLU6 1(0 < X_n < 6); boolean, like x."""
    return x > 0 if math.isinf(ceiling) else (x > 0) & (x < ceiling)


def check_rule(rule: object) -> None:
    """Refuse a rule that does not exist, and list those that do."""
    if rule not in RULES:
        raise ValueError(f"expected a rule out of {', '.join(map(repr, RULES))}, got {rule!r}.")


def convolution_backward(
    r: Tensor,
    kernels: Tensor,
    size: Pair,
    stride: Pair = 1,
    padding: Pair = 0,
    dilation: Pair = 1,
    groups: int = 1,
) -> Tensor:
    """Take R one step back through a convolution, by another convolution: with the kernels flipped.

    For X_{n+1} = X_n ⋆ K the gradient and DeconvNet agree: R_n = R_{n+1} ⋆ flip(K), where flip turns each kernel by
    180° and exchanges its input and output channels. A stride puts zeros between the values of R first; the padding
    of the way forward is cut off at the end.

    Args:
        r: R_{n+1}, `(N, out, h, w)`.
        kernels: K, `(out, in / groups, kh, kw)`.
        size: (H, W) of the layer's input, or one number for both.
        stride: rows and columns, or one number for both; likewise the next two.
        padding: zeros around the layer's input.
        dilation: steps between the entries of a kernel.
        groups: how many the channels are split into.

    Returns:
        R_n, `(N, in, H, W)`, like r.

    Raises:
        ValueError: r does not fit the kernels, or has another size than that layer gives for an input of this size.

    Source: paper, Section 4.

    Example:
        >>> kernels = torch.tensor([[[[1.0, 2.0], [3.0, 4.0]]]])
        >>> di.convolution_backward(torch.ones(1, 1, 1, 1), kernels, size=2)
        tensor([[[[1., 2.],
                  [3., 4.]]]])
    """
    _check_tensors(r, kernels)
    if kernels.ndim != 4 or kernels.shape[0] % groups:
        raise ValueError(
            f"expected kernels (out, in / groups, kh, kw), out a multiple of {groups}, got {tuple(kernels.shape)}."
        )
    (sy, sx), (py, px), (dy, dx) = _pair(stride, 1), _pair(padding), _pair(dilation, 1)
    size = _pair(size, 1)
    out, inside, kh, kw = kernels.shape
    (height, width), (high, wide) = size, (dy * (kh - 1), dx * (kw - 1))
    expected = ((height + 2 * py - high - 1) // sy + 1, (width + 2 * px - wide - 1) // sx + 1)
    if r.ndim != 4 or r.shape[1] != out or tuple(r.shape[2:]) != expected:
        raise ValueError(
            f"expected R_n+1 of shape (N, {out}, {expected[0]}, {expected[1]}), which is what these kernels give for "
            f"an input of {height}×{width}, got {tuple(r.shape)}."
        )
    apart = r.new_zeros(*r.shape[:2], (expected[0] - 1) * sy + 1, (expected[1] - 1) * sx + 1)
    apart[:, :, ::sy, ::sx] = r
    # Each kernel meets R wherever it touches; rows of the input that the stride never reached come last and get 0.
    left_over = (height + 2 * py - high - apart.shape[2], width + 2 * px - wide - apart.shape[3])
    apart = pad(apart, (wide, wide + left_over[1], high, high + left_over[0]))
    flipped = kernels.flip(2, 3).reshape(groups, out // groups, inside, kh, kw).transpose(1, 2)
    padded = conv2d(apart, flipped.reshape(groups * inside, out // groups, kh, kw), dilation=(dy, dx), groups=groups)
    return padded[:, :, py : py + height, px : px + width]


class Pooled(NamedTuple):
    """What a max-pooling gives, and where each value came from."""

    x: Tensor
    """X_{n+1}, `(N, C, h, w)`."""
    switches: Tensor
    """The place of each maximum in its own plane of X_n, row · W + column, `(N, C, h, w)`, int64."""


def pool_with_switches(
    x: Tensor, kernel: Pair, stride: Pair | None = None, padding: Pair = 0, dilation: Pair = 1, ceil_mode: bool = False
) -> Pooled:
    """Max-pool, and remember where each maximum was: DeconvNet calls these places switches.

    Of equal maxima the first one counts, row by row, as in PyTorch.

    Args:
        x: X_n, `(N, C, H, W)`.
        kernel: rows and columns of a window, or one number for both; likewise the others.
        stride: None means as large as the kernel.
        padding: a border that never wins.
        dilation: steps between the entries of a window.
        ceil_mode: whether a window that begins inside but does not fit is kept.

    Returns:
        `Pooled` (x, switches).

    Raises:
        ValueError: x with another number of dimensions, a window larger than the padded input.

    Source: Zeiler & Fergus 2014, Section 2.1; paper, Section 4.

    Example:
        >>> di.pool_with_switches(torch.tensor([[[[1.0, 5.0], [2.0, 3.0]]]]), kernel=2)
        Pooled(x=tensor([[[[5.]]]]), switches=tensor([[[[1]]]]))
    """
    _check_tensors(x)
    if x.ndim != 4:
        raise ValueError(f"expected X_n of shape (N, C, H, W), got {tuple(x.shape)}.")
    if not x.is_floating_point():
        raise TypeError(f"expected X_n of floats, got {x.dtype}. Use x.double().")
    (kh, kw), (py, px), (dy, dx) = _pair(kernel, 1), _pair(padding), _pair(dilation, 1)
    sy, sx = _pair(kernel if stride is None else stride, 1)
    height, width = x.shape[2:]
    rows, columns = (
        _windows(length, k, s, p, d, ceil_mode)
        for length, k, s, p, d in ((height, kh, sy, py, dy), (width, kw, sx, px, dx))
    )
    if rows < 1 or columns < 1:
        raise ValueError(f"a window of {kh}×{kw} does not fit into {height}×{width}; lower kernel or dilation.")
    place = torch.arange(height * width, device=x.device).reshape(1, 1, height, width).expand(x.shape)
    # Windows may stick out at the end too, by a stride at most.
    border = (px, px + kw * dx + sx, py, py + kh * dy + sy)
    x, place = pad(x, border, value=-math.inf), pad(place, border, value=-1)
    best = x.new_full((*x.shape[:2], rows, columns), -math.inf)
    switches = place.new_full(best.shape, -1)
    for i in range(kh):
        for j in range(kw):
            here = (slice(None), slice(None), _every(i * dy, rows, sy), _every(j * dx, columns, sx))
            better = (x[here] > best) | ((switches < 0) & (place[here] >= 0))
            best, switches = torch.where(better, x[here], best), torch.where(better, place[here], switches)
    return Pooled(best, switches)


def unpool(r: Tensor, switches: Tensor, size: Pair) -> Tensor:
    """Take R one step back through a max-pooling: each value goes to where its maximum came from.

    R_n[s] = Σ R_{n+1} over the windows whose switch is s, 0 elsewhere. This is the gradient of max-pooling, and
    DeconvNet's un-pooling as well, whose switches are the places of the maxima.

    Args:
        r: R_{n+1}, `(N, C, h, w)`.
        switches: from `pool_with_switches`, of the same shape.
        size: (H, W) of the layer's input, or one number for both.

    Returns:
        R_n, `(N, C, H, W)`, like r.

    Raises:
        ValueError: shapes that differ, a switch outside the input.

    Source: paper, Section 4.

    Example:
        >>> di.unpool(torch.ones(1, 1, 1, 1), switches=torch.tensor([[[[1]]]]), size=2)
        tensor([[[[0., 1.],
                  [0., 0.]]]])
    """
    _check_tensors(r, switches)
    if r.shape != switches.shape or r.ndim != 4:
        raise ValueError(
            f"expected R_n+1 and switches of one shape (N, C, h, w), got {tuple(r.shape)} and {tuple(switches.shape)}."
        )
    height, width = _pair(size, 1)
    if switches.numel() and not 0 <= int(switches.min()) <= int(switches.max()) < height * width:
        raise ValueError(f"expected switches from 0 to {height * width - 1} for an input of {height}×{width}.")
    planes = r.new_zeros(*r.shape[:2], height * width)
    return planes.scatter_add(2, switches.flatten(2), r.flatten(2)).reshape(*r.shape[:2], height, width)


def _windows(length: int, kernel: int, stride: int, padding: int, dilation: int, ceil_mode: bool) -> int:
    """Count the windows along one side."""
    room = length + 2 * padding - dilation * (kernel - 1) - 1
    count = (-(-room // stride) if ceil_mode else room // stride) + 1
    # A window must begin in the input or in the border before it, not in the one behind it.
    return count - 1 if ceil_mode and (count - 1) * stride >= length + padding else count


def _every(first: int, count: int, step: int) -> slice:
    return slice(first, first + (count - 1) * step + 1, step)


def _pair(value: object, least: int = 0) -> tuple[int, int]:
    pair = (value, value) if isinstance(value, int) else value
    if (
        not isinstance(pair, (tuple, list))
        or len(pair) != 2
        or not all(isinstance(n, int) and n >= least for n in pair)
    ):
        raise ValueError(f"expected a whole number of at least {least}, or two of them, got {value!r}.")
    return pair[0], pair[1]
