"""A network's twin: a copy of its tree of modules that shares every weight, to be watched or changed in its place."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn

TABLES = (
    "_modules", "_parameters", "_buffers", "_forward_pre_hooks", "_forward_hooks", "_forward_hooks_always_called",
    "_backward_hooks", "_backward_pre_hooks",
)  # fmt: skip
"""Attributes of a module that each copy gets a dict of its own for; the entries are shared."""


Change = Callable[[str, nn.Module, nn.Module], None]
"""What is done to a copy; it is given a module's name, the module and its copy."""


def twin(network: nn.Module, change: Change) -> nn.Module:
    """Copy the tree of modules, not the weights; the network itself is not touched, not even for a moment.

    Args:
        network: any; what TorchScript has compiled in it is left as it is, because nobody can look into it. Parts that
            torch.compile wraps are copied as they were before.
        change: called once for each module, a child before its parent.

    Returns:
        The copy.
    """
    return _copy_module(network, "", {}, change)


def _copy_module(module: nn.Module, name: str, copies: dict[nn.Module, nn.Module], change: Change) -> nn.Module:
    # This is not a function inside `twin`: one that calls itself is a cycle, and would keep what was recorded alive.
    module = uncompiled(module)
    if module in copies or isinstance(module, torch.jit.ScriptModule):
        return copies.get(module, module)
    copy = copies[module] = object.__new__(type(module))
    copy.__dict__ |= module.__dict__
    copy.__dict__["_compiled_call_impl"] = None
    for table in TABLES:
        copy.__dict__[table] = module.__dict__[table].copy()
    for key, child in module._modules.items():
        path = f"{name}.{key}".removeprefix(".")
        copy._modules[key] = None if child is None else _copy_module(child, path, copies, change)
    change(name, module, copy)
    return copy


def uncompiled(module: nn.Module) -> nn.Module:
    """Give the module inside the wrapping of torch.compile or of a parallel run, which change no score."""
    while True:
        parallel = isinstance(module, (nn.DataParallel, nn.parallel.DistributedDataParallel))
        inside = getattr(module, "module" if parallel else "_orig_mod", None)
        if not isinstance(inside, nn.Module):
            return module
        module = inside
