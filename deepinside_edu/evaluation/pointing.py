"""Two games that ask where a map lies: its maximum in a true box, its share in the right photo of a grid."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike
from PIL import Image

from .. import accept
from ..boxes import Box, check_box
from ..opening import ImageLike, open_image
from .maps import check_map

TOLERANCE = 15
"""In pixels of the map: so far from a box the maximum still counts. Zhang et al. have 15 of the photo's own pixels."""


def pointing_game(saliency: ArrayLike, boxes: Sequence[Box], tolerance: float = TOLERANCE) -> bool:
    """Play the pointing game: it is a hit if a map's maximum lies in any of the boxes, or within 15 pixels of one.

    (y, x) = arg max M; some pixel (i, j) of a box has (i − y)² + (j − x)² ≤ tolerance².

    Of several equal maxima the first in reading order counts, as in the authors' code. (So a map that is the same
    everywhere points at its top left corner.)

    Args:
        saliency: M, `(H, W)`, finite.
        boxes: of the instances, in pixels of the map (`boxes.to_map`); right and bottom exclusive.
        tolerance: in pixels; 0 asks for the box itself.

    Returns:
        Whether it is a hit.

    Raises:
        ValueError: no box, one that is inside out, a negative tolerance, or a map of another shape or with NaN in it.

    Source: Zhang et al. 2016, "Top-down neural attention by excitation backprop", Section 4.1, and the authors' code,
    ``eval_coco.py``, which enlarges the map to the photo's own pixels first.
    """
    m = check_map(saliency)
    tolerance = accept.number("tolerance", tolerance, 0)
    if np.ndim(boxes) == 0 or not all(np.shape(box) == (4,) for box in boxes):
        raise TypeError(
            "expected a list of boxes (left, top, right, bottom) behind the map, got something else. Put a box into a "
            "list, and the map before it."
        )
    if len(boxes) == 0:
        raise ValueError("expected at least one box, got none. An image without one has no place in the pointing game.")
    y, x = divmod(int(m.argmax()), m.shape[1])
    return any(_distance(x, y, box) <= tolerance for box in boxes)


def _distance(x: int, y: int, box: Box) -> float:
    """From a pixel to the nearest one of a box, 0 inside."""
    left, top, right, bottom = check_box(box)
    return math.hypot(max(left - x, 0, x - (right - 1)), max(top - y, 0, y - (bottom - 1)))


def photo_grid(images: Sequence[ImageLike], side: int) -> tuple[Image.Image, tuple[Box, ...]]:
    """Lay n×n photos side by side, each resized to a square.

    Args:
        images: n² of whatever `open_image` takes, in reading order.
        side: of a cell in pixels; the picture is n·side wide and high.

    Returns:
        The picture, and for each photo its cell in it, a box with right and bottom exclusive.

    Raises:
        ValueError: a number of photos that is no square, cells without pixels, or a bad image.

    Source: Böhle et al. 2021, "Convolutional dynamic alignment networks for interpretable classifications", Section 4.
    """
    n = math.isqrt(len(images))
    side = accept.whole("side", side, 1)
    if n < 1 or n * n != len(images):
        raise ValueError(f"expected 1, 4, 9, … photos, got {len(images)}.")
    picture = Image.new("RGB", (n * side, n * side))
    cells = tuple((x * side, y * side, (x + 1) * side, (y + 1) * side) for y in range(n) for x in range(n))
    for image, cell in zip(images, cells, strict=True):
        picture.paste(open_image(image).resize((side, side), Image.Resampling.BICUBIC), cell[:2])
    return picture, cells


def grid_share(saliency: ArrayLike, cell: Box) -> float:
    """Measure which share of a map lies in one cell of a grid: Σ_cell M / Σ M.

    Args:
        saliency: M, `(H, W)`, at least 0 (of a signed map the positive part), of the class of that cell's photo.
        cell: in pixels of the map, inside it; right and bottom exclusive.

    Returns:
        0 to 1; in a grid of n² photos a map that knows nothing has 1/n². Of a map that is 0 everywhere 0, as in the
        authors' code: it points at nothing.

    Raises:
        ValueError: a cell that is not inside the map, negative values, or a map of another shape or with NaN in it.

    Source: Böhle et al. 2021, Section 4: "localisation metric".
    """
    m = check_map(saliency)
    left, top, right, bottom = cell
    if m.min() < 0 or not (0 <= left < right <= m.shape[1] and 0 <= top < bottom <= m.shape[0]):
        raise ValueError(
            f"expected a map of at least 0 and a cell inside its {m.shape[1]}×{m.shape[0]} pixels, got a minimum of "
            f"{m.min():.3g} and the cell {tuple(cell)}. Take the map's positive part, and the cell in its own pixels."
        )
    largest = float(m.max())
    if largest == 0:
        return 0.0
    m = m / largest  # so that no sum overflows
    return min(1.0, float(m[top:bottom, left:right].sum()) / float(m.sum()))
