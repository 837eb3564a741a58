"""A trial of a network on pictures of noise: what in it would make the paper's steps silently wrong."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

Source = tuple[Callable[[], Any], Callable[[Any], Any]]
"""How to read and to set the state of a generator of random numbers."""

REPEATS = 8
"""How often a network that may be random is run again: one that is so every second time is missed once in 256."""

FAILURES = (RuntimeError, AssertionError, ValueError)
"""What a network raises for an image that it was not made for."""


@contextmanager
def own_mode(device: torch.device, gradients: bool = True) -> Iterator[None]:
    """Compute as the paper says whatever mode the caller is in: in full precision, with gradients or without."""
    kind = device.type
    with ExitStack() as stack:
        if torch.is_inference_mode_enabled():
            stack.enter_context(torch.inference_mode(False))
        stack.enter_context(torch.set_grad_enabled(gradients))
        if torch.amp.is_autocast_available(kind) and torch.is_autocast_enabled(kind):
            stack.enter_context(torch.autocast(kind, enabled=False))
        yield


def noise_pictures(count: int, shape: Sequence[int], mean: Sequence[float], std: Sequence[float]) -> Tensor:
    """Make pictures of noise, normalised: 0 ≤ p ≤ 1 and x_c = (p_c − mean_c) / std_c.

    A plain picture would not do: a network that divides by an image's spread has no scores for it.

    Args:
        count: how many; the first has middle levels, the next is dark, the one after it bright, and so on.
        shape: (C, H, W).
        mean: of each channel; if C is another number, the average stands for all.
        std: likewise.

    Returns:
        `(count, C, H, W)` float32, the same on every call.
    """
    p = torch.rand((count, *shape), generator=torch.Generator("cpu").manual_seed(0), dtype=torch.float32, device="cpu")
    for n in range(count):
        p[n] = 0.5 * p[n] + (0.25, 0, 0.5)[n % 3]
    shift, scale = (torch.tensor(each, dtype=p.dtype, device="cpu").reshape(-1, 1, 1) for each in (mean, std))
    if len(mean) != shape[0]:
        shift, scale = shift.mean(), scale.mean()
    return (p - shift) / scale


class Trial(NamedTuple):
    """What a trial found out.

    Attributes:
        scores: of the first picture, as the network gives them, or whatever else it gives.
        one_at_a_time: whether an image's scores depend on the other images of its batch, or a batch is refused.
        random: whether the scores change from call to call.
        probabilities: which kind of probabilities the scores are; empty if they are scores.
        no_gradient: whether what comes back from the scores is the derivative of nothing, as from a guided ReLU.
    """

    scores: object
    one_at_a_time: bool = False
    random: bool = False
    probabilities: str = ""
    no_gradient: bool = False


def try_out(network: nn.Module, pictures: Tensor) -> Trial:
    """Run a network on one picture alone, then on the same one among others.

    Args:
        network: in evaluation mode; nothing of it is changed, and no random number is used up.
        pictures: three, `(3, C, H, W)`, on its device.

    Returns:
        A `Trial`.

    Raises:
        Exception: whatever the network raises for one picture.
    """
    with own_mode(pictures.device), _same_random_numbers(network, pictures.device) as drawn:
        leaf = pictures[:1].clone().requires_grad_()
        scores = _run_with_graph(network, leaf)
        if not isinstance(scores, Tensor) or scores.ndim != 2 or not scores.is_floating_point():
            return Trial(scores)
        alone = scores.detach()
        if not bool(alone.isfinite().all()):
            return Trial(alone)
        with torch.no_grad():
            among = _run_among_others(network, pictures)
            together = among is not None and _are_alike(among, alone)
            if drawn() and _draws_its_own(network, pictures):
                return Trial(alone, random=True)
            if (drawn() or not together) and not all(
                torch.equal(again, alone) if drawn() else agree(again, alone) for again in _run_again(network, pictures)
            ):
                return Trial(alone, random=True)
        no_gradient = _is_no_gradient(scores, leaf)
    rows = alone if among is None else torch.cat([alone, among])
    return Trial(alone, not together, False, _kind(_last_operation(scores), rows), no_gradient)


def _run_with_graph(network: nn.Module, leaf: Tensor) -> object:
    """Run the network with a graph, or without one if a gradient cannot be taken, which is reported later."""
    try:
        return network(leaf.clone())
    except FAILURES:
        with torch.no_grad():
            return network(leaf.clone())


def _is_no_gradient(scores: Tensor, leaf: Tensor) -> bool:
    """Whether −R does not bring down the opposite of what R brings down, as it does for every derivative.

    Only a backward that somebody wrote in Python is tried. Signs are exact, so rounding and kinks do not matter here.
    """
    if not _has_own_backward(scores.grad_fn):
        return False
    try:
        one, other = bring_down(scores, leaf, keep=True), bring_down(-scores, leaf)
    except torch.cuda.OutOfMemoryError:
        raise
    except Exception:  # whatever it is, it is raised again when a gradient is asked for
        return False
    if one is None or other is None or not bool((one.isfinite() & other.isfinite()).all()):
        return False
    return not agree(one, -other)


def _has_own_backward(top: Any) -> bool:
    """Whether a `torch.autograd.Function` that is not torch's own is in the graph below a node."""
    seen, ahead = {None}, [top]
    while ahead:
        node = ahead.pop()
        if node not in seen:
            seen.add(node)
            function = getattr(node, "_forward_cls", None)  # of what is written in Python
            if function is not None and not function.__module__.startswith("torch."):
                return True
            ahead += [below for below, _ in node.next_functions]
    return False


def bring_down(scores: Tensor, x: Tensor, keep: bool = False) -> Tensor | None:
    """Bring all scores down to the images at once, each with a weight of its own; None from scores without a graph."""
    if not scores.requires_grad:
        return None
    weights = torch.linspace(1, 2, scores.shape[1], dtype=scores.dtype, device=scores.device)
    return torch.autograd.grad(scores, x, weights.expand_as(scores), retain_graph=keep, allow_unused=True)[0]


def _run_among_others(network: nn.Module, pictures: Tensor) -> Tensor | None:
    """Run the second, the first and the third picture in one batch, so that the first one is at neither end of it."""
    try:
        among = network(pictures[[1, 0, 2]])
    except torch.cuda.OutOfMemoryError:
        raise
    except Exception:  # whatever it is, a batch is not what this network was made for
        return None
    return among.detach() if isinstance(among, Tensor) and among.ndim == 2 and len(among) == 3 else None


def _are_alike(among: Tensor, alone: Tensor) -> bool:
    """Whether the middle picture of a batch has the scores that it has alone, compared to how far pictures differ.

    If all pictures share a large bias, what others add to a score would look like rounding beside it.
    """
    if among.shape[1:] != alone.shape[1:]:
        return False
    eps = torch.finfo(alone.dtype).eps
    spread = (among.amax(0) - among.amin(0)).max()
    tolerance = torch.maximum(_rounding(alone) ** 0.5 * spread, min(100 * eps, eps**0.5) * alone.abs())
    return bool(((among[1:2] - alone).abs() <= tolerance).all())


def _draws_its_own(network: nn.Module, pictures: Tensor) -> bool:
    """Whether each call takes numbers from a generator that the network keeps, so its scores may rarely change.

    A generator that is set to the same state at each call gives the same numbers, and does not count.
    """
    states: list[list[object]] = []
    sources = _own_generators(network)
    for _ in range(2 if sources else 0):
        network(pictures[:1].clone())
        states.append([_mark(get()) for get, _ in sources])
    return bool(sources) and states[0] != states[1]


def _run_again(network: nn.Module, pictures: Tensor) -> Iterator[Tensor]:
    for _ in range(REPEATS):
        yield network(pictures[:1].clone())


def agree(one: Tensor, other: Tensor) -> bool:
    """Whether two tensors are the same except for rounding; accelerators round products to 11 bits."""
    if one.shape != other.shape:
        return False
    return bool((one - other).abs().max() <= _rounding(one) ** 0.5 * torch.maximum(one.abs(), other.abs()).max())


def _rounding(values: Tensor) -> float:
    return max(torch.finfo(values.dtype).eps, 0.0 if values.device.type == "cpu" else 2**-11)


@contextmanager
def _same_random_numbers(network: nn.Module, device: torch.device) -> Iterator[Callable[[], bool]]:
    """Say whether random numbers were drawn since, and put them back if so."""
    sources = _random_numbers(device) + _own_generators(network)
    states = [get() for get, _ in sources]
    before = [_mark(state) for state in states]

    def drawn() -> bool:
        return [_mark(get()) for get, _ in sources] != before

    try:
        yield drawn
    finally:
        if drawn():
            for (_, put), state in zip(sources, states, strict=True):
                put(state)


def _random_numbers(device: torch.device) -> list[Source]:
    """How to read and to set the state of each generator that any network's forward may ask."""
    sources: list[Source] = [
        (torch.get_rng_state, torch.set_rng_state),
        (random.getstate, random.setstate),
        (np.random.get_state, np.random.set_state),  # the global one
    ]
    if device.type == "cuda":
        sources.append((lambda: torch.cuda.get_rng_state(device), lambda s: torch.cuda.set_rng_state(s, device)))
    elif device.type == "mps":
        sources.append((torch.mps.get_rng_state, torch.mps.set_rng_state))
    return sources


def _own_generators(network: nn.Module) -> list[Source]:
    """How to read and to set the state of each generator that a module keeps as an attribute."""
    found: list[Source] = []
    for module in network.modules():
        for kept in vars(module).values():
            if isinstance(kept, torch.Generator):
                found.append((kept.get_state, kept.set_state))
            elif isinstance(kept, random.Random):
                found.append((kept.getstate, kept.setstate))
            elif isinstance(kept, np.random.RandomState):
                found.append((kept.get_state, kept.set_state))
            elif isinstance(kept, np.random.Generator):
                bits = kept.bit_generator
                found.append((partial(getattr, bits, "state"), partial(setattr, bits, "state")))
    return found


def _mark(state: Any) -> object:
    """Make a state comparable."""
    if isinstance(state, Tensor):
        return state.numpy().tobytes()
    if isinstance(state, np.ndarray):
        return state.tobytes()
    if isinstance(state, dict):
        return tuple((key, _mark(part)) for key, part in state.items())
    return tuple(map(_mark, state)) if isinstance(state, tuple) else state


PROBABILITIES = {
    "Softmax": "probabilities (they add up to 1)", "LogSoftmax": "logarithms of probabilities",
    "Sigmoid": "sigmoids (between 0 and 1)", "Hardsigmoid": "sigmoids (between 0 and 1)",
    "LogSigmoid": "logarithms of sigmoids",
}  # fmt: skip
"""By the name of the operation in torch's graph."""

KEEPS = {
    "AdaptiveAvgPool2D", "Add", "Alias", "Cat", "Clamp", "ClampMax", "ClampMin", "Clone", "Div", "Exp", "Flip", "Index",
    "IndexSelect", "Log", "Log10", "Log2", "Mean", "Mul", "Neg", "Permute", "Pow", "Reshape", "ReshapeAlias", "Rsub",
    "Select", "Slice", "Sqrt", "Squeeze", "Stack", "Sub", "T", "ToCopy", "Transpose", "Unsqueeze", "UnsafeView", "View",
}  # fmt: skip
"""They change the shape or the scale of probabilities, average them or take logarithms, which does not make scores."""

JOINS = {"Add", "Cat", "Mul", "Stack"}
"""They turn several kinds of probabilities into probabilities again."""

SCORES = {"Addmm", "Convolution", "CudnnBatchNorm", "Mm", "NativeBatchNorm"}
"""They give scores, even if by chance these add up as probabilities do."""


def _last_operation(scores: Tensor) -> str:
    """Name the operation that the graph ends with; if several are joined, one of them if all give probabilities."""
    names: list[str] = []
    seen: set[Any] = set()
    ahead: list[Any] = [scores.grad_fn]
    joined = False
    while ahead:
        node = ahead.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        name = node.name().rpartition("::")[2].rstrip("0123456789").removesuffix("Backward")
        below = [each for each, _ in node.next_functions if each is not None]
        if name in KEEPS and (len(below) == 1 or (name in JOINS and below)):
            ahead += below
            joined = joined or len(below) > 1
        else:
            names.append(name)
    known = names and (not joined or all(name in PROBABILITIES for name in names))
    return names[0] if known else ""


def _kind(last: str, rows: Tensor) -> str:
    """Say which probabilities the scores are, by the last operation, or by their sums if that does not say it."""
    return "" if last in SCORES else PROBABILITIES.get(last) or _sums(rows)


def _sums(rows: Tensor) -> str:
    """Say which probabilities the scores are by their sums, if the graph does not say it."""
    s, tolerance = rows.cpu().double(), max(1e-3, 4 * torch.finfo(rows.dtype).eps)
    for kind, values in (("probabilities", s), ("percentages", s / 100), ("logarithms of probabilities", s.exp())):
        if bool((values >= 0).all()) and bool(((values.sum(1) - 1).abs() < tolerance).all()):
            return f"{kind} (they add up to {100 if kind == 'percentages' else 1})"
    return ""
