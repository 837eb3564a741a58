"""Interactive widgets, one a file: thin views that hold state and ask a step function for the next picture."""

from .localisation import localisation
from .saliency import saliency
from .scores import scores

__all__ = ["localisation", "saliency", "scores"]
