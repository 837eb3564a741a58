"""One Gaussian mixture for each seed set; each pixel's two costs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from . import accept
from .opening import open_image
from .seeds import Seeds

Array = NDArray[np.float64]

SAMPLE = 2500
"""A mixture is fitted to at most this many pixels: more change it little and cost time."""

MOST_COMPONENTS = 250
"""More Gaussians than this would share a sample in which none has as many pixels as it has parameters."""

MIN_VARIANCE = 1.0
"""Added to each variance, in squared grey levels: a colour of 8 bits is known no better than that."""

MAX_ITERATIONS, TOLERANCE = 100, 1e-3
"""EM stops when the mean log-likelihood rises by less than the tolerance (in nats)."""

CHUNK = 4096
"""Pixels are rated this many at a time: they stay in the cache, and BLAS starts no threads for so small a product."""

ROWS, COLUMNS = np.triu_indices(3)


class Costs(NamedTuple):
    """What it costs to call a pixel foreground and what to call it background, in nats, two arrays `(H, W)`."""

    foreground: Array
    background: Array


@dataclass(frozen=True, eq=False)
class Mixture:
    """p(z) = Σ_k π_k N(z; μ_k, Σ_k) over colours z = (R, G, B) on the scale 0..255.

    Attributes:
        weights: π, `(K,)`, adding up to 1.
        means: μ, `(K, 3)`.
        covariances: Σ, `(K, 3, 3)`.
    """

    weights: Array
    means: Array
    covariances: Array

    def log_likelihood(self, colours: NDArray[Any]) -> Array:
        """Evaluate log p(z) of each colour, in nats: `(..., 3)` gives `(...)`."""
        z = np.asarray(colours, np.float64)
        origin = self.means[0]
        parts = np.split(z.reshape(-1, 3), range(CHUNK, z.size // 3, CHUNK))
        values = [log_sum_exp(self._log_joint(quadratic_features(part - origin), origin)) for part in parts]
        return np.concatenate(values).reshape(z.shape[:-1])

    def _log_joint(self, features: Array, origin: Array) -> Array:
        """log π_k + log N(z_n; μ_k, Σ_k), `(N, K)`; k comes first in memory, so that sums over k are quick."""
        return (self._coefficients(origin) @ features.T).T

    def _coefficients(self, origin: Array) -> Array:
        """θ `(K, 10)` so that log π_k + log N(z; μ_k, Σ_k) = θ_k · quadratic_features(z − origin)."""
        precision = np.linalg.inv(self.covariances)
        means = self.means - origin
        linear = np.einsum("kij,kj->ki", precision, means)
        _, log_volume = np.linalg.slogdet(self.covariances)
        constant = np.log(self.weights) - 0.5 * (3 * np.log(2 * np.pi) + log_volume + (linear * means).sum(1))
        twice = np.where(ROWS == COLUMNS, 1.0, 2.0)  # each mixed product stands for two entries of the matrix
        return np.concatenate([constant[:, None], linear, -0.5 * precision[:, ROWS, COLUMNS] * twice], axis=1)


def quadratic_features(z: Array) -> Array:
    """List 1, the colour and its six products: with them E and M steps are one matrix product each.

    Args:
        z: colours `(N, 3)`.

    Returns:
        `(N, 10)`.
    """
    features = np.empty((10, len(z)))
    features[0] = 1
    features[1:4] = z.T
    np.multiply(features[1 + ROWS], features[1 + COLUMNS], out=features[4:])
    return features.T


def log_sum_exp(values: Array) -> Array:
    """Compute log Σ_k exp(v_k) over the last axis without overflow."""
    largest = values.max(-1, keepdims=True)
    return np.asarray(np.log(np.exp(values - largest).sum(-1)) + largest[..., 0])


@dataclass(frozen=True, eq=False)
class ColourModels:
    """The two mixtures of one picture.

    Attributes:
        foreground: the colours of the foreground seeds.
        background: the colours of the background seeds.
        grid: (H, W) of the seeds, and so of the costs.
    """

    foreground: Mixture
    background: Mixture
    grid: tuple[int, int]

    def costs(self, image: object) -> Costs:
        """Compute each pixel's two costs, −log p(colour | foreground) and −log p(colour | background), in nats.

        Args:
            image: whatever `open_image` takes, resized to the seeds, or a uint8 array `(H, W, 3)` of any size.

        Returns:
            Two arrays `(H, W)`; where the first is smaller, the colour looks more like the object.

        Raises:
            ValueError: no RGB picture.
        """
        z = rgb_levels(image, self.grid)
        return Costs(-self.foreground.log_likelihood(z), -self.background.log_likelihood(z))


def colour_models(image: object, seeds: Seeds, components: int = 5, random_state: int = 0) -> ColourModels:
    """Fit one Gaussian mixture to the foreground seeds' colours and one to the background seeds'.

    Each with full covariances, by expectation maximisation from a k-means++ start, on at most 2,500 of
    its pixels. Where the seeds have fewer colours than there are components, there are fewer components.

    Args:
        image: whatever `open_image` takes, resized to the masks, or a uint8 array `(H, W, 3)` of their size.
        seeds: two boolean masks `(H, W)`, as `seeds` gives them.
        components: K of each mixture, 1 to 250.
        random_state: from 0 to 2⁶⁴ − 1, chooses pixels and starts; the same number gives the same bits.

    Returns:
        A `ColourModels`; its `costs(image)` are the next step.

    Raises:
        ValueError: masks of another shape than the picture, an empty seed set, or an option out of its range.
        TypeError: an option of another kind, such as text.

    Source: paper, Section 3.2, which gives neither K nor the kind of covariance.
    """
    components = accept.whole("components", components, 1, MOST_COMPONENTS, "A colour model has five as a rule.")
    random_state = accept.random_state(random_state)
    levels = rgb_levels(image, np.shape(seeds[0]))
    fitted = {}
    for side, mask in (("foreground", seeds[0]), ("background", seeds[1])):
        mask = np.asarray(mask)
        if mask.dtype != bool or mask.shape != levels.shape[:2]:
            raise ValueError(
                f"expected boolean {side} seeds {levels.shape[:2]} like the picture, got {mask.dtype} {mask.shape}. "
                "Resize the picture to the map's size, or pass it as a PIL image, which is resized for you."
            )
        if not mask.any():
            raise ValueError(f"the {side} seeds are empty: no colour to learn from. Move their quantile.")
        fitted[side] = fit_mixture(levels[mask], components, random_state)
    if bool((np.asarray(seeds[0]) & np.asarray(seeds[1])).any()):
        raise ValueError("a pixel is seed of both sides; take it out of one of them.")
    height, width = levels.shape[:2]
    return ColourModels(fitted["foreground"], fitted["background"], (height, width))


def fit_mixture(colours: NDArray[Any], components: int, random_state: int = 0) -> Mixture:
    """Fit a mixture of full-covariance Gaussians by expectation maximisation.

    E: r_nk ∝ π_k N(z_n; μ_k, Σ_k). M: π, μ, Σ are the r-weighted share, mean and covariance.

    Args:
        colours: z, `(N, 3)` on the scale 0..255, N at least 1.
        components: K, at most the number of different colours.
        random_state: chooses the sample and the start.

    Returns:
        The `Mixture`.
    """
    rng = np.random.default_rng(random_state)
    if len(colours) > SAMPLE:
        colours = colours[rng.choice(len(colours), SAMPLE, replace=False)]
    z = np.asarray(colours, np.float64)
    origin = z.mean(0)
    z = z - origin
    features = quadratic_features(z)
    nearest = _spread_out_start(z, components, rng)
    responsibilities = (nearest[:, None] == np.unique(nearest)).astype(np.float64)
    previous = -np.inf
    for _ in range(MAX_ITERATIONS):
        mixture = _maximise(responsibilities, features)
        joint = mixture._log_joint(features, np.zeros(3))
        evidence = log_sum_exp(joint)
        responsibilities = np.exp(joint - evidence[:, None])
        likelihood = float(evidence.mean())
        if likelihood - previous < TOLERANCE:
            break
        previous = likelihood
    return Mixture(mixture.weights, mixture.means + origin, mixture.covariances)


def _maximise(responsibilities: Array, features: Array) -> Mixture:
    moments = responsibilities.T @ features  # (K, 10): mass, sum of colours, sum of products
    mass = np.maximum(moments[:, 0], 1e-10)
    means = moments[:, 1:4] / mass[:, None]
    covariances = np.empty((len(mass), 3, 3))
    products = moments[:, 4:] / mass[:, None] - means[:, ROWS] * means[:, COLUMNS]
    covariances[:, ROWS, COLUMNS] = covariances[:, COLUMNS, ROWS] = products
    covariances += MIN_VARIANCE * np.eye(3)
    return Mixture(mass / mass.sum(), means, covariances)


def _spread_out_start(z: Array, components: int, rng: np.random.Generator) -> NDArray[np.intp]:
    """k-means++: each next centre is drawn with a chance ∝ its squared distance to the nearest centre so far."""
    centres = z[[rng.integers(len(z))]]
    distances = ((z - centres[0]) ** 2).sum(1)[:, None]
    while len(centres) < components and (chance := distances.min(1)).any():
        centre = z[[rng.choice(len(z), p=chance / chance.sum())]]
        centres = np.concatenate([centres, centre])
        distances = np.concatenate([distances, ((z - centre) ** 2).sum(1)[:, None]], axis=1)
    return np.asarray(distances.argmin(1))


def rgb_levels(image: object, grid: tuple[int, ...] | None = None) -> NDArray[np.uint8]:
    """Give the 8-bit levels `(H, W, 3)` of a picture.

    Args:
        image: a uint8 array `(H, W, 3)`, which is passed through, or whatever `open_image` takes.
        grid: (H, W) that a picture of another size is resized to (bicubic); an array never is.

    Returns:
        The levels.

    Raises:
        ValueError: an array of another kind, or no picture.
    """
    if isinstance(image, np.ndarray):
        levels = image
    else:
        picture = open_image(image)
        if grid is not None and len(grid) == 2 and 0 not in grid:
            picture = picture.resize((grid[1], grid[0]), Image.Resampling.BICUBIC)
        levels = np.asarray(picture)
    if levels.dtype != np.uint8 or levels.ndim != 3 or levels.shape[2] != 3:
        raise ValueError(
            f"expected a PIL image or a uint8 array (H, W, 3), got {levels.dtype} {levels.shape}. Use open_image first."
        )
    return levels
