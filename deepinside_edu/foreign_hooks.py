"""Hooks that somebody left on a network: whether they change its scores, or what comes back from them."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from .trial import agree
from .twin import twin

KINDS = ("_forward_pre_hooks", "_forward_hooks", "_backward_pre_hooks", "_backward_hooks")
"""Where a module keeps its hooks; those of all modules are in torch's own tables of nearly the same names."""

EVERY_MODULE = "every module"


class Hook(NamedTuple):
    """A hook, and the name of the module that it is on."""

    where: str
    call: Any


def foreign_hooks(network: nn.Module) -> list[Hook]:
    """List the hooks that are neither torch's own, such as weight norm's, nor this package's."""
    tables = [(EVERY_MODULE, getattr(nn.modules.module, f"_global{kind}", {})) for kind in KINDS]
    for name, module in network.named_modules():
        tables += [(name or "the network", module.__dict__.get(kind)) for kind in KINDS]
    return [Hook(name, call) for name, table in tables if table for call in table.values() if _is_foreign(call)]


def _is_foreign(hook: Any) -> bool:
    home = getattr(hook, "__module__", None) or type(hook).__module__
    return home.partition(".")[0] not in ("torch", __package__)


def without_foreign_hooks(network: nn.Module) -> nn.Module:
    """Make a twin of the network on which they do not run."""

    def strip(_: str, module: nn.Module, copy: nn.Module) -> None:
        kept = 0
        for kind in KINDS:
            own = OrderedDict((key, hook) for key, hook in getattr(module, kind, {}).items() if not _is_foreign(hook))
            copy.__dict__[kind] = own
            kept += len(own)
        if not kept:  # hooks of every module run where a module is called, and not in its forward
            copy.__class__ = type(type(module).__name__, (type(module),), {"__call__": _straight})

    return twin(network, strip)


def _straight(self: nn.Module, *args: Any, **kwargs: Any) -> Any:
    return self.forward(*args, **kwargs)


class Change(NamedTuple):
    """What hooks change: the scores, or only what comes back from them, which then is no gradient."""

    scores: bool
    gradient: bool


def changed_by(scores: Tensor, batch: Tensor, bare: Callable[[Tensor], Tensor]) -> Change:
    """Compare scores, and their gradient, with those of the network without the hooks.

    Args:
        scores: of the network with its hooks, `(N, classes)`, with their graph, which is kept.
        batch: what they are of, `(N, C, H, W)`, and asks for gradients.
        bare: gives the scores without the hooks.
    """
    leaf = batch.detach().clone().requires_grad_()
    without = bare(leaf)
    if not agree(scores.detach(), without.detach()):
        return Change(scores=True, gradient=False)
    one, other = _back(scores, batch, keep=True), _back(without, leaf)
    if one is None or other is None:
        return Change(scores=False, gradient=one is not other)
    return Change(scores=False, gradient=not agree(one, other))


def _back(scores: Tensor, x: Tensor, keep: bool = False) -> Tensor | None:
    """What comes down from all scores at once, each with a weight of its own; none from scores without a graph."""
    if not scores.requires_grad:
        return None
    weights = torch.linspace(1, 2, scores.shape[1], dtype=scores.dtype, device=scores.device).expand_as(scores)
    return torch.autograd.grad(scores, x, weights, retain_graph=keep, allow_unused=True)[0]


def named(hooks: Sequence[Hook]) -> str:
    """Say on which modules they are."""
    names = list(dict.fromkeys(hook.where for hook in hooks))
    return ", ".join(names[:3] + ["…"] * (len(names) > 3))
