"""Trained networks: the one that ships with the package, torchvision's, and the names of ImageNet's classes."""

from __future__ import annotations

import difflib
from functools import cache
from importlib.resources import files

import torch
from torch import nn

from .classifier import Classifier
from .torchvision_import import import_torchvision

OFFLINE_NETWORK = "squeezenet1_1"


def load_classifier(name: str = OFFLINE_NETWORK, device: str | torch.device | None = None) -> Classifier:
    """Load a trained ImageNet classifier; the default ships with the package and needs no network connection.

    Args:
        name: "squeezenet1_1", or any classifier of torchvision, whose loader fetches and verifies its weights.
        device: where to put it; without one CUDA if there is any, else MPS, else the CPU.

    Returns:
        A `Classifier` whose weights ask for no gradients.

    Raises:
        ValueError: an unknown name; the error lists near ones. Or a device that this machine has not.
        ConnectionError: the weights cannot be fetched; the error names the offline default.
    """
    device = _best_device() if device is None else _checked_device(device)
    if name == OFFLINE_NETWORK:
        return _load_squeezenet(device)
    models = import_torchvision().models
    names = models.list_models(module=models)
    if name not in names:
        near = difflib.get_close_matches(str(name), names, n=5)
        hint = f"Near: {', '.join(near)}." if near else f"There are {', '.join(names)}."
        raise ValueError(f"no torchvision classifier is called {name!r}. {hint} {OFFLINE_NETWORK!r} needs no download.")
    weights = models.get_model_weights(name).DEFAULT
    try:
        # With the weights given, torchvision also sets what goes with them: Inception's transform_input, for one.
        network = models.get_model(name, weights=weights)
    except (OSError, RuntimeError) as error:
        raise ConnectionError(
            f"the weights of {name!r} could not be fetched ({error}). Check the network connection and try again, "
            f"or use the network that ships with the package: load_classifier({OFFLINE_NETWORK!r})."
        ) from error
    transforms = weights.transforms()
    side = transforms.crop_size[0]
    return Classifier(
        _freeze(network, device), tuple(weights.meta["categories"]), imagenet_wordnet_ids(),
        (side, side), tuple(transforms.mean), tuple(transforms.std),
    )  # fmt: skip


def _best_device() -> torch.device:
    if torch.cuda.is_available():
        return torch.device("cuda")
    return torch.device("mps" if torch.backends.mps.is_available() else "cpu")


def _checked_device(device: str | torch.device) -> torch.device:
    try:
        return torch.zeros(1, device=device).device
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = str(error).splitlines()[0]
        raise ValueError(f"no device {str(device)!r} here ({reason}). Leave it out, or pass 'cpu'.") from error


def _load_squeezenet(device: torch.device) -> Classifier:
    from safetensors.torch import load_file

    from .squeezenet import SqueezeNet

    with torch.device("meta"):  # no time is spent on random weights that are replaced at once
        network = SqueezeNet()
    network.load_state_dict(load_file(str(files("deepinside_edu") / "data" / "squeezenet1_1.safetensors")), assign=True)
    return Classifier(_freeze(network, device), imagenet_labels(), imagenet_wordnet_ids())


def _freeze(network: nn.Module, device: torch.device) -> nn.Module:
    """Make a network of our own ready: nobody trains it, and channels that come last in memory are the fastest."""
    network.to(device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's stubs lack it
    return network.eval().requires_grad_(False)


@cache
def _imagenet_classes() -> tuple[tuple[str, str], ...]:
    lines = (files("deepinside_edu") / "data" / "imagenet_classes.tsv").read_text(encoding="utf-8").splitlines()
    return tuple((line.split("\t")[0], line.split("\t")[1]) for line in lines)


def imagenet_wordnet_ids() -> tuple[str, ...]:
    """List the WordNet ids of ImageNet's 1000 classes in the order of the networks' scores."""
    return tuple(wordnet_id for wordnet_id, _ in _imagenet_classes())


def imagenet_labels() -> tuple[str, ...]:
    """List the names of ImageNet's 1000 classes in the order of the networks' scores."""
    return tuple(label for _, label in _imagenet_classes())
