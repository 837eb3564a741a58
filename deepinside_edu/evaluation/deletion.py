"""What the network says while pixels go, or come, in the order of a map."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from .. import accept
from ..classifier import Classifier, check_classifier
from ..names import ClassLike
from ..opening import ImageLike
from .maps import check_map

STEPS = 50
"""Two percent of the pixels each; RISE has 224 steps of 224 pixels, for the same area but for a thousandth or two."""

BLUR = 5.0
"""σ in pixels of what insertion starts from."""


@dataclass(frozen=True, eq=False)
class Curve:
    """The probability of a class against the share of the pixels that have been changed.

    Attributes:
        shares: ascending from 0 to 1, `(steps + 1,)` float64.
        probabilities: P_c at each of them, likewise.
    """

    shares: NDArray[np.float64]
    probabilities: NDArray[np.float64]

    @property
    def area(self) -> float:
        """The area under the curve by the trapezoid rule, 0 to 1."""
        between = (self.probabilities[1:] + self.probabilities[:-1]) / 2
        return float(np.diff(self.shares) @ between)


def deletion_curve(
    classifier: Classifier,
    image: ImageLike | Tensor,
    class_index: ClassLike | None,
    saliency: ArrayLike,
    steps: int = STEPS,
    batch_size: int = 16,
) -> Curve:
    """Paint the pixels in the mean colour, those with the largest M first: a good map has a small area.

    P_c = exp S_c / Σ_k exp S_k. Equal values of M go in reading order. The mean colour is zero in normalised space.

    Args:
        classifier: the network; nothing of it is changed.
        image: whatever `open_image` takes, or a prepared tensor `(1, C, H, W)`; it is not changed.
        class_index: c; None is the class that the network puts first.
        saliency: M, `(H, W)` like the prepared image, finite.
        steps: in how many the pixels go, each as many as the next but for one; at most one a pixel.
        batch_size: pictures in one forward pass; the curve does not depend on it but for rounding.

    Returns:
        A `Curve` from the image itself to an image of one colour.

    Raises:
        ValueError: a map of another size or with NaN in it, fewer than one step or more than there are pixels, an
            unknown class, or a bad image.

    Source: Petsiuk et al. 2018, "RISE", Section 4.2.
    """
    check_classifier(classifier)
    x = classifier.prepare(image)
    c = _chosen(classifier, x, class_index, saliency)
    return _curve(classifier, x, torch.zeros_like(x), c, saliency, steps, batch_size)


def insertion_curve(
    classifier: Classifier,
    image: ImageLike | Tensor,
    class_index: ClassLike | None,
    saliency: ArrayLike,
    steps: int = STEPS,
    batch_size: int = 16,
    blur: float = BLUR,
) -> Curve:
    """Sharpen the pixels of a blurred image, those with the largest M first: a good map has a large area.

    Args:
        classifier: as in `deletion_curve`, and so are the rest.
        image: likewise.
        class_index: likewise; None is the class that the network puts first in the sharp image.
        saliency: likewise.
        steps: likewise.
        batch_size: likewise.
        blur: σ in pixels of the Gaussian that the image is blurred with at first. (RISE's is cut off 5 pixels from
            its middle; this one is not, and blurs more.)

    Returns:
        A `Curve` from the blurred image to the image itself.

    Raises:
        ValueError: as in `deletion_curve`, or a blur of 0 or less.

    Source: Petsiuk et al. 2018, "RISE", Section 4.2.
    """
    from scipy import ndimage

    check_classifier(classifier)
    x = classifier.prepare(image)
    blur = accept.number("blur", blur, 0, max(BLUR, *x.shape[-2:]), "In pixels, no wider than the image.")
    if blur == 0:
        raise ValueError("expected a blur of more than 0 pixels, got 0. Without one there is nothing to insert.")
    blurred = ndimage.gaussian_filter(x.float().cpu().numpy(), (0, 0, blur, blur))
    c = _chosen(classifier, x, class_index, saliency)
    return _curve(classifier, torch.from_numpy(blurred).to(x), x, c, saliency, steps, batch_size)


def _chosen(classifier: Classifier, x: Tensor, class_index: ClassLike | None, saliency: object) -> int:
    if np.ndim(class_index) == 2 and np.ndim(saliency) == 0:  # type: ignore[arg-type]  # whatever they are
        raise TypeError(
            "expected the class before the map, got the map first. Turn the two round: (classifier, image, "
            "class_index, saliency)."
        )
    return classifier.top(x, 1)[0].class_index if class_index is None else classifier.find(class_index)


def _curve(
    classifier: Classifier,
    start: Tensor,
    end: Tensor,
    class_index: int,
    saliency: ArrayLike,
    steps: int,
    batch_size: int,
) -> Curve:
    """P_c on the way from one image to another, the pixels changed in falling order of the map."""
    m = check_map(saliency)
    if m.shape != start.shape[-2:]:
        height, width = start.shape[-2:]
        raise ValueError(
            f"expected a map of {height}×{width} like the prepared image, got {m.shape[0]}×{m.shape[1]}. "
            "Compute it from the same image: compute_map(classifier, image)."
        )
    steps = accept.whole("steps", steps, 1, m.size, "That is the number of pixels.")
    batch_size = accept.whole("batch_size", batch_size, 1)
    place = np.empty(m.size, np.int64)
    place[np.argsort(-m, axis=None, kind="stable")] = np.arange(m.size)  # of each pixel in the order
    places = torch.from_numpy(place.reshape(m.shape)).to(start.device)
    counts = torch.arange(steps + 1, device="cpu") * m.size // steps
    probabilities = []
    for some in torch.split(counts.to(start.device), batch_size):
        changed = places < some[:, None, None, None]
        with torch.no_grad():
            scores = classifier.scores(torch.where(changed, end, start))
        probabilities.append(scores.cpu().double().softmax(1)[:, class_index])
    return Curve(counts.numpy() / m.size, torch.cat(probabilities).numpy())
