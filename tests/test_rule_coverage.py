"""Operation by operation: which of torch's a ReLU rule passes through, what it then brings down, and which are refused.

The oracle knows no graph. It takes each operation's Jacobian by finite differences, column by column, and walks
the three rules through it as they are written on paper.
"""

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from small_networks import MadeOf, made_of
from torch import Tensor, nn
from torch.nn import functional

from deepinside_edu import convolution_backward, descend, record
from deepinside_edu.rule_coverage import LINEAR, LINEAR_IN, PICKING, PICKING_ALONG

RULES = ("gradient", "deconvnet", "guided")
STEP = 1e-6


def normal(*shape: int, seed: int = 1) -> Tensor:
    return torch.from_numpy(np.random.default_rng(seed).normal(size=shape))


IMAGE = normal(1, 3, 6, 6)
MASK = torch.arange(36).reshape(6, 6) % 3 == 0
ROWS = torch.tensor([4, 0, 3])
SIX, FOUR = normal(6, 6, seed=2), normal(4, 6, 6, seed=3)
NO_TIES = torch.from_numpy(np.random.default_rng(0).permutation(144)).double().reshape(1, 4, 6, 6) / 1000
"""The first of several equal values, as a ReLU leaves them, is the maximum, and a small step would choose another."""

NORM = {"running_mean": normal(4, seed=4), "running_var": normal(4, seed=5).abs() + 0.1}


def grid() -> Tensor:
    theta = torch.tensor([[[0.8, 0.1, 0.0], [-0.2, 0.9, 0.1]]]).double()
    return functional.affine_grid(theta, [1, 4, 5, 5], align_corners=False)


def circular() -> nn.Module:
    torch.manual_seed(3)
    return nn.Conv2d(4, 2, 3, padding=1, padding_mode="circular").double()


def written(change: Callable[[Tensor], object]) -> Callable[[Tensor], Tensor]:
    """What is written into a tensor, or into a part of it."""

    def call(x: Tensor) -> Tensor:
        y = x + 0
        change(y)
        return y

    return call


PASSED: dict[str, Callable[[Tensor], Tensor]] = {
    # where things are
    "rot90": lambda x: x.rot90(1, (2, 3)),
    "rot180": lambda x: torch.rot90(x, 2, (2, 3)),
    "flip": lambda x: x.flip(2, 3),
    "fliplr": lambda x: x[0].fliplr(),
    "roll": lambda x: x.roll((1, 2), (2, 3)),
    "channel_shuffle": lambda x: functional.channel_shuffle(x, 2),
    "movedim": lambda x: x.movedim(1, 3),
    "pixel_shuffle": lambda x: functional.pixel_shuffle(x, 2),
    "swapaxes": lambda x: x.swapaxes(2, 3),
    "pixel_unshuffle": lambda x: functional.pixel_unshuffle(x, 2),
    "unflatten": lambda x: x.unflatten(2, (2, 3)),
    "unfold": lambda x: functional.unfold(x, 2, stride=2),
    "windows": lambda x: x.unfold(2, 3, 1),
    "fold": lambda x: functional.fold(functional.unfold(x, 3, padding=1), (6, 6), 3, padding=1),
    "gather": lambda x: x.gather(2, torch.tensor([[[[5, 0, 1]]]]).expand(1, 4, 1, 3)),
    "take_along_dim": lambda x: x.take_along_dim(torch.tensor([[[[5], [1]]]]), 2),
    "take": lambda x: x.take(ROWS),
    "index_select": lambda x: x.index_select(3, ROWS),
    "picked": lambda x: x[:, [2, 0], ::2],
    "masked_select": lambda x: x.masked_select(MASK),
    "by a mask": lambda x: x[:, :, MASK],
    "repeat_interleave": lambda x: x.repeat_interleave(2, 3),
    "tile": lambda x: x.tile(1, 1, 2, 1),
    "expand": lambda x: x[:, :1].expand(1, 5, 6, 6),
    "narrow_copy": lambda x: torch.narrow_copy(x, 2, 1, 3),
    "as_strided": lambda x: x.as_strided((1, 4, 3, 3), (144, 36, 12, 2)),
    "chunk": lambda x: x.chunk(2, 1)[1],
    "tensor_split": lambda x: x.tensor_split([2], 3)[1],
    "hsplit": lambda x: x[0].hsplit(2)[1],
    "split": lambda x: torch.cat(x.split([1, 3], 1)[::-1], 1),
    "unbind": lambda x: torch.stack(x.unbind(1)[::-1]),
    "diagonal": lambda x: x.diagonal(dim1=2, dim2=3),
    "diag_embed": lambda x: torch.diag_embed(x),
    "block_diag": lambda x: torch.block_diag(x[0, 0], x[0, 1]),
    "copies": lambda x: torch.permute_copy(x, (0, 2, 3, 1)),
    "ravel": lambda x: x.ravel(),
    "squeeze": lambda x: x.squeeze(0).unsqueeze(1),
    "t": lambda x: x[0, 0].t(),
    "unsafe_split": lambda x: torch.unsafe_split(x, 2, 1)[1],
    "conv, circular": lambda x: circular()(x),
    # their border
    **{
        f"padded {mode}": lambda x, mode=mode: functional.pad(x, (2, 1, 1, 0), mode=mode)
        for mode in ("constant", "reflect", "replicate", "circular")
    },
    **{
        f"padded in 1 dimension, {mode}": lambda x, mode=mode: functional.pad(x.flatten(2), (2, 1), mode=mode)
        for mode in ("reflect", "replicate")
    },
    **{
        f"padded in 3 dimensions, {mode}": lambda x, mode=mode: functional.pad(x[None], (2, 1, 1, 0, 1, 1), mode=mode)
        for mode in ("reflect", "replicate")
    },
    # sizes
    **{
        f"{mode} to 9×4": lambda x, mode=mode: functional.interpolate(x, (9, 4), mode=mode)
        for mode in ("nearest", "nearest-exact", "bilinear", "bicubic", "area")
    },
    **{
        f"{mode} to 4×3, antialias": lambda x, mode=mode: functional.interpolate(x, (4, 3), mode=mode, antialias=True)
        for mode in ("bilinear", "bicubic")
    },
    **{
        f"{mode} in 1 dimension": lambda x, mode=mode: functional.interpolate(x.flatten(2), 20, mode=mode)
        for mode in ("nearest", "nearest-exact", "linear")
    },
    **{
        f"{mode} in 3 dimensions": lambda x, mode=mode: functional.interpolate(x[None], (3, 7, 7), mode=mode)
        for mode in ("nearest", "nearest-exact", "trilinear")
    },
    "grid_sample": lambda x: functional.grid_sample(x, grid(), align_corners=False),
    "grid_sample in 3 dimensions": lambda x: functional.grid_sample(
        x[None], torch.linspace(-0.9, 0.9, 24).double().reshape(1, 2, 2, 2, 3), align_corners=False
    ),
    # sums
    "cumsum": lambda x: x.cumsum(2),
    "diff": lambda x: x.diff(dim=3),
    "trace": lambda x: x[0, 0].trace(),
    "nansum": lambda x: x.nansum(1),
    "nanmean": lambda x: x.nanmean(3),
    "mean": lambda x: x.mean((2, 3)),
    "avg_pool1d": lambda x: functional.avg_pool1d(x.flatten(2), 3),
    "avg_pool2d": lambda x: functional.avg_pool2d(x, 3, 2, 1),
    "avg_pool3d": lambda x: functional.avg_pool3d(x, 2),
    "trapezoid": lambda x: torch.trapezoid(x, dim=2),
    "adaptive_avg_pool1d": lambda x: functional.adaptive_avg_pool1d(x.flatten(2), 5),
    "adaptive_avg_pool2d": lambda x: functional.adaptive_avg_pool2d(x, (4, 3)),
    "adaptive_avg_pool3d": lambda x: functional.adaptive_avg_pool3d(x, (2, 4, 3)),
    "tril": lambda x: x.tril(1),
    "triu": lambda x: x.triu(),
    "deg2rad": torch.deg2rad,
    "rad2deg": torch.rad2deg,
    "nan_to_num": lambda x: x.nan_to_num(),
    "minus": lambda x: 1 - x - x.flip(3),
    "negative": lambda x: -x / 3,
    # products with what does not depend on the image
    "matmul": lambda x: x @ SIX,
    "einsum": lambda x: torch.einsum("nchw,chk->nwk", x, FOUR),
    "mm": lambda x: torch.mm(SIX, x[0, 0]),
    "mv": lambda x: x[0, 0] @ SIX[0],
    "dot": lambda x: x[0, 0, 0].dot(SIX[1]),
    "vdot": lambda x: torch.vdot(SIX[1], x[0, 0, 0]),
    "vecdot": lambda x: torch.linalg.vecdot(x, SIX),
    "bmm": lambda x: torch.bmm(FOUR, x[0]),
    "tensordot": lambda x: torch.tensordot(x, FOUR, ([1, 2], [0, 1])),
    "addmm": lambda x: torch.addmm(x[0, 1], x[0, 0], SIX),
    "addmv": lambda x: torch.addmv(x[0, 1, 0], SIX, x[0, 0, 1]),
    "addbmm": lambda x: torch.addbmm(x[0, 0], FOUR, x[0]),
    "baddbmm": lambda x: torch.baddbmm(x[0], x[0], FOUR),
    "addr": lambda x: torch.addr(x[0, 0], SIX[0], x[0, 1, 0]),
    "outer": lambda x: torch.outer(x[0, 0, 0], SIX[0]),
    "addcmul": lambda x: torch.addcmul(x, x.flip(3), SIX, value=2),
    "addcdiv": lambda x: torch.addcdiv(x, SIX, 1 + SIX**2),
    "kron": lambda x: torch.kron(x[0, 0], SIX[:2, :2]),
    "cross": lambda x: torch.linalg.cross(x[:, :3], FOUR[None, :3], dim=1),
    "inner": lambda x: torch.inner(x, SIX),
    "chain": lambda x: torch.linalg.multi_dot([SIX, x[0, 0], SIX]),
    "linear": lambda x: functional.linear(x, SIX, SIX[0]),
    "lerp": lambda x: torch.lerp(x, x.flip(2), 0.3),
    "lerp by weights": lambda x: torch.lerp(x, FOUR, SIX),
    "lerp weights": lambda x: torch.lerp(FOUR, SIX, x),
    "bilinear": lambda x: functional.bilinear(x, FOUR[None], normal(2, 6, 6, seed=7), SIX[0, :2]),
    "conv1d": lambda x: functional.conv1d(x.flatten(2), normal(3, 4, 3, seed=8)),
    "conv_transpose2d": lambda x: functional.conv_transpose2d(x, normal(4, 2, 3, 3, seed=8), stride=2),
    "conv_transpose1d": lambda x: functional.conv_transpose1d(x.flatten(2), normal(4, 2, 3, seed=8), stride=2),
    "conv3d": lambda x: functional.conv3d(x[None], normal(2, 1, 2, 3, 3, seed=8), SIX[0, :2]),
    "conv of kernels": lambda x: functional.conv2d(FOUR[None], x[:, :, :3, :3], padding=1),
    "batch norm": lambda x: functional.batch_norm(x, **NORM),
    "divided": lambda x: x / (3 + SIX),
    # what is put together, by masks and indices that do not depend on the image
    "where": lambda x: torch.where(MASK, x, 2 * x.flip(3)),
    "masked_fill": lambda x: x.masked_fill(MASK, 3),
    "masked_scatter": lambda x: x.masked_scatter(MASK, x.flip(2, 3) * 2),
    "index_fill": lambda x: x.index_fill(2, ROWS, 1),
    "index_add": lambda x: x.index_add(2, ROWS, x[:, :, :3]),
    "index_copy": lambda x: x.index_copy(3, ROWS, x[..., :3]),
    "index_put": lambda x: x.index_put((torch.tensor([0]), torch.tensor([2, 0, 3])), x[0, :3] * 2),
    "put": lambda x: x.put(ROWS, x[0, 0, 0, 3:]),
    "scatter": lambda x: (
        torch.zeros(1, 4, 6, 6).double().scatter(2, torch.arange(6).flip(0).reshape(1, 1, 6, 1).expand(1, 4, 6, 6), x)
    ),
    "scatter_add": lambda x: x.scatter_add(3, torch.zeros(1, 4, 6, 2, dtype=torch.int64), x[..., 2:4]),
    "select_scatter": lambda x: x.select_scatter(x[:, 1] * 2, 1, 0),
    "slice_scatter": lambda x: x.slice_scatter(x[:, :, 3:] * 2, 2, 0, 3),
    "diagonal_scatter": lambda x: x[0, 0].diagonal_scatter(x[0, 1, 0]),
    # written into a tensor or a part of it
    "x[a] = x": written(lambda y: y.__setitem__((slice(None), 0), 2 * y[:, 1])),
    "x[mask] = 0": written(lambda y: y.__setitem__((0, 0, MASK), 0)),
    "x[:, :2][mask] = x": written(lambda y: y[:, :2].__setitem__((slice(None), slice(None), MASK), 2 * y[:, 2:, MASK])),
    "part.zero_()": written(lambda y: y[:, :2].zero_()),
    "part.mul_()": written(lambda y: y[..., :2].mul_(SIX[:, :2])),
    "part += x": written(lambda y: y[:, :2].add_(y[:, 2:])),
    "part.masked_fill_()": written(lambda y: y[:, :2].masked_fill_(MASK, 1)),
    "fill_": written(lambda y: y[0, 0].fill_(2)),
    "copy_": lambda x: torch.zeros(1, 4, 6, 6).double().copy_(x),
    "alias": lambda x: x[...],
    "fill": lambda x: x + torch.fill(x, 2),
    "zero_": lambda x: x + x.clone().zero_(),
    "part.copy_()": written(lambda y: y[:, :2].copy_(2 * y[:, 2:])),
    "part.div_()": written(lambda y: y[:, 1].div_(7)),
    # as frequencies
    "fft": lambda x: torch.view_as_real(torch.fft.fft2(x)),
    "rfft": lambda x: torch.fft.rfft2(x).real,
    "fourier filter": lambda x: torch.fft.irfft2(torch.fft.rfft2(x) * normal(6, 4, seed=9), (6, 6)),
    "ifft": lambda x: torch.fft.ifft(x).imag,
    "hfft": lambda x: torch.fft.hfft(x.to(torch.complex128)),
    "stft": lambda x: torch.view_as_real(
        torch.stft(x.flatten(1), 16, window=torch.hann_window(16).double(), return_complex=True)
    ),
    "complex": lambda x: (torch.complex(x, x.flip(3)) * (1 + 2j)).conj().imag,
    "complex by halves": lambda x: torch.view_as_complex(x.reshape(1, 4, 6, 3, 2)).conj().resolve_conj().real,
    "ihfft": lambda x: torch.view_as_real(torch.fft.ihfft2(x)),
}

PICKED: dict[str, Callable[[Tensor], Tensor]] = {
    "max_pool1d": lambda x: functional.max_pool1d(x.flatten(2), 4),
    "max_pool2d": lambda x: functional.max_pool2d(x, 3, 2),
    "max_pool3d": lambda x: functional.max_pool3d(x[None], (1, 2, 2)),
    "with indices": lambda x: functional.max_pool2d(x, 2, return_indices=True)[0],
    "adaptive_max_pool1d": lambda x: functional.adaptive_max_pool1d(x.flatten(2), 5),
    "adaptive_max_pool2d": lambda x: functional.adaptive_max_pool2d(x, 3),
    "adaptive_max_pool3d": lambda x: functional.adaptive_max_pool3d(x[None], (4, 2, 3)),
    "fractional_max_pool2d": lambda x: functional.fractional_max_pool2d(
        x, 2, output_size=3, _random_samples=torch.full((1, 4, 2), 0.3).double()
    ),
    "fractional_max_pool3d": lambda x: functional.fractional_max_pool3d(
        x[None], 2, output_size=(2, 3, 3), _random_samples=torch.full((1, 1, 3), 0.3).double()
    ),
    "max_unpool1d": lambda x: functional.max_unpool1d(*functional.max_pool1d(x.flatten(2), 2, return_indices=True), 2),
    "max_unpool2d": lambda x: functional.max_unpool2d(*functional.max_pool2d(x, 2, return_indices=True), 2),
    "max_unpool3d": lambda x: functional.max_unpool3d(*functional.max_pool3d(x[None], 2, return_indices=True), 2),
    "modules": lambda x: nn.MaxUnpool2d(2)(*nn.MaxPool2d(2, return_indices=True)(x)),
    "amax": lambda x: x.amax((2, 3)),
    "amin": lambda x: x.amin(3),
    "max": lambda x: x.max(3).values,
    "min": lambda x: x.min(2, keepdim=True).values,
    "sort": lambda x: x.sort(3, descending=True).values,
    "topk": lambda x: x.topk(2, 3).values,
    "kthvalue": lambda x: x.kthvalue(2, 3).values,
    "median": lambda x: x.median(2).values,
    "nanmedian": lambda x: x.nanmedian(3).values,
    "msort": lambda x: x.permute(0, 1, 3, 2).sort(2).values,
}

ELSEWHERE = {"CudnnBatchNorm", "CudnnConvolution", "CudnnGridSampler", "Linear", "MaxPool2D", "MiopenBatchNorm",
             "MkldnnConvolution", "MpsConvolution", "Reshape", "ReshapeAlias"}  # fmt: skip
"""Nodes that only the graphs of other devices and other versions of torch have."""


def network(call: Callable[[Tensor], Tensor]) -> Any:
    """Image, convolution a, ReLU, the operation, ReLU, three scores."""
    inner = MadeOf(lambda self, x: call(x + NO_TIES))
    return made_of(
        lambda self, x: self.inner(self.a(x).relu()).relu().reshape(1, -1), a=nn.Conv2d(3, 4, 3, padding=1), inner=inner
    )


def jacobian(call: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """∂f/∂x by finite differences: a column for each entry of x."""
    middle, columns = call(x).flatten(), []
    for i in range(x.numel()):
        moved = x.clone()
        moved.view(-1)[i] += STEP
        columns.append((call(moved).flatten() - middle) / STEP)
    return torch.stack(columns, 1)


@pytest.mark.parametrize("operation", [*PASSED, *PICKED])
def test_a_rule_goes_through_it_as_it_does_on_paper(operation: str) -> None:
    call = (PASSED | PICKED)[operation]
    classifier = network(call)
    with torch.no_grad():
        a = classifier.network.a(IMAGE)
        x = a.clamp(min=0) + NO_TIES
        y = call(x)
        j = jacobian(call, x)
    ladder = descend(record(classifier, IMAGE), 2, RULES)
    weights = classifier.network.head[1].weight.detach()[2]
    kernels = classifier.network.a.weight.detach()
    for rule in RULES:
        r = weights.reshape(y.shape)
        r = {"gradient": r * (y > 0), "deconvnet": r.clamp(min=0), "guided": (r * (y > 0)).clamp(min=0)}[rule]
        r = (j.T @ r.flatten()).reshape(x.shape)
        torch.testing.assert_close(ladder["relu"].r[rule], r, rtol=1e-6, atol=1e-6)
        r = {"gradient": r * (a > 0), "deconvnet": r.clamp(min=0), "guided": (r * (a > 0)).clamp(min=0)}[rule]
        torch.testing.assert_close(ladder["a"].r[rule], r, rtol=1e-6, atol=1e-6)
        below = convolution_backward(r, kernels, (6, 6), padding=1)
        torch.testing.assert_close(ladder["image"].r[rule], below, rtol=1e-6, atol=1e-6)
    leaf = IMAGE.clone().requires_grad_()
    (expected,) = torch.autograd.grad(classifier.network(leaf)[0, 2], leaf)
    torch.testing.assert_close(ladder["image"].r["gradient"], expected, rtol=1e-9, atol=1e-12)


def operations(call: Callable[[Tensor], Tensor]) -> set[str]:
    """The names of all nodes of an operation's graph, those inside of CopySlices left out."""
    stack, seen = [call(normal(1, 4, 6, 6, seed=6).requires_grad_()).grad_fn], set()
    while stack:
        node = stack.pop()
        if node is not None and node not in seen:
            seen.add(node)
            stack += [below for below, _ in node.next_functions]
    return {re.sub(r"Backwards?\d*(_copy)?$", "", node.name().rpartition("::")[2]) for node in seen}


def test_every_operation_on_the_lists_is_tried() -> None:
    found = set().union(*map(operations, (PASSED | PICKED).values()))
    assert {*LINEAR, *LINEAR_IN, *PICKING, *PICKING_ALONG} - found - ELSEWHERE == set()


def gate(x: Tensor) -> Tensor:
    return (x.detach() > 0.5).double()


HIDDEN = "by a mask made of the image"
REFUSED: dict[str, tuple[Callable[[Tensor], Tensor], str]] = {
    # what is linear in each of two, and both are of the image
    "dynamic convolution": (lambda x: functional.conv2d(x, x.mean((2, 3)).reshape(1, 4, 1, 1)), "Convolution"),
    "dynamic batch norm": (lambda x: functional.batch_norm(x, **NORM, weight=x.mean((0, 2, 3))), "NativeBatchNorm"),
    "bilinear": (lambda x: functional.bilinear(x, x, normal(2, 6, 6, seed=7)), "Trilinear"),
    "addmm": (lambda x: torch.addmm(SIX, x[0, 0], x[0, 1]), "Addmm"),
    "baddbmm": (lambda x: torch.baddbmm(x[0], x[0], x[0]), "Baddbmm"),
    "addcmul": (lambda x: torch.addcmul(SIX, x, x), "Addcmul"),
    "addcdiv": (lambda x: torch.addcdiv(x, SIX, 9 + x), "Addcdiv"),
    "einsum": (lambda x: torch.einsum("nchw,nchk->nwk", x, x), "Bmm"),
    "dot": (lambda x: x[0, 0, 0].dot(x[0, 1, 0]), "Dot"),
    "cross": (lambda x: torch.linalg.cross(x[:, :3], x[:, 1:], dim=1), "LinalgCross"),
    "lerp": (lambda x: torch.lerp(x, SIX, x), "Lerp"),
    "kron": (lambda x: torch.kron(x[0, 0], x[0, 1]), "Mul"),
    "sampled where the image says": (
        lambda x: functional.grid_sample(FOUR[None], x.reshape(1, 6, 12, 2), align_corners=False),
        "GridSampler2D",
    ),
    "fourier power": (lambda x: torch.fft.rfft2(x).abs(), "Abs"),
    # masks and indices of the image
    "where": (lambda x: torch.where(x > 0.5, x, 0), f"Where {HIDDEN}"),
    "masked_fill": (lambda x: x.masked_fill(x < 0.5, 0), f"MaskedFill {HIDDEN}"),
    "masked_scatter": (lambda x: x.masked_scatter(x < 0.5, x), f"MaskedScatter {HIDDEN}"),
    "x[x < 0] = 0": (written(lambda y: y.__setitem__(y < 0.5, 0)), f"IndexPut {HIDDEN}"),
    "part[x < 0] = 0": (written(lambda y: y[:, :2].__setitem__(y[:, :2] < 0.5, 0)), f"IndexPut {HIDDEN}"),
    "part.masked_fill_": (written(lambda y: y[:, :2].masked_fill_(y[:, :2] < 0.5, 0)), f"MaskedFill {HIDDEN}"),
    "part.mul_": (written(lambda y: y[:, :2].mul_(gate(y[:, :2]))), f"Mul {HIDDEN}"),
    "part *=": (written(lambda y: y[:, :2].__imul__(gate(y[:, :2]))), f"Mul {HIDDEN}"),
    "part = detached": (written(lambda y: y.__setitem__((slice(None), 0), gate(y[:, 0]))), f"Copy {HIDDEN}"),
    "bilinear with itself": (
        lambda x: functional.bilinear(x, gate(x), normal(2, 6, 6, seed=7), SIX[0, :2]),
        f"Add {HIDDEN}",
    ),
    "gather": (lambda x: x.gather(2, x.argsort(2)), f"Gather {HIDDEN}"),
    "index_add": (lambda x: x.index_add(2, x[0, 0, 0].argsort(), x), f"IndexAdd {HIDDEN}"),
    "scatter": (lambda x: x.scatter(2, x.argsort(2), x), f"Scatter {HIDDEN}"),
    "unpool elsewhere": (
        lambda x: functional.max_unpool2d(
            x[:, :, :3, :3], x[:, :, :3, :3].flatten(2).argsort(2).reshape(1, 4, 3, 3), 2
        ),
        f"MaxUnpool2D {HIDDEN}",
    ),
    "switches as a mask": (
        lambda x: functional.max_pool2d(x, 2) * (functional.max_pool2d(x, 2, return_indices=True)[1] > 9),
        f"Mul {HIDDEN}",
    ),
    # parts that are written to
    "part.sigmoid_": (written(lambda y: y[:, :2].sigmoid_()), "Sigmoid"),
    "part.exp_": (written(lambda y: y[0, 1].exp_()), "Exp"),
    "part.pow_": (written(lambda y: y[:, :2].pow_(2)), "Pow"),
    "leaky part": (written(lambda y: functional.leaky_relu(y[:, :2], 0.1, True)), "LeakyRelu"),
    "part.mul_(part)": (written(lambda y: y[:, :2].mul_(y[:, 2:].clone())), "Mul"),
    "a function of one's own": (written(lambda y: y[:, :1].copy_(y[:, :1].clone().sinh())), "Sinh"),
    "part of unknown, then a copy": (
        written(lambda y: (y[:, :2].sinh_(), y.__setitem__((0, 3), 1.0))),
        "Sinh",
    ),
    # picks among maps
    "topk": (lambda x: x.topk(2, 1).values, "Topk"),
    "sort": (lambda x: x.sort(1).values, "Sort"),
    "median": (lambda x: x.median(1).values, "Median"),
    "min": (lambda x: x.min(1).values, "Min"),
    "amin": (lambda x: x.amin(1), "Amin"),
    "largest of all": (lambda x: x.max(), "Max"),
    "cummax": (lambda x: x.cummax(2)[0], "Cummax"),
    "maximum": (lambda x: torch.maximum(x, x.flip(1)), "Maximum"),
    "quantile": (lambda x: x.quantile(0.5, 1), None),
    # whole numbers, powers and the like
    "floor division": (lambda x: torch.div(x, 0.3, rounding_mode="floor"), "Div"),
    "round": (torch.round, "Round"),
    "truncated": (lambda x: torch.div(x, 0.3, rounding_mode="trunc"), "Div"),
    "remainder": (lambda x: x % 0.7, "Remainder"),
    "lp_pool": (lambda x: functional.lp_pool2d(x, 2, 2), None),
    "norm": (lambda x: x.norm(dim=1), "LinalgVectorNorm"),
    "prod": (lambda x: x.prod(1), "Prod"),
    "cumprod": (lambda x: x.cumprod(3), "Cumprod"),
    "var": (lambda x: x.var(1), "Var"),
    "logsumexp": (lambda x: x.logsumexp(1), "Logsumexp"),
    "inverse": (lambda x: (x[0, 0] + 9 * SIX).inverse(), "LinalgInvEx"),
    "softmin": (lambda x: functional.softmin(x, 1), None),
    "normalize": (lambda x: functional.normalize(x), None),
    "attention": (lambda x: functional.scaled_dot_product_attention(x, x, x), None),
    "as_strided_scatter": (  # torch itself has no right derivative of it
        lambda x: x[0, 0].clone().as_strided_scatter(x[0, 1, 0, :3], (3,), (2,)),
        "AsStridedScatter",
    ),
    "cosine": (lambda x: functional.cosine_similarity(x, SIX), None),
    "cdist": (lambda x: torch.cdist(x, SIX), None),
    "group norm": (lambda x: functional.group_norm(x, 2), None),
    "rms norm": (lambda x: functional.rms_norm(x, (6,)), None),
}


@pytest.mark.parametrize("operation", REFUSED)
def test_a_rule_that_says_nothing_is_refused_with_the_layer(operation: str) -> None:
    call, name = REFUSED[operation]
    classifier = network(call)
    recording = record(classifier, IMAGE)
    found = recording.coverage.judge(recording.layers[-1].edge.node).strange
    assert found is not None
    assert found[0] == "layer 'inner' (MadeOf)"
    assert name in (None, found[1])
    for rule in ("deconvnet", "guided"):
        with pytest.raises(ValueError, match=r"layer 'inner' \(MadeOf\) computes"):
            descend(recording, 0, rule)
    leaf = IMAGE.clone().requires_grad_()
    (expected,) = torch.autograd.grad(classifier.network(leaf)[0, 0], leaf)
    found = descend(recording, 0, "gradient")["image"].r["gradient"]
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-12)


ACTIVATIONS = (
    "CELU", "ELU", "GELU", "GLU", "Hardshrink", "Hardsigmoid", "Hardswish", "Hardtanh", "LeakyReLU", "LogSigmoid",
    "LogSoftmax", "Mish", "PReLU", "RReLU", "SELU", "SiLU", "Sigmoid", "Softmax2d", "Softmin", "Softplus", "Softshrink",
    "Softsign", "Tanh", "Tanhshrink",
)  # fmt: skip


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_every_other_activation_of_torch_is_refused(name: str) -> None:
    options = {"dim": 1} if name in ("GLU", "LogSoftmax", "Softmin") else {}
    activation = getattr(nn, name)(**options)
    classifier = made_of(
        lambda self, x: self.inner(self.a(x)).relu(), a=nn.Conv2d(3, 4, 3, padding=1), inner=activation
    )
    with pytest.raises(ValueError, match=rf"layer 'inner' \({name}\) computes"):
        descend(record(classifier, IMAGE), 0, "guided")


@pytest.mark.parametrize("change", [
    lambda y: y[:, :2].relu_(), lambda y: functional.relu(y[:, :2], inplace=True), lambda y: y[:, :2].clamp_(0, 0.5),
])  # fmt: skip
@pytest.mark.parametrize("rule", ["gradient", "guided"])
def test_a_relu_that_writes_to_some_of_the_maps(change: Callable[[Tensor], object], rule: str) -> None:
    """The other maps pass; of those that are cut off R passes where the mask, or both of them, are open."""
    classifier = made_of(lambda self, x: written(change)(self.a(x)), a=nn.Conv2d(3, 4, 3, padding=1))
    with torch.no_grad():
        a = classifier.network.a(IMAGE)
    weights = classifier.network.head[1].weight.detach()[1].reshape(1, 4, 6, 6)
    ceiling = 0.5 if "clamp" in change.__code__.co_names[0] else np.inf
    expected = weights.clone()
    expected[:, :2] *= (a[:, :2] > 0) & (a[:, :2] < ceiling)
    if rule == "guided":
        expected[:, :2].clamp_(min=0)
    found = descend(record(classifier, IMAGE), 1, rule)
    torch.testing.assert_close(found["a"].r[rule], expected)
