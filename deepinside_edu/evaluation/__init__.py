"""How well the method finds objects in a data set with true boxes, on one process or on many machines."""

from .datasets import Dataset, Example, read_csv, read_ilsvrc, read_translation, read_voc, shipped_photos
from .localisation_error import (
    Counts,
    Guess,
    LocalisationError,
    TrueClass,
    Verdict,
    accumulate,
    compute,
    judge,
    miss,
)
from .run import localisation_error

__all__ = [
    "Counts",
    "Dataset",
    "Example",
    "Guess",
    "LocalisationError",
    "TrueClass",
    "Verdict",
    "accumulate",
    "compute",
    "judge",
    "localisation_error",
    "miss",
    "read_csv",
    "read_ilsvrc",
    "read_translation",
    "read_voc",
    "shipped_photos",
]
