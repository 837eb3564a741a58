"""How well the method finds objects in a data set with true boxes, and what else can be measured of a map.

Example:
    >>> M = di.saliency_map(classifier, di.photo("macaw"))
    >>> di.evaluation.pointing_game(M, [(49, 28, 208, 217)])  # is the maximum in the macaw's box?
    True
"""

from .ablations import ABLATIONS, AblationTable, ablate
from .bootstrap import Interval, bootstrap_mean
from .composites import Composite, Cutout, composite, composites, read_cutouts
from .datasets import Dataset, Example, read_csv, read_ilsvrc, read_translation, read_voc, shipped_photos
from .deletion import Curve, deletion_curve, insertion_curve
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
from .maps import BASELINES, METHODS, compute_map, compute_maps
from .measures import Measures, measure
from .pointing import grid_share, photo_grid, pointing_game
from .run import localisation_error
from .sanity import SanityCheck, SanityTable, Similarity, compare, layer_names, randomise, sanity_check, sanity_table

__all__ = [
    "ABLATIONS",
    "BASELINES",
    "METHODS",
    "AblationTable",
    "Composite",
    "Counts",
    "Curve",
    "Cutout",
    "Dataset",
    "Example",
    "Guess",
    "Interval",
    "LocalisationError",
    "Measures",
    "SanityCheck",
    "SanityTable",
    "Similarity",
    "TrueClass",
    "Verdict",
    "ablate",
    "accumulate",
    "bootstrap_mean",
    "compare",
    "composite",
    "composites",
    "compute",
    "compute_map",
    "compute_maps",
    "deletion_curve",
    "grid_share",
    "insertion_curve",
    "judge",
    "layer_names",
    "localisation_error",
    "measure",
    "miss",
    "photo_grid",
    "pointing_game",
    "randomise",
    "read_csv",
    "read_cutouts",
    "read_ilsvrc",
    "read_translation",
    "read_voc",
    "sanity_check",
    "sanity_table",
    "shipped_photos",
]
