"""What may be wrapped as a classifier: the network itself, the scale of its input, its size."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import nn

from . import accept
from .twin import uncompiled

BLIND = (
    "the layers of this network cannot be seen, because torch has made one program of {part} ({kind}). "
    "Wrap the network as it was before: its torch.nn.Module with the same weights."
)


def bare_network(network: object) -> nn.Module:
    """Give the network itself, without the wrapping of torch.compile or of a parallel run, which change no score.

    Args:
        network: what the caller passed as a network.

    Returns:
        The module whose layers can be seen.

    Raises:
        TypeError: something that is not a `torch.nn.Module`.
        ValueError: a module without values for its weights.
    """
    if isinstance(network, nn.Module):
        network = uncompiled(network)
    if not isinstance(network, nn.Module):
        raise TypeError(f"expected a torch.nn.Module, got {_kind(network)}. {_remedy(network)}")
    empty = next((name for name, weight in network.named_parameters() if _has_no_values(weight)), None)
    if empty is not None:
        raise ValueError(f"the weight {empty!r} has no values yet. Load the weights first; run a lazy network once.")
    return network


def _kind(network: object) -> str:
    return f"the class {network.__name__} itself" if isinstance(network, type) else type(network).__name__


def _remedy(network: object) -> str:
    if isinstance(getattr(network, "network", None), nn.Module):
        return "It is a classifier already. Use it as it is, or pass its network."
    if isinstance(network, str):
        return f"Load it: load_classifier({network!r}) gives a classifier of it."
    if isinstance(network, type):
        return f"Make one: {network.__name__}(…)."
    if isinstance(network, Mapping):
        return "These are only weights: call network.load_state_dict(weights), then pass the network."
    if hasattr(network, "exported_program") or hasattr(network, "graph_signature"):
        return "Pass its module: exported.module()."
    return "Pass the network itself; a function becomes one as the forward of an nn.Module."


def _has_no_values(weight: nn.Parameter) -> bool:
    return weight.is_meta or isinstance(weight, nn.parameter.UninitializedParameter)


def in_training(network: nn.Module) -> str:
    """Name a module in training mode, if there is one; torch.export fixes the mode, whatever its flags say."""
    if is_exported(network):
        return ""
    for name, module in network.named_modules():
        if (
            getattr(module, "training", False) and type(module) is not nn.Module
        ):  # a bare module, such as torch.fx makes, does nothing
            return name or "the network"
    return ""


def is_exported(network: nn.Module) -> bool:
    """Whether torch.export made it."""
    return any(kind.__module__.startswith("torch.export") for kind in type(network).__mro__)


def check_layers_can_be_seen(network: nn.Module, inside_too: bool = False) -> None:
    """Refuse to list layers that nobody can see.

    Args:
        network: any.
        inside_too: whether a part of TorchScript is refused too. A list would lack its layers without a word.

    Raises:
        ValueError: a network of TorchScript, or an exported one.
    """
    kind = "torch.export" if is_exported(network) else "TorchScript"
    for name, module in network.named_modules() if inside_too else [("", network)]:
        if isinstance(module, torch.jit.ScriptModule) or is_exported(module):
            raise ValueError(BLIND.format(part=f"its part {name!r}" if name else "it", kind=kind))


def each_channel(name: str, values: Any) -> tuple[float, ...]:
    """Read one number per channel from a list, an array or a tensor; None gives an empty tuple.

    Raises:
        TypeError: something else than numbers, or a single number, which does not say for how many channels.
    """
    if values is None:
        return ()
    if isinstance(values, torch.Tensor):
        values = values.detach().cpu().numpy()
    try:
        if isinstance(values, (str, bytes, Mapping)) or np.ndim(values) == 0:
            raise TypeError
        return tuple(map(float, np.asarray(values, float).ravel()))
    except (TypeError, ValueError):
        raise TypeError(
            f"expected a {name} for each channel, got {values!r}. Pass (0.5,) for grey or (0.5, 0.5, 0.5), say."
        ) from None


def check_scale(mean: tuple[float, ...], std: tuple[float, ...]) -> None:
    """Check that mean and standard deviation are of pixels on the scale 0..1.

    Raises:
        ValueError: not as many values of one as of the other, or values on another scale.
    """
    if len(mean) != len(std) or not mean:
        both = " Pass both." if not mean or not std else " Pass as many of one as of the other."
        raise ValueError(f"expected a mean and a std for each channel, got {len(mean)} and {len(std)}.{both}")
    if not all(map(math.isfinite, mean + std)):
        raise ValueError(f"expected finite mean and std, got {_show(mean)} and {_show(std)}. Check them for NaN.")
    if min(std) <= 0:
        raise ValueError(f"expected each std above 0, got {_show(std)}. A channel that is not divided has std 1.")
    if max(mean) > 1 or max(std) > 1:
        # On 0..255 a std of 1 means that nothing is divided, as in Caffe's networks.
        levels = max(mean) > 1 and min(std) >= 1
        means = [m / 255 for m in mean] if max(mean) > 1 else mean
        deviations = [s / 255 for s in std] if max(std) > 1 or levels else std
        raise ValueError(
            f"expected mean and std of pixels on the scale 0..1, got {_show(mean)} and {_show(std)}. Divide by 255 "
            f"what is on 0..255: mean={_show(means)}, std={_show(deviations)}. Another scale belongs in the network, "
            "as its first layer."
        )
    if min(mean) < 0:
        halves = _show([(1 + m) / 2 for m in mean]), _show([s / 2 for s in std])
        raise ValueError(
            f"expected mean and std of pixels on the scale 0..1, got a mean below 0: {_show(mean)}. From the scale "
            f"−1..1 it would be mean={halves[0]}, std={halves[1]}."
        )


def _show(values: Any) -> str:
    return f"({', '.join(f'{value:.4g}' for value in values)}{',' if len(values) == 1 else ''})"


def sides(size: Any) -> tuple[int, int]:
    """Read a size (H, W) in pixels.

    Raises:
        ValueError: not two sides, or one without a pixel.
        TypeError: sides that are not whole numbers.
    """
    if not hasattr(size, "__len__") or isinstance(size, (str, Mapping)) or len(size) != 2:
        example = f"({size}, {size})" if isinstance(size, int) else "(224, 224)"
        raise ValueError(f"expected a size (H, W) in pixels, got {size!r}. Pass {example}, say.")
    height, width = (accept.whole("size", side, 1) for side in size)
    return height, width
