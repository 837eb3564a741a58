"""Checks of lesson 5's exercises: the backward pass of a ReLU under three rules, and of a max-pooling with switches."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from functools import cache, wraps
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from ..backward_by_hand import RULES
from .answer import Array
from .exercise import Exercise, Probe
from .verdict import Verdict


def check_relu(function: Callable[..., Any]) -> Verdict:
    """Check a learner's backward pass through a ReLU under the rules "gradient", "deconvnet" and "guided".

    Args:
        function: from (x, r, rule) to R_n like r: `x` is the ReLU's input X_n, `r` the signal at its output,
            R_{n+1}; both are tensors of one shape.

    Returns:
        A `Verdict` that names the mistakes if they are known ones.
    """
    if not callable(function):
        return _relu_exercise(RULES[0]).check(function)

    def told(rule: str) -> Callable[..., Any]:
        """The learner's function, which is given this rule, whatever rule the check asks for."""

        @wraps(function)
        def asked(x: Tensor, r: Tensor, _: str) -> Any:
            return function(x, r, rule)

        return asked

    def under(rules: tuple[str, ...]) -> list[Verdict]:
        """The verdicts if the learner's function is given these rules instead of the three."""
        return [_relu_exercise(rule).check(told(other)) for rule, other in zip(RULES, rules, strict=True)]

    verdicts = under(RULES)
    if all(verdicts):
        return Verdict(True, "The gradient looks at X, DeconvNet at R, guided at both, and each mask is yes or no.")
    messages: dict[str, list[str]] = {}
    for rule, verdict in zip(RULES, verdicts, strict=True):
        if not verdict:
            messages.setdefault(verdict.message, []).append(rule)
    if len(messages) == 1 and len(verdicts) == len(*messages.values()):
        return verdicts[0]  # the same under all rules, so it is said once
    for rule in RULES:
        if all(_relu_exercise(rule).check(told(other)) for other in RULES):
            return Verdict(False, f"Your function does what {rule!r} means under all three rules: look at `rule`.")
    for rules in itertools.permutations(RULES):
        if all(under(rules)):
            mixed = " and ".join(repr(rule) for rule, other in zip(RULES, rules, strict=True) if rule != other)
            return Verdict(False, f"The masks are swapped between {mixed}: the gradient has 1(X_n > 0), DeconvNet "
                           "1(R_n+1 > 0), guided both.")  # fmt: skip
    return Verdict(False, " ".join(f"Under {' and '.join(map(repr, rules))}: {m}" for m, rules in messages.items()))


def check_pool(function: Callable[..., Any]) -> Verdict:
    """Check a learner's backward pass through a max-pooling: each value of R goes to where its maximum came from.

    Args:
        function: from (x, r, kernel, stride) to R_n like x: `x` is one plane X_n `(H, W)`, `r` is R_{n+1} `(h, w)`,
            a window is kernel × kernel, and windows lie `stride` apart, so that they may overlap.

    Returns:
        A `Verdict` that names the mistake if it is a known one.
    """
    return _pool_exercise().check(function)


@cache
def _relu_exercise(rule: str) -> Exercise:
    generator = torch.Generator().manual_seed(5)
    probes = []
    for shape in ((2, 4, 5), (3, 5)):
        # X and R have both signs in all four combinations, and zeros that ≥ would let through.
        x, r = torch.randn(2, *shape, generator=generator).unbind(0)
        x.view(-1)[::4], r.view(-1)[5:9] = 0, 0
        pairs = zip(x.view(-1).tolist(), r.view(-1).tolist(), strict=True)
        right = np.array([_one_entry(*pair, rule) for pair in pairs])
        probes.append(Probe((x, r, rule), right.reshape(shape), f"x and r of shape {shape}"))
    of_r = _OF_R_GRADIENT if rule == "gradient" else _OF_R_MASKED
    return Exercise(
        probes=probes,
        praise="Right.",
        expected="R_n, one number per entry of r",
        knobs=(_AT_ONCE[rule], _OF_X_NONE if rule == "deconvnet" else _OF_X_MASK, of_r),
        mistaken=_mistaken_relu,
        remark=lambda probe, at: f"There X = {probe.given[0][at]:.2f} and R = {probe.given[1][at]:.2f}.",
        untouched="Your function changes x or r itself, but other code still needs them. Make a new tensor.",
    )


def _one_entry(x: float, r: float, rule: str) -> float:
    if rule in ("gradient", "guided") and not x > 0:
        return 0.0
    if rule in ("deconvnet", "guided") and not r > 0:
        return 0.0
    return r


Way = Callable[[Array, Array], ArrayLike]


def _mistaken_relu(
    probe: Probe, at_once: Way | None, of_x: Callable[[Array], Any], of_r: Callable[[Array], Any]
) -> ArrayLike:
    x, r = (each.double().numpy() for each in probe.given[:2])
    return at_once(x, r) if at_once else np.asarray(of_x(x) * of_r(r))


_BY_ACTIVATION = (
    "You multiply by the activation X, but the mask is its indicator, 1(X > 0): yes or no, without a size."
)
_TURNED = "The forward mask is reversed: it is open where X > 0."
_OF_X_MASK: dict[str, Callable[[Array], Any]] = {
    "": lambda x: x > 0,
    "The entries with X = 0 must stay closed: the mask is X > 0, not X >= 0.": lambda x: x >= 0,
    _BY_ACTIVATION: lambda x: x.clip(min=0),
    "You multiply by X itself, but the mask is 1(X > 0): yes or no.": lambda x: x,
    "The mask asks whether X is above 0, not whether it is other than 0.": lambda x: x != 0,
    "You multiply by the sign of X, but the mask is 1(X > 0): 1 or 0, never −1.": np.sign,
    _TURNED: lambda x: x <= 0,
    _TURNED + " ": lambda x: x < 0,
    "The forward mask 1(X > 0) is missing.": lambda x: 1.0,
    "Your forward mask asks X > 1: it must ask X > 0.": lambda x: x > 1,
}
_OF_X_NONE: dict[str, Callable[[Array], Any]] = {
    "": lambda x: 1.0,
    "DeconvNet does not look at X: leave the forward mask 1(X > 0) out.": lambda x: x > 0,
    "DeconvNet does not look at X: leave the forward mask out.": lambda x: x >= 0,
    _BY_ACTIVATION + " DeconvNet does not even have that mask.": lambda x: x.clip(min=0),
    "You multiply by X: DeconvNet does not look at X at all.": lambda x: x,
}
_SIZE = "You use |R|, but R must keep its sign."
_OF_R_GRADIENT: dict[str, Callable[[Array], Any]] = {
    "": lambda r: r,
    "Back-propagation lets a negative R pass: it has no mask 1(R > 0).": lambda r: r.clip(min=0),
    "Back-propagation lets a positive R pass: it has no mask of R.": lambda r: r.clip(max=0),
    _SIZE: np.abs,
    "The factor R is missing: multiply the mask by R.": np.ones_like,
    "The sign of R is reversed: R itself passes, not −R.": lambda r: -r,
    "You take R squared: R itself passes.": np.square,
    "You take only the sign of R: R itself passes.": np.sign,
}
_OF_R_MASKED: dict[str, Callable[[Array], Any]] = {
    "": lambda r: r.clip(min=0),
    "The backward mask 1(R > 0) is missing. A mask of |R| stops nothing.": lambda r: r,
    _SIZE + " The mask 1(R > 0) stops what is negative.": np.abs,
    "The backward mask is reversed: it lets positive R pass.": lambda r: r.clip(max=0),
    "The factor R is missing: this is the mask alone. Multiply it by R.": lambda r: (r > 0).astype(float),
    "You multiply by R twice: the mask is the indicator 1(R > 0).": lambda r: r.clip(min=0) ** 2,
    "The sign of R is reversed: R itself passes, not −R.": lambda r: -r.clip(min=0),
    "Your backward mask asks R > 1: it must ask R > 0.": lambda r: r * (r > 1),
}
_AT_ONCE: dict[str, dict[str, Way | None]] = {
    "gradient": {"": None},
    "deconvnet": {"": None},
    "guided": {
        "": None,
        "For you one open mask is enough, but guided needs both: and, not or.": lambda x, r: r * ((x > 0) | (r > 0)),
        "You ask for the sign of X · R, but two negative numbers have a positive product. Ask X > 0 and R > 0.": (
            lambda x, r: r * (x * r > 0)
        ),
        "This is the sum of both rules' answers: guided applies both masks to one R.": (
            lambda x, r: (x > 0) * r + r.clip(min=0)
        ),
        "This is the mean of both rules' answers: guided applies both masks to one R.": (
            lambda x, r: ((x > 0) * r + r.clip(min=0)) / 2
        ),
    },
}  # fmt: skip


@cache
def _pool_exercise() -> Exercise:
    generator = torch.Generator().manual_seed(7)
    probes = []
    # Windows side by side; overlapping ones that share maxima; others with many overlaps; equal maxima in all of them.
    for height, width, kernel, stride in ((4, 6, 2, 2), (7, 9, 3, 2), (5, 4, 2, 1), (9, 7, 3, 3)):
        h, w = (height - kernel) // stride + 1, (width - kernel) // stride + 1
        x = torch.randint(-4, 5, (height, width), generator=generator).float()
        r = torch.randint(1, 9, (h, w), generator=generator).float()
        r = r * (1 - 2 * torch.randint(0, 2, (h, w), generator=generator))
        words = f"x of shape {(height, width)}, r of shape {(h, w)}, kernel {kernel} and stride {stride}"
        probes.append(Probe((x, r, kernel, stride), _by_moving_the_input(x, r, kernel, stride), words))
    return Exercise(
        probes=probes,
        praise="Each value goes to its own switch; where two windows share one, both values are added.",
        expected="R_n, one number per entry of x",
        knobs=(_AT, _VALUE, _WAY),
        mistaken=_put_back,
        remark=_remark_on_pool,
        untouched="Your function changes x or r itself, but other code still needs them. Begin with zeros.",
        hints={"out of bounds": "A window begins at row i · stride and column j · stride; r[i, j] is its value."},
    )


def _by_moving_the_input(x: Tensor, r: Tensor, kernel: int, stride: int) -> Array:
    """∂(Σ R · pooled)/∂X without autograd: each entry of X is moved a little up.

    The first of equal entries must win, so later ones are lowered beforehand, by far less than whole numbers differ.
    """
    plane = x.double().numpy()
    ranked = plane - 1e-3 * np.arange(plane.size).reshape(plane.shape) / plane.size
    values = r.double().numpy()

    def pooled(entries: Array) -> float:
        return sum(
            float(values[i, j] * entries[i * stride : i * stride + kernel, j * stride : j * stride + kernel].max())
            for i, j in np.ndindex(values.shape)
        )

    slope, step = np.zeros_like(plane), 1e-6
    for at in np.ndindex(plane.shape):
        nudged = ranked.copy()
        nudged[at] += step
        slope[at] = (pooled(nudged) - pooled(ranked)) / step
    return slope


def _first(where: NDArray[np.bool_]) -> Array:
    """1 at the first true entry, row by row."""
    one = np.zeros(where.shape)
    one.flat[int(where.ravel().argmax())] = 1
    return one


_AT: dict[str, Callable[[Array], Array]] = {
    "": lambda part: _first(part == part.max()),
    "If maxima are equal, you take the last: the first one counts, row by row, as in the forward pass.": (
        lambda part: _first((part == part.max())[::-1, ::-1])[::-1, ::-1]
    ),
    "If maxima are equal, you take the first one column by column: count row by row.": (
        lambda part: _first((part == part.max()).T).T
    ),
    "Equal maxima all get R: only the first one, row by row, has the switch.": (
        lambda part: (part == part.max()).astype(float)
    ),
    "Equal maxima share R: only the first one, row by row, has the switch.": (
        lambda part: (part == part.max()) / (part == part.max()).sum()
    ),
    "The value of R is copied to the whole window: only its maximum gets it.": np.ones_like,
    "The value of R is spread over the window, as for an average: only its maximum gets it.": (
        lambda part: np.full(part.shape, 1 / part.size)
    ),
    "The value of R goes to the largest |X| of a window: the switch is where the largest X was.": (
        lambda part: _first(np.abs(part) == np.abs(part).max())
    ),
    "The value of R goes to the minimum of a window: the switch is where the largest X was.": (
        lambda part: _first(part == part.min())
    ),
    "The value of R goes to a window's first corner, as in un-pooling without switches. Look where the maximum was.": (
        lambda part: _first(np.ones(part.shape, bool))
    ),
    "The value of R goes to a window's middle, as in un-pooling without switches. Look where the maximum was.": (
        lambda part: _middle(part)
    ),
    "Row and column are exchanged: a place in a window is (row, column) = divmod(its number, kernel).": (
        lambda part: _first(part == part.max()).T
    ),
}


def _middle(part: Array) -> Array:
    one = np.zeros(part.shape)
    one[part.shape[0] // 2, part.shape[1] // 2] = 1
    return one


_VALUE: dict[str, Callable[[Array, float], float]] = {
    "": lambda part, value: value,
    "The sign of R is reversed: add what arrives.": lambda part, value: -value,
    "The value of R is missing: you count the windows.": lambda part, value: 1.0,
    "You multiply R by the maximum: the place of the maximum matters, not its size.": (
        lambda part, value: value * float(part.max())
    ),
    "You put the maximum itself back, but R's value goes to its place.": lambda part, value: float(part.max()),
    "A negative R is stopped: that is a ReLU's mask, and pooling has none.": lambda part, value: max(value, 0.0),
    "A maximum below 0 is stopped: that is a ReLU's mask, and pooling has none.": (
        lambda part, value: value * (part.max() > 0)
    ),
    "You use |R|: keep its sign.": lambda part, value: abs(value),
    "You divide by the number of pixels in a window: the maximum gets all of R.": (
        lambda part, value: value / part.size
    ),
}
_OVERWRITTEN = "Where windows overlap, the later one overwrites: add the values of all, with += and not =."
_WAY = {
    "": "added",
    _OVERWRITTEN: "written",
    _OVERWRITTEN + " ": "written where not 0",
    "Where windows overlap, the largest value stays: add the values of all, with +=.": "largest",
    "Where windows overlap, you average their values: add them, with +=.": "averaged",
    "The window's own place is missing: it begins at row i·stride and column j·stride.": "at the corner",
    "The stride is forgotten: a window begins at row i·stride and column j·stride.": "stride of 1",
    "The stride is forgotten in the answer: a window begins there at row i·stride and column j·stride.": "put at i, j",
    "Your windows lie `kernel` apart: they must lie `stride` apart.": "kernel apart",
    "A place in a window is divmod(its number, kernel): the window is `kernel` wide, not `stride`.": "divmod by stride",
    "The rows and columns of r are exchanged: r[i, j] has row i and column j.": "r turned",
}


def _put_back(
    probe: Probe, at: Callable[[Array], Array], value: Callable[[Array, float], float], way: str
) -> Array:
    x, r, kernel, stride = probe.given
    plane, values = x.double().numpy(), r.double().numpy()
    values = values.T if way == "r turned" else values
    below, count = np.zeros_like(plane), np.zeros_like(plane)
    apart = {"stride of 1": 1, "kernel apart": kernel}.get(way, stride)
    for i, j in np.ndindex(values.shape):
        window = slice(i * apart, i * apart + kernel), slice(j * apart, j * apart + kernel)
        part = plane[window]
        new = at(part) * value(part, float(values[i, j]))
        if way in ("at the corner", "put at i, j", "divmod by stride"):
            for row, column in np.argwhere(new):
                place = {
                    "at the corner": (row, column), "put at i, j": (i + row, j + column),
                    "divmod by stride": np.add((i * stride, j * stride), divmod(row * kernel + column, stride)),
                }[way]  # fmt: skip
                below[tuple(place)] += new[row, column]
        elif way == "written":
            below[window] = new
        elif way == "written where not 0":
            below[window] = np.where(new != 0, new, below[window])
        elif way == "largest":
            below[window] = np.maximum(below[window], new)
        else:
            below[window] += new
            count[window] += new != 0
    return np.asarray(below / count.clip(min=1)) if way == "averaged" else below


def _remark_on_pool(probe: Probe, at: tuple[int, ...]) -> str:
    x, r, kernel, stride = probe.given
    arrive = []
    for i, j in np.ndindex(tuple(r.shape)):
        part = x[i * stride : i * stride + kernel, j * stride : j * stride + kernel]
        row, column = divmod(int(np.flatnonzero(part.numpy().ravel() == float(part.max()))[0]), kernel)
        if (i * stride + row, j * stride + column) == at:
            arrive.append(f"r[{i}, {j}] = {float(r[i, j]):g}")
    return f"There {' and '.join(arrive)} arrive{'s' if len(arrive) == 1 else ''}." if arrive else (
        "No window has its maximum there, or another place of the window comes first."
    )  # fmt: skip
