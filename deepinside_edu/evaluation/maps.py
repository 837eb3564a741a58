"""One map for each method to be measured: what three rules bring down to the image, and three that need no network."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from .. import accept
from ..backward_by_hand import RULES
from ..classifier import Classifier, check_classifier
from ..deconvnet import NoReluError, backward_ladder
from ..names import ClassLike
from ..opening import ImageLike
from ..saliency import max_abs

METHODS = RULES
"""Rules of `backward_ladder`: they look at the image through the network."""

BASELINES = ("centre", "edges", "random")
"""They do not depend on the network or the class. A method's figure says something only if it beats them."""

CENTRE_WIDTH = 0.25
"""σ of the centre map in widths and heights of the image."""


def compute_map(
    classifier: Classifier,
    image: ImageLike | Tensor,
    class_index: ClassLike | None = None,
    method: str = "gradient",
    random_state: int = 0,
) -> NDArray[np.float32]:
    """Compute one map of one class, by a rule or by a baseline; see `compute_maps`.

    Args:
        classifier: as in `compute_maps`.
        image: as in `compute_maps`.
        class_index: as in `compute_maps`.
        method: out of `METHODS` and `BASELINES`.
        random_state: as in `compute_maps`.

    Returns:
        `(H, W)` float32, at least 0, aligned with the prepared image.

    Raises:
        ValueError: as in `compute_maps`.
    """
    return compute_maps(classifier, image, class_index, [method], random_state)[method]


def compute_maps(
    classifier: Classifier,
    image: ImageLike | Tensor,
    class_index: ClassLike | None = None,
    methods: Sequence[str] = METHODS,
    random_state: int = 0,
) -> dict[str, NDArray[np.float32]]:
    """Compute the maps of several methods for one class; the forward pass is shared, each rule adds one backward pass.

    gradient, deconvnet, guided: M_ij = max_c |R_ijc|, R what the rule brings down to the image from the score S_c
    before the softmax. For "gradient" it is the paper's saliency map of one crop.
    centre: M_ij = exp(−½ (y² + x²)), y and x the distance from the middle in quarters of the height and the width.
    edges: M_ij = length of the Sobel filters' two answers to the grey picture.
    random: M_ij uniform between 0 and 1.

    Args:
        classifier: the network; nothing of it is changed.
        image: whatever `open_image` takes, or a prepared tensor `(1, C, H, W)`; it is not changed.
        class_index: c; without one the class that the network puts first. The baselines do not look at it.
        methods: out of `METHODS` and `BASELINES`, each once.
        random_state: of "random": another one for each image, or the maps of all images are the same.

    Returns:
        For each method, in the order asked for, a map `(H, W)` float32, at least 0, aligned with the prepared image.

    Raises:
        ValueError: an unknown method, one twice or none, an unknown class, a bad image, or a network in which
            "deconvnet" and "guided" have no meaning.

    Source: paper, Sections 3.1 and 4; the baselines are Adebayo et al. 2018's (edges) and Zhang et al. 2016's (centre).
    """
    check_classifier(classifier)
    check_methods(methods)
    random_state = accept.random_state(random_state)
    c = None if class_index is None else classifier.find(class_index)
    x = classifier.prepare(image)
    height, width = x.shape[-2:]
    rules = [method for method in methods if method in METHODS]
    try:
        down = backward_ladder(classifier, x, c, rules, layers="image")[-1].r if rules else {}
    except NoReluError as error:
        others = tuple(method for method in methods if method not in ("deconvnet", "guided")) or ("gradient",)
        raise NoReluError.from_sentences(error.why, f"Pass methods={others!r}.") from error
    maps = {rule: max_abs(r)[0].float().cpu().numpy() for rule, r in down.items()}
    if "centre" in methods:
        maps["centre"] = _centre(height, width)
    if "edges" in methods:
        maps["edges"] = _edges(np.asarray(classifier.picture(x).convert("L"), np.float32))
    if "random" in methods:
        maps["random"] = np.random.default_rng(random_state).random((height, width), np.float32)
    return {method: maps[method] for method in methods}


def check_methods(methods: Sequence[str]) -> None:
    """Check that methods are known, each named once, and at least one.

    Raises:
        ValueError: otherwise.
    """
    known = (*METHODS, *BASELINES)
    if isinstance(methods, str) or not methods or set(methods) - set(known) or len(set(methods)) < len(methods):
        raise ValueError(f"expected one or more of {', '.join(known)}, each once, got {methods!r}. Pass a list.")


def check_map(saliency: ArrayLike) -> NDArray[np.float64]:
    """Check that a map to be measured is `(H, W)` of finite numbers, and give it in float64.

    Raises:
        ValueError: otherwise.
    """
    m = accept.real_map(saliency)
    if m.ndim != 2 or 0 in m.shape or not np.isfinite(m).all():
        raise ValueError(
            f"expected a map (H, W) of finite numbers, got {m.dtype} {m.shape}"
            f"{' with NaN or infinite values' if m.dtype.kind == 'f' and not np.isfinite(m).all() else ''}. "
            "Pass one map, as compute_map gives it."
        )
    return m.astype(np.float64)


def _centre(height: int, width: int) -> NDArray[np.float32]:
    y, x = (((np.arange(side) + 0.5) / side - 0.5) / CENTRE_WIDTH for side in (height, width))
    return np.exp(-(y[:, None] ** 2 + x**2) / 2).astype(np.float32)


def _edges(grey: NDArray[np.float32]) -> NDArray[np.float32]:
    from scipy import ndimage

    return np.asarray(np.hypot(ndimage.sobel(grey, axis=0), ndimage.sobel(grey, axis=1)), np.float32)
