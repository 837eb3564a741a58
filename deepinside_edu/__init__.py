"""See what a convolutional network sees: Simonyan, Vedaldi & Zisserman 2013, step by step.

A photo goes in; scores, a straight line, a map, seeds, two colour models, a cut, a mask and a box come out.
The names below stand in the order of that pipeline. Each is imported when it is first used, so
``import deepinside_edu`` is quick, and the first step that needs torch imports it.
"""

import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from . import evaluation, figures
    from . import explorers as explore
    from .backward_by_hand import convolution_backward, pool_with_switches, relu_backward, unpool
    from .boxes import bounding_box, box_iou, largest_component
    from .class_model import DivergedError, class_model
    from .class_model import Step as Step
    from .classifier import Classifier
    from .colour_models import colour_models
    from .deconvnet import Ladder as Ladder
    from .deconvnet import Neuron, backward_ladder, descend
    from .deconvnet import Rung as Rung
    from .graph_cut import graph_cut
    from .images import photo, photos
    from .localise import Localisation as Localisation
    from .localise import localise, localise_classes
    from .opening import open_image
    from .recording import record
    from .saliency import Linearisation as Linearisation
    from .saliency import linearise, max_abs, saliency_map
    from .saliency import saliency_maps as saliency_maps
    from .seeds import seeds
    from .top_photos import TopPhoto as TopPhoto
    from .top_photos import top_photos as top_photos
    from .weights import load_classifier

__version__ = "0.1.0"

_HOMES = {
    "opening": ("open_image",),
    "images": ("photo", "photos"),
    "weights": ("load_classifier",),
    "classifier": ("Classifier",),
    "saliency": ("Linearisation", "linearise", "max_abs", "saliency_map", "saliency_maps"),
    "seeds": ("seeds",),
    "colour_models": ("colour_models",),
    "graph_cut": ("graph_cut",),
    "boxes": ("largest_component", "bounding_box", "box_iou"),
    "localise": ("localise", "localise_classes", "Localisation"),
    "class_model": ("class_model", "Step", "DivergedError"),
    "backward_by_hand": ("relu_backward", "convolution_backward", "pool_with_switches", "unpool"),
    "recording": ("record",),
    "deconvnet": ("backward_ladder", "descend", "Neuron", "Ladder", "Rung"),
    "top_photos": ("top_photos", "TopPhoto"),
}
_MODULES = {"figures": "figures", "explore": "explorers", "evaluation": "evaluation", "exercises": "exercises"}

# The names that lessons use. Results, which nobody types, can be reached too, but completion does not offer them.
__all__ = [  # noqa: RUF022 - in the order of the pipeline
    "open_image", "photo", "photos",
    "load_classifier", "Classifier",
    "linearise", "max_abs", "saliency_map",
    "seeds", "colour_models", "graph_cut",
    "largest_component", "bounding_box", "box_iou",
    "localise", "localise_classes",
    "class_model", "DivergedError",
    "relu_backward", "convolution_backward", "pool_with_switches", "unpool",
    "record", "backward_ladder", "descend", "Neuron",
    "figures", "explore", "evaluation",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        value: Any = import_module(f".{_MODULES[name]}", __name__)
    else:
        home = next((module for module, names in _HOMES.items() if name in names), None)
        if home is None:
            from difflib import get_close_matches

            known = [*_MODULES, *(each for names in _HOMES.values() for each in names)]
            near = get_close_matches(name, known, n=3)
            remedy = f"Near: {', '.join(near)}." if near else "dir(di) lists what there is."
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}. {remedy}")
        value = getattr(import_module(f".{home}", __name__), name)
    globals()[name] = value
    return value


class _Package(ModuleType):
    """Keeps `di.seeds` the step, because importing the file of that name would put the file in the step's place."""

    def __setattr__(self, name: str, value: Any) -> None:
        if isinstance(value, ModuleType) and name in _HOMES.get(name, ()):
            value = getattr(value, name)
        super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package


def __dir__() -> list[str]:
    return sorted({*__all__, *(name for name in globals() if name.startswith("__"))})
