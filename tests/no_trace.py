"""Checks that a step leaves nothing behind: not in the network, not in what the caller passed in, not in the process.

    with no_trace(classifier.network, x, picture):
        linearise(classifier, x, 3)

It checks after an exception too: put it inside ``pytest.raises``, and a trace replaces the exception.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

GLOBAL_HOOKS = [name for name in vars(nn.modules.module) if name.startswith("_global") and name.endswith("hooks")]


@contextmanager
def no_trace(*things: object) -> Iterator[None]:
    """Raise an AssertionError that names what differs after the block: of networks, tensors, arrays, PIL images."""
    before = _state(things)
    try:
        yield
    finally:
        after = _state(things)
        changed = [key for key in before | after if before.get(key) != after.get(key)]
        assert not changed, f"a trace was left: {', '.join(changed)}"


def _state(things: tuple[object, ...]) -> dict[str, object]:
    state: dict[str, object] = {
        "process: grad mode": torch.is_grad_enabled(),
        "process: inference mode": torch.is_inference_mode_enabled(),
        "process: default dtype": torch.get_default_dtype(),
        "process: deterministic algorithms": torch.are_deterministic_algorithms_enabled(),
        "process: torch's threads": torch.get_num_threads(),
        "process: torch's random numbers": _bytes(torch.get_rng_state()),
        "process: numpy's random numbers": repr(np.random.get_state()),  # noqa: NPY002 - the one that all share
        "process: global hooks": {name: list(getattr(nn.modules.module, name)) for name in GLOBAL_HOOKS},
    }
    for position, thing in enumerate(things):
        if isinstance(thing, nn.Module):
            for name, module in thing.named_modules():
                state |= _of_module(f"{position}: module {name!r}", module)
        elif isinstance(thing, Tensor):
            state |= _of_tensor(f"{position}: tensor", thing)
        elif isinstance(thing, np.ndarray):
            state[f"{position}: array"] = (
                thing.dtype,
                thing.shape,
                thing.strides,
                thing.flags.writeable,
                thing.tobytes(),
            )
        elif isinstance(thing, Image.Image):
            state[f"{position}: picture"] = (thing.mode, thing.size, thing.tobytes())
        else:
            raise TypeError(f"no_trace cannot watch a {type(thing).__name__}")
    return state


def _of_module(name: str, module: nn.Module) -> dict[str, object]:
    state: dict[str, object] = {f"{name} kind": (id(module), type(module))}
    for key, value in vars(module).items():
        if key in ("_parameters", "_buffers"):
            for tensor_name, tensor in value.items():
                if tensor is not None:
                    state |= _of_tensor(f"{name} {tensor_name}", tensor)
        elif isinstance(value, Mapping):  # hooks and children
            state[f"{name} {key}"] = [(k, id(v)) for k, v in value.items()]
        elif isinstance(value, Tensor):
            state |= _of_tensor(f"{name} {key}", value)
        else:  # flags such as training and inplace, and anything that was attached to this module
            state[f"{name} {key}"] = (id(value), repr(value))
    return state


def _of_tensor(name: str, tensor: Tensor) -> dict[str, Any]:
    # A leaf's graph is not read, because reading grad_fn of a view may create one.
    return {
        f"{name} object": (id(tensor), tensor.data_ptr()),
        f"{name} layout": (tensor.shape, tensor.stride(), tensor.dtype, tensor.device),
        f"{name} values": _bytes(tensor),
        f"{name} version": None if tensor.is_inference() else tensor._version,
        f"{name} requires_grad": tensor.requires_grad,
        f"{name} hooks": list(tensor._backward_hooks or ()),
        f"{name} grad": None if not tensor.is_leaf or tensor.grad is None else (id(tensor.grad), _bytes(tensor.grad)),
    }


def _bytes(tensor: Tensor) -> bytes:
    return tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().tobytes()  # bfloat16 too
