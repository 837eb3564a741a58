"""Two quantiles turn a map into foreground, background and unused pixels."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from . import accept


class Seeds(NamedTuple):
    """The pixels that the two colour models learn from: boolean masks `(H, W)` that share no pixel."""

    foreground: NDArray[np.bool_]
    background: NDArray[np.bool_]

    @property
    def unused(self) -> NDArray[np.bool_]:
        """The pixels between the two quantiles, which teach neither model."""
        return ~(self.foreground | self.background)


def check_seeds(seeds: Seeds, shape: tuple[int, ...]) -> Seeds:
    """Check that seeds are two boolean masks of a picture's shape (H, W) that share no pixel, and give them as arrays.

    Raises:
        ValueError: masks of another shape or kind, or with pixels in common.
    """
    checked = Seeds(*(np.asarray(mask) for mask in seeds))
    for side, mask in zip(Seeds._fields, checked, strict=True):
        if mask.shape != shape:
            raise ValueError(
                f"expected boolean {side} seeds {shape} like the picture, got {mask.dtype} {mask.shape}. "
                "Resize the picture to the map's size, or pass it as a PIL image, which is resized for you."
            )
        if mask.dtype != bool:
            raise ValueError(f"expected boolean {side} seeds, got {mask.dtype}. Compare the map with its quantiles.")
    shared = np.argwhere(checked.foreground & checked.background)
    if len(shared):
        many = "pixels are seeds" if len(shared) > 1 else "pixel is a seed"
        raise ValueError(
            f"{len(shared):,} {many} of both sides (the first: row {shared[0][0]}, column {shared[0][1]}). "
            "Take each out of one of the two masks."
        )
    return checked


def seeds(saliency: ArrayLike, foreground: float = 0.95, background: float = 0.30, blur: float = 0.0) -> Seeds:
    """Choose seed pixels by two quantiles of the map.

    Foreground: M_ij above the `foreground` quantile. Background: M_ij below the `background` quantile.

    A first convolution of stride 2 leaves a grid of period 2 in the map, and the lowest values lie on it, inside the
    object too; a small `blur` evens the grid out. The paper does not blur.

    Args:
        saliency: M, `(H, W)`, finite: an array, or a tensor of any precision on any device.
        foreground: a quantile, 0 to 1, at least `background`.
        background: a quantile, 0 to 1.
        blur: standard deviation, in pixels, of a Gaussian that the map is blurred with first, at most the map's
            longer side; 0 is none, as in the paper.

    Returns:
        Two boolean masks; the rest is unused.

    Raises:
        ValueError: a map of another shape, of truth values, not finite or constant, quantiles out of order, a blur out
            of its range, or a side that stays empty because too many pixels share one value.
        TypeError: an option that is not a number, such as text.

    Source: paper, Section 3.2 (95 % and 30 %).

    Example:
        >>> chosen = di.seeds(np.arange(100).reshape(10, 10))
        >>> int(chosen.foreground.sum()), int(chosen.background.sum()), int(chosen.unused.sum())
        (5, 30, 65)
    """
    background, foreground = (
        accept.number(f"{side} quantile", share, 0, 1, "Quantiles are shares of the pixels: 95 % is 0.95.")
        for side, share in (("background", background), ("foreground", foreground))
    )
    m = accept.real_map(saliency)
    if m.ndim != 2 or m.size == 0:
        raise ValueError(f"expected a map (H, W), got {m.shape}. Take one of a batch of maps: maps[0].")
    if not np.isfinite(m).all():
        raise ValueError(
            "the map holds NaN or infinite values; expected finite ones. Check the image and the network's weights for "
            "NaN."
        )
    blur = accept.number("blur", blur, 0, max(m.shape), "In pixels, no wider than the map itself; 0 is none.")
    if background > foreground:
        raise ValueError(
            f"expected background ≤ foreground, got background {background} and foreground {foreground}. "
            "What lies between the two quantiles is unused."
        )
    if m.min() == m.max():
        raise ValueError(
            f"the map is constant ({m.flat[0]:.3g} everywhere), so no quantile divides it. A score that the network "
            "holds at zero has a map of zeros: choose a class with a higher score."
        )
    if blur > 0:
        from scipy import ndimage

        m = ndimage.gaussian_filter(m.astype(np.float64), blur)
    low, high = np.quantile(m, [background, foreground])
    chosen = Seeds(m > high, m < low)
    for side, mask, quantile, remedy in (
        ("foreground", chosen.foreground, foreground, "Lower the foreground quantile."),
        ("background", chosen.background, background, "Raise the background quantile."),
    ):
        if not mask.any():
            raise ValueError(
                f"no pixel is left as {side} at the quantile {quantile}: too many share one value. {remedy}"
            )
    return chosen
