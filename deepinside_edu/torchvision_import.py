"""The one place that imports torchvision, and the remedy for its commonest broken installation.

torchvision's wheel for CUDA beside a CPU-only torch fails on import with "operator torchvision::nms does not
exist": its compiled operators find no CUDA and are not registered, and the import wants to describe two of
them. Declaring the names, without any implementation, is all that the import needs; models, weights and
transforms then work as they should, and the two detection operators themselves still fail cleanly when called.
"""

from __future__ import annotations

import importlib
import sys
from types import ModuleType
from typing import Any

_declared: list[Any] = []  # the library object must live as long as the names that it declares


def import_torchvision() -> ModuleType:
    """Import torchvision, also where its wheel was built for CUDA and torch was not.

    Returns:
        The module.

    Raises:
        ImportError: torchvision is missing or broken in another way; the message says what to install.
    """
    import torch

    try:
        return importlib.import_module("torchvision")
    except RuntimeError as error:
        if "torchvision::" not in str(error):
            raise
    except ImportError as error:
        raise ImportError(
            f"torchvision cannot be imported ({error}). Install the release that fits torch {torch.__version__}, "
            'or use the network that needs no torchvision: load_classifier("squeezenet1_1").'
        ) from error
    for name in [name for name in sys.modules if name.split(".")[0] == "torchvision"]:
        del sys.modules[name]  # half-imported by the failed attempt
    library: Any = torch.library.Library("torchvision", "DEF")  # type: ignore[no-untyped-call]
    library.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    library.define(
        "qnms(Tensor dets, Tensor scores, float iou_threshold, float dets_scale, int dets_zero_point) -> Tensor"
    )
    _declared.append(library)
    return importlib.import_module("torchvision")
