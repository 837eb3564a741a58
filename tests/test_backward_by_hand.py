"""One layer's backward pass against paper and pencil, nested loops from the definition, and torch's own layers."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import assume, example, given
from hypothesis import strategies as st
from torch import Tensor, nn

from deepinside_edu import convolution_backward, pool_with_switches, relu_backward, unpool
from deepinside_edu.backward_by_hand import RULES, Pooled, check_rule, forward_mask


def grid(*rows: Any, dtype=torch.float64) -> Tensor:
    return torch.tensor([[rows]], dtype=dtype)


def plane(x: Tensor) -> list[list[float]]:
    assert x.shape[:2] == (1, 1)
    return x[0, 0].tolist()


def normal(*shape: int, seed: int = 1) -> Tensor:
    return torch.from_numpy(np.random.default_rng(seed).normal(size=shape))


# ReLU: literal grids, one entry for each combination of signs of X_n and R_n+1

X = [[-2.0, -2.0, -2.0], [0.0, 0.0, 0.0], [3.0, 3.0, 3.0], [6.0, 6.0, 6.0], [7.0, 7.0, 7.0]]
R = [[-4.0, 0.0, 5.0]] * 5
NONE, ALL, POSITIVE = [0.0, 0.0, 0.0], [-4.0, 0.0, 5.0], [0.0, 0.0, 5.0]


@pytest.mark.parametrize(("rule", "ceiling", "expected"), [
    ("gradient", math.inf, [NONE, NONE, ALL, ALL, ALL]),
    ("deconvnet", math.inf, [POSITIVE] * 5),
    ("guided", math.inf, [NONE, NONE, POSITIVE, POSITIVE, POSITIVE]),
    ("gradient", 6.0, [NONE, NONE, ALL, NONE, NONE]),
    ("deconvnet", 6.0, [POSITIVE] * 5),
    ("guided", 6.0, [NONE, NONE, POSITIVE, NONE, NONE]),
    ("gradient", 6, [NONE, NONE, ALL, NONE, NONE]),
    ("gradient", 6.5, [NONE, NONE, ALL, ALL, NONE]),
])  # fmt: skip
def test_relu_on_paper(rule: str, ceiling: float, expected: list[list[float]]) -> None:
    x, r = torch.tensor(X), torch.tensor(R)
    assert relu_backward(x, r, rule, ceiling).tolist() == expected
    assert (x.tolist(), r.tolist()) == (X, R)


def test_the_usual_rule_is_the_gradient_without_a_ceiling() -> None:
    assert relu_backward(torch.tensor(X), torch.tensor(R)).tolist() == [NONE, NONE, ALL, ALL, ALL]
    assert RULES == ("gradient", "deconvnet", "guided")


def test_forward_mask_on_paper() -> None:
    x = torch.tensor([-1.0, 0.0, 1e-40, 5.999, 6.0, 6.001])
    assert forward_mask(x).tolist() == [False, False, True, True, True, True]
    assert forward_mask(x, 6).tolist() == [False, False, True, True, False, False]


def slow_relu_backward(x: float, r: float, rule: str, ceiling: float) -> float:
    if rule in ("gradient", "guided") and (x <= 0 or x >= ceiling):
        return 0.0
    if rule in ("deconvnet", "guided") and r <= 0:
        return 0.0
    return r


few = st.sampled_from([-3.0, -1.0, -0.0, 0.0, 0.5, 2.0, 6.0, 8.0])


@given(st.lists(st.tuples(few, few), min_size=1, max_size=12), st.sampled_from(RULES), st.sampled_from([math.inf, 6.0]))
def test_relu_equals_a_loop_and_differs_from_the_gradient_where_the_masks_do(
    pairs: list[tuple[float, float]], rule: str, ceiling: float
) -> None:
    x, r = (torch.tensor(column, dtype=torch.float64).reshape(1, -1) for column in zip(*pairs, strict=True))
    found = relu_backward(x, r, rule, ceiling)
    assert found.shape == r.shape
    assert found.dtype == r.dtype
    assert found[0].tolist() == [slow_relu_backward(a, b, rule, ceiling) for a, b in pairs]
    if rule == "deconvnet":
        differs = [((0 < a < ceiling) != (b > 0)) and b != 0 for a, b in pairs]
        assert (found != relu_backward(x, r, "gradient", ceiling))[0].tolist() == differs


@pytest.mark.slow
@pytest.mark.parametrize(("layer", "ceiling"), [(nn.ReLU(), math.inf), (nn.ReLU6(), 6.0), (nn.Hardtanh(0, 2), 2.0)])
def test_the_gradient_of_relu_equals_autograd(layer: nn.Module, ceiling: float) -> None:
    x = torch.cat([4 * normal(50), torch.tensor([0.0, -0.0, 2.0, 6.0])]).requires_grad_()
    r = normal(54, seed=2)
    (expected,) = torch.autograd.grad(layer(x), x, r)
    assert relu_backward(x.detach(), r, "gradient", ceiling).equal(expected)


def test_relu_refuses_what_does_not_fit() -> None:
    x = torch.zeros(1, 2, 3)
    with pytest.raises(ValueError, match="rule out of 'gradient', 'deconvnet', 'guided', got 'guide'"):
        relu_backward(x, x, "guide")
    with pytest.raises(ValueError, match=r"of one shape, got \(1, 2, 3\) and \(1, 3, 2\)"):
        relu_backward(x, torch.zeros(1, 3, 2))
    with pytest.raises(ValueError, match="one shape"):
        relu_backward(x, torch.zeros(1, 1, 3))
    for ceiling in (0, -6.0, math.nan):
        with pytest.raises(ValueError, match=f"ceiling above 0, got {ceiling}; 6 is ReLU6's"):
            relu_backward(x, x, "guided", ceiling)
    for rule in (None, 0, "", ["gradient"], "Gradient"):
        with pytest.raises(ValueError, match="expected a rule out of"):
            check_rule(rule)


# Convolution

K = torch.tensor([[[[1.0, 2.0], [3.0, 4.0]]]], dtype=torch.float64)


def test_convolution_on_paper() -> None:
    """Two R's, 1 at the upper left, 10 at the lower right: each spreads the kernel as it is, that is, R ⋆ flip(K)."""
    r = grid([1, 0], [0, 10])
    assert plane(convolution_backward(r, K, (3, 3))) == [[1, 2, 0], [3, 14, 20], [0, 30, 40]]
    assert plane(convolution_backward(r, K, (2, 2), padding=1, stride=2)) == [[4, 0], [0, 10]]
    assert plane(convolution_backward(r, K, (4, 5), stride=(2, 3))) == [
        [1, 2, 0, 0, 0], [3, 4, 0, 0, 0], [0, 0, 0, 10, 20], [0, 0, 0, 30, 40],
    ]  # fmt: skip
    # A row and a column that the stride never reached.
    assert plane(convolution_backward(grid([10]), K, (3, 3), stride=2)) == [[10, 20, 0], [30, 40, 0], [0, 0, 0]]
    assert plane(convolution_backward(grid([1]), K, (3, 4), dilation=(2, 3))) == [[1, 0, 0, 2], [0] * 4, [3, 0, 0, 4]]


def test_convolution_exchanges_the_channels() -> None:
    """One pixel, two channels in, three out: R_n = Kᵀ R_n+1."""
    kernels = torch.tensor([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]).reshape(3, 2, 1, 1)
    r = torch.tensor([1.0, 10.0, 100.0]).reshape(1, 3, 1, 1)
    assert convolution_backward(r, kernels, (1, 1)).flatten().tolist() == [531, 642]
    # In two groups: 4 out of 2 × 1 in.
    kernels = torch.tensor([1.0, 2.0, 3.0, 4.0]).reshape(4, 1, 1, 1)
    r = torch.tensor([1.0, 10.0, 100.0, 1000.0]).reshape(1, 4, 1, 1)
    assert convolution_backward(r, kernels, (1, 1), groups=2).flatten().tolist() == [21, 4300]


def slow_convolution_backward(
    r: Tensor, k: Tensor, size: tuple[int, int], stride: Any, padding: Any, dilation: Any, groups: int
) -> np.ndarray:
    """Send every product r · k of the forward definition back to where its x came from."""
    n, out, h, w = r.shape
    inside, kh, kw = k.shape[1:]
    below = np.zeros((n, inside * groups, *size))
    for b, o, i, y, x, u, v in np.ndindex(n, out, inside, h, w, kh, kw):
        row = y * stride[0] + u * dilation[0] - padding[0]
        column = x * stride[1] + v * dilation[1] - padding[1]
        if 0 <= row < size[0] and 0 <= column < size[1]:
            channel = o // (out // groups) * inside + i
            below[b, channel, row, column] += float(r[b, o, y, x]) * float(k[o, i, u, v])
    return below


pairs_of = lambda low, high: st.tuples(st.integers(low, high), st.integers(low, high))  # noqa: E731


@given(
    batch=st.integers(1, 2), groups=st.integers(1, 3), channels=pairs_of(1, 2), kernel=pairs_of(1, 4),
    size=pairs_of(1, 9), stride=pairs_of(1, 4), padding=pairs_of(0, 5), dilation=pairs_of(1, 3),
    seed=st.integers(0, 99),
)  # fmt: skip
@example(1, 2, (2, 1), (3, 2), (9, 8), (3, 2), (1, 0), (2, 3), 0)
@example(1, 1, (1, 1), (2, 3), (4, 5), (1, 1), (4, 5), (1, 1), 0)  # more padding than a full convolution needs
def test_convolution_equals_autograd_and_nested_loops(
    batch: int, groups: int, channels: Any, kernel: Any, size: Any, stride: Any, padding: Any, dilation: Any, seed: int
) -> None:
    reach = [d * (k - 1) + 1 for k, d in zip(kernel, dilation, strict=True)]
    assume(all(n + 2 * p >= reached for n, p, reached in zip(size, padding, reach, strict=True)))
    kernels = normal(groups * channels[0], channels[1], *kernel, seed=seed)
    x = normal(batch, groups * channels[1], *size, seed=seed + 1).requires_grad_()
    y = nn.functional.conv2d(x, kernels, None, stride, padding, dilation, groups)
    r = normal(*y.shape, seed=seed + 2)
    found = convolution_backward(r, kernels, size, stride, padding, dilation, groups)
    (expected,) = torch.autograd.grad(y, x, r)
    assert found.shape == x.shape
    assert found.dtype == torch.float64
    assert float((found - expected).norm()) <= 1e-6 * float(expected.norm())
    slow = slow_convolution_backward(r, kernels, size, stride, padding, dilation, groups)
    np.testing.assert_allclose(found, slow, rtol=1e-9, atol=1e-12)


def test_one_number_counts_for_both_sides() -> None:
    x = normal(1, 2, 9, 7).requires_grad_()
    kernels = normal(4, 1, 2, 3)
    y = nn.functional.conv2d(x, kernels, None, 2, 1, 2, 2)
    (expected,) = torch.autograd.grad(y, x, torch.ones_like(y))
    found = convolution_backward(torch.ones_like(y), kernels, (9, 7), 2, 1, 2, 2)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)


def test_convolution_leaves_what_it_got_as_it_was() -> None:
    r, kernels = normal(1, 2, 3, 3), normal(2, 1, 2, 2)
    before = r.clone(), kernels.clone()
    convolution_backward(r, kernels, (4, 4))
    assert r.equal(before[0])
    assert kernels.equal(before[1])


@pytest.mark.parametrize("shape", [(1, 1, 2, 2), (1, 2, 3, 2), (1, 2, 2, 3), (2, 2, 2), (1, 3, 2, 2), (1, 1, 1, 2, 2)])
def test_convolution_refuses_what_does_not_fit(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"shape \(N, 2, 2, 2\), .* an input of 3×3, got \(") as caught:
        convolution_backward(torch.zeros(shape), torch.zeros(2, 1, 2, 2), (3, 3))
    assert str(shape) in str(caught.value)


def test_the_size_that_is_expected_takes_every_option_into_account() -> None:
    with pytest.raises(ValueError, match=r"shape \(N, 1, 3, 5\), .* an input of 9×8"):
        convolution_backward(
            torch.zeros(1, 1, 9, 9), torch.zeros(1, 1, 3, 2), (9, 8), stride=(3, 2), padding=(1, 2), dilation=(2, 3)
        )


# Max-pooling

AN_X = grid([1, 5, 2, 0], [3, 4, 7, 7], [-1, -2, 0, 0], [-3, -4, 0, 0])


def test_pooling_on_paper() -> None:
    pooled = pool_with_switches(AN_X, 2)
    assert isinstance(pooled, Pooled)
    assert plane(pooled.x) == [[5, 7], [-1, 0]]
    assert plane(pooled.switches) == [[1, 6], [8, 10]]
    assert pooled.switches.dtype == torch.int64
    assert plane(unpool(grid([10, 20], [30, -40]), pooled.switches, (4, 4))) == [
        [0, 10, 0, 0], [0, 0, 20, 0], [30, 0, -40, 0], [0, 0, 0, 0],
    ]  # fmt: skip


def test_overlapping_windows_add_up_on_paper() -> None:
    pooled = pool_with_switches(AN_X, (2, 3), stride=1)
    assert plane(pooled.x) == [[7, 7], [7, 7], [0, 0]]
    assert plane(pooled.switches) == [[6, 6], [6, 6], [10, 10]]
    assert plane(unpool(grid([1, 2], [4, 8], [16, 32]), pooled.switches, (4, 4))) == [
        [0] * 4, [0, 0, 15, 0], [0, 0, 48, 0], [0] * 4,
    ]  # fmt: skip


def test_the_border_of_a_pooling_never_wins_on_paper() -> None:
    pooled = pool_with_switches(-1 - AN_X.abs(), 2, stride=2, padding=1)
    assert plane(pooled.x) == [[-2, -3, -1], [-2, -1, -1], [-4, -1, -1]]
    assert plane(pooled.switches) == [[0, 2, 3], [8, 10, 11], [12, 14, 15]]


def test_a_window_that_sticks_out_is_kept_in_ceil_mode_on_paper() -> None:
    x = grid([1, 2, 3], [4, 5, 6], [7, 8, 9])
    assert plane(pool_with_switches(x, 2, ceil_mode=False).x) == [[5]]
    assert plane(pool_with_switches(x, 2, ceil_mode=True).x) == [[5, 6], [8, 9]]
    assert plane(pool_with_switches(x, 2, ceil_mode=True).switches) == [[4, 5], [7, 8]]


def slow_pool(x: Tensor, kernel: Any, stride: Any, padding: Any, dilation: Any, shape: Any) -> tuple[Any, Any]:
    """The definition: the first of the largest places of each window inside the plane."""
    height, width = x.shape[2:]
    best, switches = np.zeros((*x.shape[:2], *shape)), np.zeros((*x.shape[:2], *shape), int)
    for n, c, i, j in np.ndindex(*best.shape):
        inside = []
        for u, v in np.ndindex(*kernel):
            row, column = (i * stride[0] + u * dilation[0] - padding[0], j * stride[1] + v * dilation[1] - padding[1])
            if 0 <= row < height and 0 <= column < width:
                inside.append((float(x[n, c, row, column]), row * width + column))
        top = max(value for value, _ in inside)
        best[n, c, i, j], switches[n, c, i, j] = next(each for each in inside if each[0] == top)
    return best, switches


@given(
    kernel=pairs_of(1, 4), size=pairs_of(1, 9), stride=st.none() | pairs_of(1, 5),
    share=st.sampled_from([0, 0.25, 0.5]), dilation=pairs_of(1, 3), ceil_mode=st.booleans(),
    values=st.sampled_from(["few", "negative", "normal"]),
    seed=st.integers(0, 99),
)  # fmt: skip
@example((3, 3), (7, 8), (2, 2), 0.5, (1, 1), True, "few", 0)
@example((2, 2), (3, 3), (2, 2), 0.5, (1, 1), True, "negative", 1)  # the last window would begin behind the input
@example((3, 2), (6, 5), (1, 1), 0, (2, 1), False, "few", 2)
@example((2, 3), (5, 9), (4, 5), 0.5, (3, 3), True, "negative", 3)
def test_pooling_equals_torch_and_nested_loops(
    kernel: Any, size: Any, stride: Any, share: float, dilation: Any, ceil_mode: bool, values: str, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    padding = tuple(int(k * share) for k in kernel)
    assume(all(n + 2 * p > d * (k - 1) for n, p, d, k in zip(size, padding, dilation, kernel, strict=True)))
    shape = (2, 3, *size)
    x = torch.from_numpy({
        "few": rng.integers(-1, 2, shape).astype(float), "negative": -1 - rng.integers(0, 3, shape).astype(float),
        "normal": rng.normal(size=shape),
    }[values]).requires_grad_()  # fmt: skip
    try:
        expected, places = nn.functional.max_pool2d(
            x, kernel, stride, padding, dilation, ceil_mode, return_indices=True
        )
    except RuntimeError:  # torch pools nothing here
        assume(False)
    assume(bool((places >= 0).all()) and bool(expected.isfinite().all()))  # no window without any place inside
    before = x.detach().clone()
    pooled = pool_with_switches(x.detach(), kernel, stride, padding, dilation, ceil_mode)
    assert x.detach().equal(before)
    assert pooled.x.equal(expected)
    assert pooled.switches.equal(places)
    slow = slow_pool(before, kernel, stride or kernel, padding, dilation, tuple(expected.shape[2:]))
    assert pooled.x.tolist() == slow[0].tolist()
    assert pooled.switches.tolist() == slow[1].tolist()
    r = torch.from_numpy(rng.normal(size=tuple(expected.shape)))
    (below,) = torch.autograd.grad(expected, x, r)
    found = unpool(r, pooled.switches, size)
    assert float((found - below).norm()) <= 1e-6 * float(below.norm())
    by_hand = np.zeros((2, 3, size[0] * size[1]))
    for n, c, i, j in np.ndindex(*expected.shape):
        by_hand[n, c, slow[1][n, c, i, j]] += float(r[n, c, i, j])
    np.testing.assert_allclose(found.numpy().reshape(by_hand.shape), by_hand, rtol=1e-12, atol=1e-12)


def test_pooling_of_minus_infinity() -> None:
    x = torch.full((1, 1, 2, 2), -math.inf)
    pooled = pool_with_switches(x, 2)
    assert (plane(pooled.x), plane(pooled.switches)) == ([[-math.inf]], [[0]])
    x[0, 0, 1, 0] = -9
    assert plane(pool_with_switches(x, 2).switches) == [[2]]


@pytest.mark.parametrize(("kernel", "options"), [
    (5, {}), ((1, 5), {}), ((5, 1), {}), (3, {"dilation": 2}), ((2, 2), {"dilation": (1, 4)}),
])  # fmt: skip
def test_pooling_refuses_a_window_that_is_too_large(kernel: Any, options: Any) -> None:
    kh, kw = kernel if isinstance(kernel, tuple) else (kernel, kernel)
    with pytest.raises(ValueError, match=f"window of {kh}×{kw} does not fit into 4×4; lower kernel or dilation"):
        pool_with_switches(AN_X, kernel, **options)


def test_pooling_refuses_another_number_of_dimensions() -> None:
    with pytest.raises(ValueError, match=r"X_n of shape \(N, C, H, W\), got \(4, 4\)"):
        pool_with_switches(AN_X[0, 0], 2)


def test_unpooling_refuses_what_does_not_fit() -> None:
    with pytest.raises(ValueError, match=r"one shape \(N, C, h, w\), got \(1, 1, 2, 2\) and \(1, 1, 1, 4\)"):
        unpool(torch.zeros(1, 1, 2, 2), torch.zeros(1, 1, 1, 4, dtype=torch.int64), (4, 4))
    with pytest.raises(ValueError, match=r"got \(2, 2\) and \(2, 2\)"):
        unpool(torch.zeros(2, 2), torch.zeros(2, 2, dtype=torch.int64), (4, 4))
    for place in (-1, 12):
        with pytest.raises(ValueError, match="switches from 0 to 11 for an input of 3×4"):
            unpool(torch.zeros(1, 1, 1, 1), torch.full((1, 1, 1, 1), place), (3, 4))
    assert plane(unpool(grid([7]), torch.full((1, 1, 1, 1), 11), (3, 4))) == [[0] * 4, [0] * 4, [0, 0, 0, 7]]


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("ceiling", [math.inf, 6.0])
@pytest.mark.parametrize("dtype", [torch.int64, torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_relu_of_every_precision_and_of_whole_numbers(rule: str, ceiling: float, dtype: torch.dtype) -> None:
    """Numbers that a lesson computes by hand are often whole."""
    x, r = torch.tensor([-1, 0, 2, 6, 8, 2], dtype=dtype), torch.tensor([3, 3, 3, 3, 3, -1], dtype=dtype)
    found = relu_backward(x, r, rule, ceiling)
    assert found.dtype == dtype
    assert found.tolist() == [
        slow_relu_backward(a, b, rule, ceiling) for a, b in zip(x.tolist(), r.tolist(), strict=True)
    ]


def test_anything_but_a_tensor_or_a_size_is_refused() -> None:
    x = torch.ones(1, 1, 4, 4)
    with pytest.raises(TypeError, match="expected tensors, got ndarray"):
        relu_backward(x.numpy(), x)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"expected kernels \(out, in / groups, kh, kw\)"):
        convolution_backward(x, torch.ones(3, 3), 6)
    with pytest.raises(ValueError, match="at least 0, or two of them, got 'same'"):
        convolution_backward(x, torch.ones(1, 1, 3, 3), 6, padding="same")  # type: ignore[arg-type]
    assert convolution_backward(x, torch.ones(1, 1, 3, 3), 6).equal(
        convolution_backward(x, torch.ones(1, 1, 3, 3), (6, 6))
    )
    with pytest.raises(TypeError, match=r"expected X_n of floats, got torch\.int64"):
        pool_with_switches(x.long(), 2)
    for kernel, stride in ((0, 1), (2, 0)):
        with pytest.raises(ValueError, match="whole number of at least 1, or two of them, got 0"):
            pool_with_switches(x, kernel, stride)
