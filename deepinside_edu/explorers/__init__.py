"""Interactive widgets, one a file: thin views that hold state and ask a step function for the next picture."""

from .class_model import class_model
from .localisation import localisation
from .microscope import microscope
from .saliency import saliency
from .sanity import sanity
from .scores import scores
from .taylor import taylor

__all__ = ["class_model", "localisation", "microscope", "saliency", "sanity", "scores", "taylor"]
