"""Checks of lesson 5's exercises: a ReLU's way back under three rules, and that of a max-pooling with its switches."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..backward_by_hand import RULES
from .saliency import TOLERANCE
from .verdict import Verdict, ask

Array = NDArray[np.float64]
Way = Callable[[Array, Array], Array]


def check_relu(function: Callable[..., Any]) -> Verdict:
    """Check a learner's way back through a ReLU under the rules "gradient", "deconvnet" and "guided".

    Args:
        function: from (x, r, rule) to R_n like r: `x` is the ReLU's input X_n, `r` what comes down to its output,
            R_{n+1}, both tensors of one shape.

    Returns:
        A `Verdict` that names the mistake, or several, where they are known ones.
    """
    x, r = _relu_example()
    answers: dict[str, Array] = {}
    for rule in RULES:
        given = x.clone(), r.clone()
        got = _to_array(ask(function, *given, rule), tuple(r.shape), "R_n must be {}, as R_n+1 is; yours is {}.")
        if not (torch.equal(given[0], x) and torch.equal(given[1], r)):
            return Verdict(False, "Your function changes x or r itself, which others still need. Make a new tensor.")
        if isinstance(got, Verdict):
            # Where the first rule stumbles the others would too.
            return got if rule == RULES[0] else Verdict(False, f"Under {rule!r}: {got.message}")
        answers[rule] = got
    right = {rule: np.vectorize(_one_entry)(x.double().numpy(), r.double().numpy(), rule) for rule in RULES}
    wrong = [rule for rule in RULES if not _close(answers[rule], right[rule])]
    if not wrong:
        return Verdict(True, "The gradient asks X, DeconvNet asks R, guided asks both, and each answer is yes or no.")
    if _close(answers["gradient"], right["deconvnet"]) and _close(answers["deconvnet"], right["gradient"]):
        return Verdict(False, "The masks are swapped: the gradient has 1(X_n > 0), DeconvNet 1(R_n+1 > 0).")
    if all(_close(answers[rule], answers["gradient"]) for rule in RULES) and len(wrong) < len(RULES):
        return Verdict(False, "Your function gives the same under all three rules: look at `rule`.")
    messages: dict[str, list[str]] = {}
    for rule in wrong:
        messages.setdefault(_relu_mistake(answers[rule], x.double().numpy(), r.double().numpy(), rule), []).append(rule)
    return Verdict(False, " ".join(f"Under {' and '.join(map(repr, rules))}: {m}" for m, rules in messages.items()))


def _relu_example() -> tuple[Tensor, Tensor]:
    """X and R of both signs in all four combinations, with zeros that ≥ would let through."""
    generator = torch.Generator().manual_seed(5)
    x, r = torch.randn(2, 2, 4, 5, generator=generator).unbind(0)
    x[:, 0], r[0, 1, :2] = 0, 0
    return x, r


def _one_entry(x: float, r: float, rule: str) -> float:
    if rule in ("gradient", "guided") and not x > 0:
        return 0.0
    if rule in ("deconvnet", "guided") and not r > 0:
        return 0.0
    return r


def _relu_mistake(got: Array, x: Array, r: Array, rule: str) -> str:
    by_activation = (
        "you multiply by the activation X, and the mask is its indicator, 1(X > 0): yes or no, without a size. "
        "A well-known package shipped this mistake."
    )
    if rule == "deconvnet":
        of_x: Sequence[tuple[str, Any]] = (
            ("", 1.0),
            ("DeconvNet does not look at X: leave the forward mask 1(X > 0) out.", x > 0),
            ("DeconvNet does not look at X: leave the forward mask out.", x >= 0),
            (by_activation + " DeconvNet does not even have that mask.", x.clip(min=0)),
            ("you multiply by X: DeconvNet does not look at X at all.", x),
        )
    else:
        of_x = (
            ("", x > 0),
            ("X = 0 must stay closed: the mask is X > 0, not X >= 0.", x >= 0),
            (by_activation, x.clip(min=0)),
            ("you multiply by X itself, and the mask is 1(X > 0): yes or no.", x),
            ("the mask asks whether X is above 0, not whether it is other than 0.", x != 0),
            ("the forward mask is turned round: open is where X > 0.", x <= 0),
            ("the forward mask is turned round: open is where X > 0.", x < 0),
            ("the forward mask 1(X > 0) is missing.", 1.0),
        )
    size = "you use |R|, but the sign of R must stay."
    if rule == "gradient":
        of_r: Sequence[tuple[str, Array]] = (
            ("", r),
            ("back-propagation lets a negative R pass: it has no mask 1(R > 0).", r.clip(min=0)),
            (size, np.abs(r)),
            ("R itself is missing: multiply the mask by R.", np.ones_like(r)),
        )
    else:
        of_r = (
            ("", r.clip(min=0)),
            ("the backward mask 1(R > 0) is missing. A mask of |R| stops nothing.", r),
            (size + " 1(R > 0) stops what is negative.", np.abs(r)),
            ("the backward mask is turned round: what is above 0 passes.", r.clip(max=0)),
            ("R itself is missing: this is the mask alone. Multiply it by R.", (r > 0).astype(float)),
            ("you multiply by R twice: the mask is the indicator 1(R > 0).", r.clip(min=0) ** 2),
        )
    if rule == "guided":
        for alone, other in (((x > 0) * r, "the backward one, 1(R > 0)"), (r.clip(min=0), "the forward one, 1(X > 0)")):
            if _close(got, alone):
                return f"this is only one mask, and guided has both: add {other}."
        if _close(got, r * ((x > 0) | (r > 0))):
            return "one open mask is enough here, and guided wants both: and, not or."
        if _close(got, r * (x * r > 0)):
            return "the sign of X · R is asked: two negative ones have a positive product. Ask X > 0 and R > 0."
    if _close(-got, np.vectorize(_one_entry)(x, r, rule)):
        return "the sign is turned round: what passes is R itself, not −R."
    # The fewest mistakes that explain the answer are the likeliest.
    pairs = itertools.product(of_x, of_r)
    for (first, by), (second, value) in sorted(pairs, key=lambda pair: bool(pair[0][0]) + bool(pair[1][0])):
        if _close(got, by * value):
            return " ".join(message for message in (first, second) if message)
    right = np.vectorize(_one_entry)(x, r, rule)
    at = tuple(int(i) for i in np.unravel_index(np.abs(got - right).argmax(), got.shape))
    return f"where X = {x[at]:.2f} and R = {r[at]:.2f} it must give {right[at]:.2f}; yours is {got[at]:.2f}."


def check_pool(function: Callable[..., Any]) -> Verdict:
    """Check a learner's way back through a max-pooling: each value of R goes to where its maximum came from.

    Args:
        function: from (x, r, kernel, stride) to R_n like x: `x` is one plane X_n `(H, W)`, `r` is R_{n+1} `(h, w)`,
            a window is kernel × kernel, and windows lie `stride` apart, so that they may overlap.

    Returns:
        A `Verdict` that names the mistake where it is a known one.
    """
    answers = []
    for x, r, kernel, stride in _pool_examples():
        given = x.clone(), r.clone()
        answer = ask(function, *given, kernel, stride)
        got = _to_array(answer, tuple(x.shape), "R_n must be {}, as X_n is; yours is {}.")
        if not (torch.equal(given[0], x) and torch.equal(given[1], r)):
            return Verdict(False, "Your function changes x or r itself, which others still need. Begin with zeros.")
        if isinstance(got, Verdict):
            return got
        answers.append(got)
    for (x, r, kernel, stride), got in zip(_pool_examples(), answers, strict=True):
        if not _close(got, _by_moving_the_input(x, r, kernel, stride)):
            return Verdict(False, _pool_mistake(answers))
    return Verdict(True, "Each value to its own switch; where two windows share one, both are added.")


def _pool_examples() -> Iterator[tuple[Tensor, Tensor, int, int]]:
    """Windows that overlap and share maxima; equal maxima in a window; windows side by side; another number of rows."""
    generator = torch.Generator().manual_seed(7)
    for height, width, kernel, stride in ((7, 9, 3, 2), (4, 6, 2, 2)):
        h, w = (height - kernel) // stride + 1, (width - kernel) // stride + 1
        x = torch.randint(-4, 5, (height, width), generator=generator).float()
        r = torch.randint(1, 9, (h, w), generator=generator).float()
        yield x, r * (1 - 2 * torch.randint(0, 2, (h, w), generator=generator)), kernel, stride


def _by_moving_the_input(x: Tensor, r: Tensor, kernel: int, stride: int) -> Array:
    """∂(Σ R · pooled)/∂X without autograd: each entry of X is moved a little up.

    Of equal entries the first must win, so later ones are lowered first, far less than whole numbers are apart.
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


_Place = Callable[[Array, float], Array]


def _pool_mistake(answers: Sequence[Array]) -> str:
    places: Sequence[tuple[str, _Place]] = (
        ("", lambda part, value: value * _first(part == part.max())),
        (
            "Of equal maxima you take the last: the first one counts, row by row, as in the way forward.",
            lambda part, value: value * _first((part == part.max())[::-1, ::-1])[::-1, ::-1],
        ),
        (
            "Of equal maxima you take the first column by column: they count row by row.",
            lambda part, value: value * _first((part == part.max()).T).T,
        ),
        (
            "Equal maxima all get R: only the first one, row by row, has the switch.",
            lambda part, value: value * (part == part.max()),
        ),
        (
            "Equal maxima share R: only the first one, row by row, has the switch.",
            lambda part, value: value * (part == part.max()) / (part == part.max()).sum(),
        ),
        ("R is copied to the whole window: only its maximum gets it.", lambda part, value: np.full(part.shape, value)),
        (
            "R is spread over the window, as for an average: only its maximum gets it.",
            lambda part, value: np.full(part.shape, value / part.size),
        ),
        (
            "R goes to the largest |X| of a window: the switch is where the largest X was.",
            lambda part, value: value * _first(np.abs(part) == np.abs(part).max()),
        ),
        ("R goes to the minimum of a window.", lambda part, value: value * _first(part == part.min())),
        (
            "R goes to a window's first corner: that is un-pooling without switches. Look where the maximum was.",
            lambda part, value: value * _first(np.ones(part.shape, bool)),
        ),
        (
            "Row and column are exchanged: a place in a window is (row, column) = divmod(its number, kernel).",
            lambda part, value: value * _first(part == part.max()).T,
        ),
        ("R has the wrong sign: what arrives is added.", lambda part, value: -value * _first(part == part.max())),
        ("R itself is missing: you count the windows.", lambda part, value: 1.0 * _first(part == part.max())),
        (
            "You multiply R by the maximum: the place of the maximum matters, not its size.",
            lambda part, value: value * part.max() * _first(part == part.max()),
        ),
        (
            "You put the maximum itself back: R's value goes to its place.",
            lambda part, value: part.max() * _first(part == part.max()),
        ),
        (
            "A negative R, or a maximum below 0, is stopped: that is a ReLU's mask, and pooling has none.",
            lambda part, value: max(value, 0) * _first(part == part.max()),
        ),
        (
            "A maximum below 0 is stopped: that is a ReLU's mask, and pooling has none.",
            lambda part, value: value * (part.max() > 0) * _first(part == part.max()),
        ),
    )
    overwritten = "Where windows overlap, the later one overwrites: what comes from several is added, += and not =."
    corner = "The window's own place is missing: its row and column begin at i·stride and j·stride."
    ways = (
        ("", "added"), (overwritten, "written"), (overwritten, "written where not 0"), (corner, "at the corner"),
    )  # fmt: skip
    choices = itertools.product(places, ways)
    for (first, place), (second, way) in sorted(choices, key=lambda pair: bool(pair[0][0]) + bool(pair[1][0])):
        wrong = (_put_back(*example, place, way) for example in _pool_examples())
        if all(_close(got, each) for got, each in zip(answers, wrong, strict=True)):
            return " ".join(message for message in (first, second) if message)
    return (
        "The values are wrong. Take one window, x[i·stride : i·stride + kernel, j·stride : j·stride + kernel]: the "
        "place of its maximum gets r[i, j] added, and no other place gets anything from this window."
    )


def _first(where: NDArray[np.bool_]) -> Array:
    """1 at the first true entry, row by row."""
    one = np.zeros(where.shape)
    one.flat[int(where.ravel().argmax())] = 1
    return one


def _put_back(x: Tensor, r: Tensor, kernel: int, stride: int, place: _Place, way: str) -> Array:
    plane = x.double().numpy()
    below = np.zeros_like(plane)
    for i, j in np.ndindex(tuple(r.shape)):
        window = slice(i * stride, i * stride + kernel), slice(j * stride, j * stride + kernel)
        new = place(plane[window], float(r[i, j]))
        if way == "at the corner":
            below[:kernel, :kernel] += new
        elif way == "added":
            below[window] += new
        else:
            below[window] = new if way == "written" else np.where(new != 0, new, below[window])
    return below


def _to_array(answer: Any, shape: tuple[int, ...], about_shape: str) -> Array | Verdict:
    """Turn an answer into numbers of the right shape, or into a `Verdict` that says why it is none."""
    if isinstance(answer, Verdict):
        return answer
    try:
        values = np.asarray(answer.detach().cpu() if isinstance(answer, Tensor) else answer, np.float64)
    except (TypeError, ValueError, RuntimeError):
        kind = type(answer).__name__
        return Verdict(False, f"Return R_n as a tensor or an array of shape {shape}; yours is of type {kind}.")
    if values.shape != shape:
        return Verdict(False, about_shape.format(shape, values.shape or "one number"))
    if not np.isfinite(values).all():
        return Verdict(False, "There is NaN or infinity in your R_n: somewhere you divide by zero.")
    return values


def _close(got: Array, expected: Any) -> bool:
    return bool(np.abs(got - expected).max() <= TOLERANCE * np.abs(expected).max())
