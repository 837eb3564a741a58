"""How well the method finds objects in a data set with true boxes, and what else can be measured of a map.

The rule's inside is in `localisation_error`, and each kind of result is documented in the file that makes it.

Example:
    >>> M = di.saliency_map(classifier, di.photo("macaw"))
    >>> di.evaluation.pointing_game(M, [(49, 28, 208, 217)])  # is the maximum in the macaw's box?
    True
"""

from .ablations import ABLATIONS, ablate
from .bootstrap import bootstrap_mean
from .composites import composites, read_cutouts
from .datasets import Dataset, Example, read_csv, read_ilsvrc, read_translation, read_voc, shipped_photos
from .deletion import deletion_curve, insertion_curve
from .maps import compute_map, compute_maps
from .measures import measure_maps
from .pointing import grid_share, pointing_game
from .run import localisation_error
from .sanity import layer_names, randomise_layers, sanity_check, sanity_table

__all__ = [
    "ABLATIONS",
    "Dataset",
    "Example",
    "ablate",
    "bootstrap_mean",
    "composites",
    "compute_map",
    "compute_maps",
    "deletion_curve",
    "grid_share",
    "insertion_curve",
    "layer_names",
    "localisation_error",
    "measure_maps",
    "pointing_game",
    "randomise_layers",
    "read_csv",
    "read_cutouts",
    "read_ilsvrc",
    "read_translation",
    "read_voc",
    "sanity_check",
    "sanity_table",
    "shipped_photos",
]
