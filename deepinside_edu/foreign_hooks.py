"""Hooks that somebody left on a network: whether they change its scores, or what comes back from them."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from torch import Tensor, nn

from .trial import agree, bring_down
from .twin import twin

KINDS = ("_forward_pre_hooks", "_forward_hooks", "_backward_pre_hooks", "_backward_hooks")
"""The attributes in which a module keeps its hooks; torch keeps those of every module in tables of similar names."""

FORWARD_KINDS = KINDS[:2]

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
    """Make a twin of the network on which these hooks do not run."""

    def strip(_: str, module: nn.Module, copy: nn.Module) -> None:
        kept = 0
        for kind in KINDS:
            own = OrderedDict((key, hook) for key, hook in getattr(module, kind, {}).items() if not _is_foreign(hook))
            copy.__dict__[kind] = own
            kept += len(own)
        if not kept:  # hooks of every module run when a module is called, not in its forward
            copy.__class__ = type(type(module).__name__, (type(module),), {"__call__": _straight})

    return twin(network, strip)


def without_listeners(network: nn.Module, run: Callable[[nn.Module], Tensor], scores: Tensor) -> nn.Module:
    """Make a twin of the network on which hooks of others that only listen do not run.

    They do not hear a trial's pictures: a hook that keeps a layer's output is meant for the caller's images.

    Args:
        network: with its hooks, none of which is changed.
        run: gives the scores of a twin for the images; it shows which hooks answer or write into what they are given.
        scores: those of the network itself for the same images.

    Returns:
        The twin, or the network itself if the twin's scores differ, because a hook that seems to listen does more.
    """
    active: set[int] = set()

    def watch(_: str, module: nn.Module, copy: nn.Module) -> None:
        for kind in FORWARD_KINDS:
            hooks = getattr(module, kind).items()
            watched = ((key, _Watched(hook, active) if _is_foreign(hook) else hook) for key, hook in hooks)
            copy.__dict__[kind] = OrderedDict(watched)

    def strip(_: str, module: nn.Module, copy: nn.Module) -> None:
        for kind in FORWARD_KINDS:
            hooks = getattr(module, kind).items()
            kept = ((key, hook) for key, hook in hooks if not _is_foreign(hook) or id(hook) in active)
            copy.__dict__[kind] = OrderedDict(kept)

    run(twin(network, watch))
    quiet = twin(network, strip)
    return quiet if agree(run(quiet).detach(), scores.detach()) else network


class _Watched(NamedTuple):
    """A hook that notes whether it changes anything: by its answer, or by writing into a tensor."""

    hook: Callable[..., object]
    active: set[int]

    def __call__(self, *args: Any, **kwargs: Any) -> object:
        before = _versions((args, kwargs))
        answer = self.hook(*args, **kwargs)
        if answer is not None or _versions((args, kwargs)) != before:
            self.active.add(id(self.hook))
        return answer


def _versions(given: object) -> list[int]:
    """Count how often each of the tensors was written into."""
    if isinstance(given, Tensor):
        return [0 if given.is_inference() else given._version]
    inside = given.values() if isinstance(given, dict) else given if isinstance(given, (tuple, list)) else ()
    return [version for each in inside for version in _versions(each)]


def _straight(self: nn.Module, *args: Any, **kwargs: Any) -> Any:
    return self.forward(*args, **kwargs)


class Change(NamedTuple):
    """What hooks change: the scores, or only what comes back from them, which then is not their gradient."""

    scores: bool
    gradient: bool


def changed_by(scores: Tensor, batch: Tensor, bare: Callable[[Tensor], Tensor]) -> Change:
    """Compare scores, and their gradient, with those of the network without the hooks.

    Args:
        scores: of the network with its hooks, `(N, classes)`, with their graph, which is kept.
        batch: the images of these scores, `(N, C, H, W)`; it asks for gradients.
        bare: gives the scores without the hooks.
    """
    leaf = batch.detach().clone().requires_grad_()
    without = bare(leaf)
    if not agree(scores.detach(), without.detach()):
        return Change(scores=True, gradient=False)
    one, other = bring_down(scores, batch, keep=True), bring_down(without, leaf)
    if one is None or other is None:
        return Change(scores=False, gradient=one is not other)
    return Change(scores=False, gradient=not agree(one, other))


def name_modules(hooks: Sequence[Hook]) -> str:
    """Say on which modules the hooks are."""
    names = list(dict.fromkeys(hook.where for hook in hooks))
    return ", ".join(names[:3] + ["…"] * (len(names) > 3))
