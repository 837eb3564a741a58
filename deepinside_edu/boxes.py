"""Boxes and masks: the box around a mask, overlap, and the way from a photo's pixels to its map's and back."""

from __future__ import annotations

from collections.abc import Iterable
from numbers import Real
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .names import unwrapped

Box: TypeAlias = tuple[int, int, int, int]
"""(left, top, right, bottom) in pixels, right and bottom exclusive."""

Mask: TypeAlias = NDArray[np.bool_]
"""Boolean `(H, W)`."""


def largest_component(mask: ArrayLike) -> Mask:
    """Keep the largest connected component of a mask; pixels that touch at a corner are connected.

    Args:
        mask: boolean `(H, W)`.

    Returns:
        A mask of the same shape. If several components are equally large, the one whose first pixel comes first in
        reading order is kept.

    Raises:
        ValueError: an array that is not boolean, does not have two dimensions, or is False everywhere.

    Source: paper, Section 3.2.

    Example:
        >>> mask = np.array([[1, 0, 0, 1], [1, 0, 0, 0]], bool)
        >>> di.largest_component(mask).astype(int).tolist()
        [[1, 0, 0, 0], [1, 0, 0, 0]]
    """
    from scipy import ndimage

    components, _ = ndimage.label(_check_mask(mask), structure=np.ones((3, 3)))
    sizes = np.bincount(components.ravel())
    sizes[0] = 0  # the background
    return np.asarray(components == sizes.argmax())


def bounding_box(mask: ArrayLike) -> Box:
    """Find the smallest box around a mask.

    Args:
        mask: boolean `(H, W)`: the first index is y, downwards; the second is x, to the right.

    Returns:
        (left, top, right, bottom) in pixels, right and bottom exclusive (PIL's convention).

    Raises:
        ValueError: as in `largest_component`.

    Example:
        >>> mask = np.zeros((10, 20), bool)
        >>> mask[2:5, 8:15] = True
        >>> di.bounding_box(mask)
        (8, 2, 15, 5)
    """
    m = _check_mask(mask)
    rows, columns = np.flatnonzero(m.any(axis=1)), np.flatnonzero(m.any(axis=0))
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


def _check_mask(mask: ArrayLike) -> Mask:
    m = np.asarray(mask)
    if m.dtype != bool or m.ndim != 2:
        raise ValueError(f"expected a boolean mask (H, W), got {m.dtype} {m.shape}. Compare with a threshold first.")
    if not m.any():
        raise ValueError(
            "the mask is empty: every pixel was called background. "
            "Lower the smoothness, let the seeds bind the cut (hard seeds), or take a photo whose object differs in "
            "colour from its background."
        )
    return m


def box_iou(one: Box, other: Box) -> float:
    """Compute the intersection over union of two boxes: |A ∩ B| / |A ∪ B|.

    Args:
        one: (left, top, right, bottom), right and bottom exclusive.
        other: likewise.

    Returns:
        0 (apart) to 1 (the same).

    Raises:
        ValueError: other than four numbers, or a box that is empty or inside out.

    Example:
        >>> di.box_iou((0, 0, 4, 4), (0, 0, 4, 2))
        0.5
    """
    one, other = check_box(one), check_box(other)
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    shared = max(0, width) * max(0, height)
    areas = sum((box[2] - box[0]) * (box[3] - box[1]) for box in (one, other))
    return shared / (areas - shared)


def mask_iou(one: Mask, other: Mask) -> float:
    """Compute the intersection over union of two masks: |A ∩ B| / |A ∪ B|.

    Args:
        one: boolean `(H, W)`.
        other: likewise.

    Returns:
        0 (apart) to 1 (the same).

    Raises:
        ValueError: masks of different shapes, or both empty.
    """
    if one.shape != other.shape:
        raise ValueError(f"expected two masks of one shape, got {one.shape} and {other.shape}.")
    union = np.count_nonzero(one | other)
    if union == 0:
        raise ValueError("both masks are empty, so they have no overlap to measure.")
    return np.count_nonzero(one & other) / union


def check_box(box: object) -> Box:
    """Check that a box has pixels, and return it in Python's own numbers, because those of few bits wrap in a product.

    Raises:
        ValueError: other than four numbers, or a box that is empty or inside out.
    """
    corners: Any = tuple(unwrapped(corner) for corner in box) if isinstance(box, Iterable) else ()
    if len(corners) != 4 or not all(isinstance(corner, Real) for corner in corners):
        raise ValueError(f"expected a box of four numbers (left, top, right, bottom), got {box!r}. Pass one box.")
    left, top, right, bottom = corners
    if not (left < right and top < bottom):
        raise ValueError(
            f"expected a box (left, top, right, bottom) with left < right and top < bottom, got {corners}. Are x and y "
            "mixed up, or width and height taken for right and bottom?"
        )
    return left, top, right, bottom


def to_photo(box: Box, size: tuple[int, int], shape: tuple[int, ...]) -> Box:
    """Turn a box in the pixels of a map into one in the pixels of the photo, which was resized to the map.

    Args:
        box: (left, top, right, bottom) in the map, right and bottom exclusive.
        size: (width, height) of the photo.
        shape: (H, W) of the map.

    Returns:
        The box in the photo's pixels, edges to the nearest whole pixel, at least one pixel wide and high.
    """
    return _stretch(box, (shape[1], shape[0]), size)


def to_map(box: Box, size: tuple[int, int], shape: tuple[int, ...]) -> Box:
    """Turn a box in a photo's own pixels into one in the pixels of the map of the resized photo.

    Args:
        box: (left, top, right, bottom), right and bottom exclusive; a part outside the photo is cut off.
        size: (width, height) of the photo.
        shape: (H, W) of the map.

    Returns:
        The box in the map's pixels, edges to the nearest whole pixel, at least one pixel wide and high.

    Raises:
        ValueError: a box that is inside out, or has no pixel in the photo.
    """
    left, top, right, bottom = check_box(box)
    width, height = size
    inside = max(left, 0), max(top, 0), min(right, width), min(bottom, height)
    if inside[0] >= inside[2] or inside[1] >= inside[3]:
        raise ValueError(f"box {tuple(box)} lies outside its {width}×{height} pixels; expected one inside.")
    return _stretch(inside, size, (shape[1], shape[0]))


def _stretch(box: Box, old: tuple[int, int], new: tuple[int, int]) -> Box:
    """Stretch a box from one (width, height) to another, and keep at least one pixel of it."""
    left, top, right, bottom = (round(edge * new[i % 2] / old[i % 2]) for i, edge in enumerate(box))
    left, top = min(left, new[0] - 1), min(top, new[1] - 1)
    return left, top, max(right, left + 1), max(bottom, top + 1)
