"""Trained networks: the one that ships with the package, torchvision's, and the names of ImageNet's classes.

No file is trusted: weights are compared with the SHA-256 that they should have before a byte of them is used, and no
pickle may do more than hold tensors.
"""

from __future__ import annotations

import difflib
import errno
import hashlib
import pickle
import re
from functools import cache
from http.client import HTTPException
from importlib.resources import files
from pathlib import Path
from typing import Any

import torch
from torch import nn

from .classifier import Classifier
from .torchvision_import import import_torchvision

OFFLINE_NETWORK = "squeezenet1_1"

OFFLINE_SHA256 = "ffda600e08df823c10f4ac5acf004f3d21dddbfa8b9d2603e617115cedc4bed8"
"""Of the file that ships. Other weights would give pictures other classes, and nobody would see why. The check takes
some 3 ms."""

STORING_FAILED = frozenset({
    errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOSPC, errno.EDQUOT, errno.ENOENT, errno.ENOTDIR, errno.EISDIR,
    errno.EEXIST, errno.ENAMETOOLONG,
})  # fmt: skip
"""Errors of the file system, and not of the network connection, when a download fails."""


@torch.inference_mode(False)  # else the weights would never take part in a gradient
def load_classifier(name: str = OFFLINE_NETWORK, device: str | torch.device | None = None) -> Classifier:
    """Load a trained ImageNet classifier; the default ships with the package and needs no network connection.

    Args:
        name: "squeezenet1_1", or any classifier of torchvision. Torchvision's loader fetches its weights; these and
            those that were fetched before are compared with the SHA-256 in their file's name.
        device: where to put it; without one, CUDA if there is any, else MPS, else the CPU.

    Returns:
        A `Classifier` whose weights ask for no gradients.

    Raises:
        TypeError: something that is not a name, such as a network.
        ValueError: an unknown name (the error lists near ones), a device that this machine does not have or that holds
            no values, or weights that are damaged or do not fit their name (the error names their file).
        ConnectionError: the weights cannot be fetched; the error names the offline default.
        OSError: they cannot be stored.

    Example:
        >>> di.load_classifier(device="cpu")
        Classifier(SqueezeNet, 1000 classes, 224×224 RGB, cpu)
    """
    if not isinstance(name, str):
        raise _no_name(name)
    device = _best_device() if device is None else _check_device(device)
    if name == OFFLINE_NETWORK:
        return _load_squeezenet(device)
    models = import_torchvision().models
    names = models.list_models(module=models)
    if name not in names:
        near = difflib.get_close_matches(name, names, n=5)
        hint = f"Near: {', '.join(near)}." if near else f"There are {', '.join(names)}."
        raise ValueError(f"no torchvision classifier is called {name!r}. {hint} {OFFLINE_NETWORK!r} needs no download.")
    weights = models.get_model_weights(name).DEFAULT
    network = _build(models, name, weights)
    transforms = weights.transforms()
    side = transforms.crop_size[0]
    return Classifier(
        _freeze(network, device), tuple(weights.meta["categories"]), imagenet_wordnet_ids(),
        (side, side), tuple(transforms.mean), tuple(transforms.std),
    )  # fmt: skip


def _no_name(given: object) -> TypeError:
    got, remedy = type(given).__name__, f"Pass it as text, or leave it out for {OFFLINE_NETWORK!r}."
    if isinstance(given, nn.Module):
        got, remedy = f"a network ({got})", "Wrap it: Classifier(network, labels)."
    elif isinstance(given, Classifier):
        remedy = "It is loaded already: use it as it is."
    elif isinstance(given, torch.device):
        remedy = "Pass it by its name: load_classifier(device=…)."
    elif callable(given) and hasattr(given, "__name__"):
        got, remedy = f"the function or class {given.__name__}", "Pass its name as text, or wrap what it builds."
    return TypeError(f"expected a name such as 'resnet18', got {got}. {remedy}")


def _best_device() -> torch.device:
    if torch.cuda.is_available():
        return torch.device("cuda")
    return torch.device("mps" if torch.backends.mps.is_available() else "cpu")


def _check_device(device: str | torch.device) -> torch.device:
    try:
        checked = torch.zeros(1, device=device).device
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = str(error).splitlines()[0]
        raise ValueError(f"no device {str(device)!r} here ({reason}). Leave it out, or pass 'cpu'.") from error
    if checked.type == "meta":
        raise ValueError("the device 'meta' holds shapes and no values; expected one that computes. Pass 'cpu'.")
    return checked


def _load_squeezenet(device: torch.device) -> Classifier:
    from .squeezenet import SqueezeNet

    with torch.device("meta"):  # no time is spent on random weights that are replaced at once
        network = SqueezeNet()
    network.load_state_dict(_shipped_weights(), assign=True)
    return Classifier(_freeze(network, device), imagenet_labels(), imagenet_wordnet_ids())


def _shipped_weights() -> dict[str, torch.Tensor]:
    from safetensors.torch import load

    path = Path(str(files("deepinside_edu"))) / "data" / "squeezenet1_1.safetensors"
    try:
        data = path.read_bytes()  # read once: what is used is what was compared
    except FileNotFoundError:
        data = b""
    if hashlib.sha256(data).hexdigest() == OFFLINE_SHA256:
        return load(data)
    if data.startswith(b"version https://git-lfs"):
        what, remedy = "is a pointer of Git LFS and not the weights themselves", "Fetch them: git lfs pull."
    else:
        what = f"has {len(data):,} bytes that are not those of the shipped network" if data else "is missing or empty"
        remedy = "Install deepinside_edu again; in a clone, git checkout brings the file back."
    raise ValueError(f"{path} {what}; expected SHA-256 {OFFLINE_SHA256[:8]}…. {remedy}")


def _build(models: Any, name: str, weights: Any) -> nn.Module:
    """Build torchvision's network with verified weights and their options, such as Inception's transform_input."""
    path = Path(torch.hub.get_dir()) / "checkpoints" / Path(weights.url).name
    _verify(name, path)
    try:
        # Without this, torchvision would unpickle whatever the file says.
        state = weights.get_state_dict(progress=True, check_hash=True, weights_only=True)
        ours = object.__new__(type(weights))  # the same weights, but they give these values
        ours.__dict__.update(weights.__dict__, get_state_dict=lambda *_, **__: state)
        with torch.device("cpu"):  # wherever torch makes its tensors by default
            network: nn.Module = models.get_model(name, weights=ours).float()
    except (OSError, HTTPException, RuntimeError, pickle.UnpicklingError, EOFError, LookupError, TypeError,
            ValueError, AttributeError) as error:  # fmt: skip
        if path.exists():  # its name gives eight digits of the SHA-256, which somebody may have made fit
            reason = "they are not a plain table of tensors"  # torch's own words tell people to trust the file
            if not isinstance(error, pickle.UnpicklingError):
                reason = (str(error) or type(error).__name__).splitlines()[0]
            raise _damaged(name, path, f"cannot be used ({reason})") from error
        if isinstance(error, OSError) and error.errno in STORING_FAILED:
            raise OSError(
                f"the weights of {name!r} cannot be stored in {path.parent} ({error.strerror}). Set TORCH_HOME to a "
                "folder with room in it where you may write."
            ) from error
        raise ConnectionError(
            f"the weights of {name!r} could not be fetched ({error}). Check the network connection and try again, "
            f"or use the network that ships with the package: load_classifier({OFFLINE_NETWORK!r})."
        ) from error
    return network


def _verify(name: str, path: Path) -> None:
    """Compare weights that were fetched before with the first digits of their SHA-256, which end their file's name."""
    if not path.exists():
        return  # torchvision compares what it fetches
    if not path.is_file():
        raise _damaged(name, path, "are not a file")
    named = re.search("-([0-9a-f]{8,})$", path.stem)
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while part := file.read(2**20):
            digest.update(part)
    if named and not digest.hexdigest().startswith(named[1]):
        found = digest.hexdigest()[: len(named[1])]
        raise _damaged(name, path, f"are damaged: their SHA-256 begins with {found}, expected {named[1]}")


def _damaged(name: str, path: Path, what: str) -> ValueError:
    return ValueError(
        f"the weights of {name!r} in {str(path)!r} {what}. Delete this file and try again: they are fetched anew. "
        f"{OFFLINE_NETWORK!r} needs no download."
    )


def _freeze(network: nn.Module, device: torch.device) -> nn.Module:
    """Make a network of our own ready: it is not trained, and channels that come last in memory are the fastest."""
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
