"""How good the maps themselves are on the shipped photos: other measures, sanity checks, and their floor."""

from itertools import combinations, product

import numpy as np

import deepinside_edu as di
from deepinside_edu.evaluation.maps import METHODS, compute_maps
from deepinside_edu.evaluation.sanity import compare_maps

from .cases import classifier
from .table import show

DIFFERENCES = (*product(METHODS, ("centre", "edges")), ("guided", "gradient"))
MEASURES = ("grid", "insertion", "deletion")
RANDOM_STATES = (0, 1, 2)


def show_measures() -> None:
    found = di.evaluation.measure_maps(classifier(), di.evaluation.shipped_photos())
    print(f"\n{found}")
    show(
        "Mean differences, image by image",
        ["", *MEASURES],
        [
            [f"{one} − {other}", *(str(found.difference(measure, one, other)) for measure in MEASURES)]
            for one, other in DIFFERENCES
        ],
    )


def show_floor() -> None:
    """Compare maps of two different photos in the trained network, which share no object."""
    maps = [compute_maps(classifier(), photo, classifier().top(photo, 1)[0].class_index) for photo in di.photos()]
    pairs = list(combinations(maps, 2))
    rows = []
    for method in METHODS:
        alike = [compare_maps(one[method], other[method]) for one, other in pairs]
        rows.append([method, *(f"{value:.2f}" for value in np.mean(alike, axis=0))])
    show(f"Maps of two different photos, all {len(pairs)} pairs", ["", "rank correlation", "SSIM"], rows)


def main() -> None:
    show_measures()
    print(f"\n{di.evaluation.sanity_table(classifier(), di.photos(), (*METHODS, 'edges'), RANDOM_STATES)}")
    show_floor()


if __name__ == "__main__":
    main()
